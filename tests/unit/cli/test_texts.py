"""Durations, rates and counts as text, and the explanation of an Item."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from plaid_sync_cli.bulk import RateLimiter, parse_rate
from plaid_sync_cli.item_report import (
    ItemReport,
    account_table,
    counts,
    failing,
    freshness,
    headline,
    history_row,
    pending_messages,
    until,
)
from plaid_sync_cli.output import duration, plural, to_json

NOW = datetime(2026, 3, 3, 3, tzinfo=UTC)
ITEM: dict[str, Any] = {
    "item_id": "a",
    "state": "needs_user",
    "code": "ITEM_LOGIN_REQUIRED",
    "since": "2026-03-01T00:00:00.000Z",
    "linked_at": "2026-01-01T00:00:00.000Z",
    "accounts": [{"account_id": "1", "mask": "0000", "subtype": "checking"}],
    "freshness": {
        "pulled_at": "2026-03-01T00:00:00.000Z",
        "webhook_at": "2026-03-01T00:00:00.000Z",
        "bank": {"last_success_at": "2026-03-01T01:00:00.000Z"},
    },
    "transactions": {"live": 1_200, "exact": True},
    "history_phase": "historical",
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3_720, "1 h 2 min"), (90_000, "1 d 1 h"), (-5, "0 s")],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_counts_and_json() -> None:
    assert (plural(1, "Item"), plural(2_000, "entry", "entries")) == ("1 Item", "2,000 entries")
    assert to_json({"amount": Decimal("0.10"), "at": NOW}) == '{"amount": 0.10, "at": "2026-03-03T03:00:00.000Z"}'


@pytest.mark.parametrize(("text", "rate"), [("2/s", 2.0), ("30/min", 0.5), ("0.5/s", 0.5), ("36000/h", 10.0)])
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


def test_the_rate_limiter_spaces_calls_and_does_not_catch_up() -> None:
    times, waits = iter([0.0, 0.1, 5.0]), list[float]()
    limiter = RateLimiter(2.0, clock=lambda: next(times), sleep=waits.append)
    for _ in range(3):
        limiter.wait()
    assert waits == [0.4]


def test_an_item_is_explained() -> None:
    assert (
        headline(ITEM, NOW)
        == "a needs its user, because of ITEM_LOGIN_REQUIRED, since 2 d 3 h (2026-03-01T00:00:00.000Z)"
    )
    assert freshness(ITEM, NOW).startswith(
        "table last synced with Plaid 2 d 3 h ago; last webhook 2 d 3 h ago; Plaid last reached the bank 2 d 2 h ago"
    )
    assert counts(ItemReport(ITEM, [], [], [])) == "1,200 transactions (whole history), 0 in quarantine"


def test_accounts_have_their_state_and_exact_balances_with_their_time() -> None:
    balances = {"current": Decimal("10.10"), "available": None, "iso_currency_code": "USD"}
    listed = {"account_id": "a", "state": "listed", "subtype": "checking", "mask": "0000", "balances": balances}
    withdrawn = {"account_id": "b", "state": "withdrawn"}
    shown = account_table([listed | {"balances": balances | {"as_of": "2026-03-03T01:00:00.000Z"}}, withdrawn], NOW)
    cells = [list(column.cells) for column in shown.columns]
    assert [column.header for column in shown.columns][2:4] == ["state", "current"]
    assert [column[0] for column in cells] == ["a", "checking ..0000", "listed", "10.10", "-", "USD", "2 h 0 min ago"]
    assert [column[1] for column in cells] == ["b", "-", "withdrawn", "-", "-", "-", "-"]


def test_messages_since_the_last_sync_are_pending() -> None:
    webhook = {"kind": "webhook", "outcome": "queued", "at": "2026-03-03T02:00:00.000Z"}
    ignored = {"kind": "webhook", "outcome": "ignored", "at": "2026-03-03T02:00:00.000Z"}
    sync = {"kind": "sync", "outcome": "committed", "at": "2026-03-03T01:00:00.000Z"}
    pending = ItemReport(ITEM, [webhook, ignored, sync, webhook], [], [])
    assert pending_messages(pending, NOW).startswith("1 message since the last sync")
    assert pending_messages(ItemReport(ITEM, [ignored, sync, webhook], [], []), NOW).startswith("none since")


def test_stale_rows_dead_letters_and_quarantine_require_action_and_a_missing_login_does_not() -> None:
    report = ItemReport(ITEM | {"state": "active"}, [], ["unregistered"], [{"field": "amount"}])
    fixes = [fix for _, fix in report.problems(NOW)]
    assert fixes[:2] == ["plaid-sync sync a", "plaid-sync dlq replay a"]
    assert "rows-quarantined" in fixes[2]
    assert ItemReport(ITEM, [], [], []).problems(NOW) == []


def test_a_failing_item_says_since_when_and_why_and_requires_action_when_that_is_long() -> None:
    failure = {
        "since": "2026-03-03T00:30:00.000Z",
        "code": "INTERNAL_SERVER_ERROR",
        "class": "transient",
        "last_failed_at": "2026-03-03T02:58:00.000Z",
    }
    item = ITEM | {"failing": failure}
    assert failing(item, NOW) == "INTERNAL_SERVER_ERROR (transient), since 2 h 30 min ago, last tried 2 min ago"
    assert [fix for _, fix in ItemReport(item, [], [], []).problems(NOW)] == ["Runbook: items-failing"]
    down = ITEM | {"failing": failure | {"class": "institution_down"}}
    assert ItemReport(down, [], [], []).problems(NOW) == []
    assert failing(ITEM, NOW) == ""
    assert (until(NOW + timedelta(minutes=4), NOW), until(NOW, NOW), until(None, NOW)) == ("in 4 min", "due", "-")


def test_a_history_entry_is_a_row() -> None:
    entry = {
        "kind": "sync",
        "at": "2026-03-03T02:00:00.000Z",
        "outcome": "needs_user",
        "causes": ["webhook ITEM ERROR"],
        "state_before": "active",
        "state": "needs_user",
        "code": "ITEM_LOGIN_REQUIRED",
        "plaid_request_ids": ["older", "qk5B"],
        "added": 3,
        "milliseconds": 12,
        "published_events": ["ItemNeedsUser"],
    }
    assert history_row(entry, NOW) == (
        "1 h 0 min ago",
        "sync (webhook ITEM ERROR)",
        "needs_user",
        "active -> needs_user; ITEM_LOGIN_REQUIRED; Plaid's request_id qk5B; 3 added; 12 ms; published ItemNeedsUser",
    )
