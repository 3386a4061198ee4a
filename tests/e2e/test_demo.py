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
from plaid_sync.metrics import DIMENSIONS, Metric

from local.demo.steps import OPERATIONS

PROJECT = Path(__file__).resolve().parents[2]

NOT_EMITTED = {
    Metric.SCHEDULED_REFRESHES: "RefreshAfterHours is 0",
    Metric.SWEEP_REPAIRS: "a later webhook brings the changes of a lost one",
    Metric.UNKNOWN_STATES: "no newer version has written a state",
    Metric.CURSOR_RESETS_REPEATED: "Plaid refuses no cursor twice",
    Metric.RECONCILES_DECIDED: "every history is complete",
    Metric.ROWS_QUARANTINED: "Plaid sends no broken entry",
    Metric.SWEEP_DEFERRED: "few Items are due",
    Metric.DRIFT_FOUND: "the audit runs before a row is corrupted",
    Metric.PLAID_CREDENTIALS_REFUSED: "the secret is right",
    Metric.EXCHANGE_UNKNOWN: "no answer of Plaid's is lost",
    Metric.ITEM_ORPHANED: "every Item that is exchanged is stored",
    Metric.PUBLISH_FAILURES: "EventBridge does not fail",
    Metric.ROWS_UNREADABLE: "no row is damaged",
    Metric.EVENTS_STOPPED: "the history's mapping is enabled",
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
    # The amount is in the row, and in the Plaid object that is put together from it.
    difference, *others = outcome["differences"]
    assert {other["transaction_id"] for other in others} <= {difference["transaction_id"]}
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
    assert dashboard["widgets"] >= 28
    assert Path(dashboard["picture"]).stat().st_size > 100_000


def test_every_emitted_metric_is_in_the_catalogue_and_the_others_have_a_reason(outcome: Any) -> None:
    emitted = {
        (metric["name"], *metric["dimensions"])
        for metric in outcome["dashboard"]["metrics"]
        if metric["namespace"] == "PlaidSync"
    }
    assert emitted <= {series_of(signal) for signal in Metric}
    assert set(Metric) - {name for name, *_ in emitted} <= NOT_EMITTED.keys()


def series_of(signal: Metric) -> tuple[str, ...]:
    """Return what the catalogue has of a metric: its name with the names of its dimensions."""
    return signal.value, *sorted({"service", DIMENSIONS.get(signal, "service")})
