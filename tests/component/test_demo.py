"""The demo as a newcomer runs it: it ends without a difference, notices a wrong table, and can be interrupted.

One run serves all tests, those of the dashboard and of the metrics included.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest
from plaid_sync.signals import ALSO_BY, ONLY_BY, Signal

from local.demo.steps import OPERATIONS

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "local.demo"]


NOT_EMITTED = {
    Signal.WEBHOOK_UNUSABLE: "Plaid signs nothing that cannot be read",
    Signal.WEBHOOK_NOT_RECORDED: "DynamoDB does not fail",
    Signal.TRIGGERS_RENEWED: "no message waits through twelve receives",
    Signal.SYNC_COVERED: "a matter of who comes first",
    Signal.SYNC_SUPERSEDED: "no worker is overtaken by another",
    Signal.SYNC_REVOKED: "no user takes the permission back",
    Signal.SWEEP_REPAIRS: "a later webhook brings what a lost one announced",
    Signal.UNKNOWN_PLAID_CODES: "Plaid sends no unknown code",
    Signal.MESSAGES_PARKED: "no message is dead-lettered",
    Signal.PLAID_CREDENTIALS_REFUSED: "the secret is right",
    Signal.REQUEST_FAILED: "nothing that a request needs fails",
    Signal.LINK_FAILED: "no bank fails during Link",
    Signal.LINK_UNDONE: "the same",
    Signal.EXCHANGE_UNKNOWN: "no answer of Plaid's is lost",
    Signal.ITEM_ORPHANED: "every Item that is exchanged is stored",
    Signal.ANNOUNCEMENTS_FAILED: "EventBridge does not fail",
}
"""Metrics that the demo need not emit, and why not."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--json", "--corrupt", "--dashboard", str(tmp_path_factory.mktemp("dashboard"))]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def outcome(run: subprocess.CompletedProcess[str]) -> Any:
    assert run.returncode == 1, run.stderr
    return json.loads(run.stdout)


def test_the_demo_notices_the_one_row_that_is_wrong_and_meets_every_other_expectation(
    run: subprocess.CompletedProcess[str], outcome: Any
) -> None:
    assert outcome["broken_expectations"] == []
    (difference,) = outcome["differences"]
    row = f"Item {difference['item_id']}, transaction {difference['transaction_id']}, {difference['field']}"
    assert f"corrupted: {row}" in run.stderr
    assert difference["field"] == "amount"
    assert outcome["rows_in_table"] == outcome["rows_at_plaid"]
    assert len(outcome["items"]) >= 5
    assert outcome["changes"] >= 3000
    assert outcome["exact_amounts"] == ["0.1234567", "-98765432109.87", "0.00"]
    assert all(outcome["happened"][name] > 0 for name in OPERATIONS)
    assert sum(outcome["webhooks"]["rejected_by_reason"].values()) == outcome["happened"]["forged"]


def test_every_widget_of_the_dashboard_shows_what_has_happened(outcome: Any) -> None:
    dashboard = outcome["dashboard"]
    assert (dashboard["without_data"], dashboard["missing_alarms"]) == ([], [])
    assert dashboard["widgets"] > 30
    assert Path(dashboard["picture"]).stat().st_size > 100_000
    page = Path(dashboard["page"])
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") > 20
    base = re.search('<base href="([^"]+)">', text)
    assert base is not None
    linked = re.findall('href="(docs/[^"#]+)', text)
    assert linked
    assert all((page.parent / base[1] / link).exists() for link in linked)


def test_every_emitted_metric_is_in_the_catalogue_and_the_others_have_a_reason(outcome: Any) -> None:
    emitted = {
        (metric["name"], *metric["dimensions"])
        for metric in outcome["dashboard"]["metrics"]
        if metric["namespace"] == "PlaidSync"
    }
    listed = {series for signal in Signal for series in series_of(signal)}
    assert emitted <= listed | {("ColdStart", "function_name", "service")}
    assert set(Signal) - {name for name, *_ in emitted} <= NOT_EMITTED.keys()


def series_of(signal: Signal) -> set[tuple[str, ...]]:
    """Return what the catalogue has of a metric: its name with the names of its dimensions, for each of its series."""
    by = ALSO_BY.get(signal) or ONLY_BY.get(signal)
    split = {(signal.value, *sorted(("service", by)))} if by else set()
    return split if signal in ONLY_BY else split | {(signal.value, "service")}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_an_interrupted_demo_leaves_nothing_running() -> None:
    demo = subprocess.Popen(COMMAND, cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert demo.stdout is not None
    with demo.stdout:
        assert any("== Link Items" in line for line in demo.stdout)
        started = _descendants(demo.pid)
        os.kill(demo.pid, SIGINT)
        assert demo.wait(60) == 130
    assert started
    deadline = time.monotonic() + 10  # what was killed takes a moment to be gone
    while any(map(_is_running, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [process for process in started if _is_running(process)] == []


def _is_running(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _descendants(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    return [found for child in map(int, children) for found in (child, *_descendants(child))]
