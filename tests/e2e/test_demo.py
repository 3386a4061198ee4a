"""The demo as a newcomer runs it: it notices the one wrong row of a corrupted table, and finds no other difference.

One run serves all tests, those of the dashboard and of the metrics included.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plaid_sync.metrics import ALSO_BY, ONLY_BY, Metric

from local.demo.steps import OPERATIONS

PROJECT = Path(__file__).resolve().parents[2]

NOT_EMITTED = {
    Metric.WEBHOOK_UNPROCESSABLE: "Plaid signs nothing that cannot be read",
    Metric.WEBHOOK_NOT_RECORDED: "DynamoDB does not fail",
    Metric.STALE_WEBHOOKS_QUEUED: "no genuine webhook is older than five minutes",
    Metric.STALE_WEBHOOKS_FAILED: "the same",
    Metric.SHARED_STATE_FAILURES: "DynamoDB does not fail",
    Metric.SYNC_COVERED: "a matter of who comes first",
    Metric.SYNC_CONTINUES: "no history is that long",
    Metric.SYNC_SUPERSEDED: "no worker is overtaken by another",
    Metric.SYNC_REVOKED: "no user takes the permission back",
    Metric.SWEEP_REPAIRS: "a later webhook brings the changes of a lost one",
    Metric.UNKNOWN_PLAID_CODES: "Plaid sends no unknown code",
    Metric.UNKNOWN_STATES: "no newer version has written a state",
    Metric.MESSAGES_DEAD_LETTERED: "no message is dead-lettered",
    Metric.PLAID_CREDENTIALS_REFUSED: "the secret is right",
    Metric.REQUEST_FAILED: "nothing that a request needs fails",
    Metric.LINK_FAILED: "no bank fails during Link",
    Metric.LINK_ROLLED_BACK: "the same",
    Metric.EXCHANGE_UNKNOWN: "no answer of Plaid's is lost",
    Metric.ITEM_ORPHANED: "every Item that is exchanged is stored",
    Metric.PUBLISH_FAILURES: "EventBridge does not fail",
}
"""Metrics that the demo need not emit, and why not."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.demo", "--json", "--corrupt", "--dashboard"]
    command.append(str(tmp_path_factory.mktemp("dashboard")))
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


def test_every_emitted_metric_is_in_the_catalogue_and_the_others_have_a_reason(outcome: Any) -> None:
    emitted = {
        (metric["name"], *metric["dimensions"])
        for metric in outcome["dashboard"]["metrics"]
        if metric["namespace"] == "PlaidSync"
    }
    listed = {series for signal in Metric for series in series_of(signal)}
    assert emitted <= listed | {("ColdStart", "function_name", "service")}
    assert set(Metric) - {name for name, *_ in emitted} <= NOT_EMITTED.keys()


def series_of(signal: Metric) -> set[tuple[str, ...]]:
    """Return what the catalogue has of a metric: its name with the names of its dimensions, for each of its series."""
    by = ALSO_BY.get(signal) or ONLY_BY.get(signal)
    split = {(signal.value, *sorted(("service", by)))} if by else set()
    return split if signal in ONLY_BY else split | {(signal.value, "service")}
