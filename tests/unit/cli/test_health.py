"""The health of a deployment: fresh or not, why, and whether action is required."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plaid_sync.domain.item import Item, ItemId, ItemState, StateName
from plaid_sync.domain.schedule import AttemptClass, Failures
from plaid_sync_cli.health import Health, Snapshot, evaluate
from plaid_sync_cli.monitoring import Alarm, QueueDepth

NOW = datetime(2026, 3, 1, 3, tzinfo=UTC)
EMPTY = QueueDepth(0, 0)
HEALTHY: dict[str, Any] = {
    "read_at": NOW,
    "queue": EMPTY,
    "dead_letters": EMPTY,
    "mapping": "Enabled",
    "alarms": (),
    "items": {StateName.ACTIVE: 10},
    "stale": 0,
    "stalest": (),
}
STALE = Item(ItemId("a"), ItemState(StateName.ACTIVE), synced_at=NOW - timedelta(hours=30))
ALARM = Alarm(
    "dead-letters",
    "ALARM",
    NOW - timedelta(hours=2),
    "Messages were dead-lettered.\n- First look at the causes.\ndocs/runbook.md#dead-letters",
)
FAILING = {
    AttemptClass.FAILING: Failures(3, NOW - timedelta(hours=1)),
    AttemptClass.BANK_DOWN: Failures(2, NOW - timedelta(hours=20)),
}
RECENT = {"drift-found": NOW - timedelta(minutes=12), "dead-letters": NOW - timedelta(hours=2)}


def health(**changed: Any) -> Health:
    return evaluate(Snapshot(**(HEALTHY | changed)))


@pytest.mark.parametrize(
    ("changed", "summary", "findings"),
    [
        ({}, "Money data is fresh for 10 of 10 Items, no action required.", 0),
        (
            {"items": {StateName.ACTIVE: 8, StateName.NEEDS_USER: 1, StateName.DEGRADED: 1}},
            "Money data is fresh for 8 of 10 Items; the others wait for their banks or users, no action required.",
            2,
        ),
        ({"failing": FAILING}, "Money data is fresh for 10 of 10 Items, no action required.", 2),
        ({"items": {StateName.REMOVED: 3}}, "Nothing is linked yet: there are no Items.", 0),
        (
            {"alarmed": RECENT},
            "Money data is fresh for 10 of 10 Items. No alarm is active; recently cleared: dead-letters, drift-found.",
            1,
        ),
    ],
)
def test_no_action_is_required(changed: dict[str, Any], summary: str, findings: int) -> None:
    found = health(**changed)
    assert (found.summary, len(found.findings)) == (summary, findings)
    assert (found.fresh, found.action_required) == (True, False)


@pytest.mark.parametrize(
    ("changed", "summary"),
    [
        (
            {"stale": 1, "stalest": (STALE,)},
            (
                "Money data is NOT fresh (1 of 10 Items behind): 1 Item not brought up to date for more than "
                "18 h 0 min (the stalest: 1 d 6 h"
            ),
        ),
        (
            {"mapping": "Disabled", "queue": QueueDepth(40, 2)},
            (
                "Money data is NOT fresh (0 of 10 Items behind so far): syncing is paused (event source mapping "
                "Disabled), 42 messages queued"
            ),
        ),
        ({"unsynced": 2}, "Money data is NOT fresh (2 of 10 Items behind): 2 Items never synced, linked 1 h 0 min ago"),
        (
            {"dead_letters": QueueDepth(3, 0)},
            "Money data is fresh for 10 of 10 Items, but action is required: 3 dead-lettered messages",
        ),
        (
            {"queue": QueueDepth(9, 0, timedelta(minutes=16))},
            "Money data is fresh for 10 of 10 Items, but action is required: a message has waited for 16 min",
        ),
        (
            {"failing": FAILING | {AttemptClass.FAILING: Failures(3, NOW - timedelta(hours=5))}},
            (
                "Money data is fresh for 10 of 10 Items, but action is required: Items that fail: 3 for other reasons, "
                "the longest for 5 h 0 min"
            ),
        ),
        (
            {"failing": FAILING | {AttemptClass.BANK_DOWN: Failures(2, NOW - timedelta(hours=30))}},
            (
                "Money data is fresh for 10 of 10 Items, but action is required: Items that fail: 2 with a bank that "
                "is down, the longest for 1 d 6 h"
            ),
        ),
        (
            {"items": {StateName.ACTIVE: 9, "a_newer_state": 1}},
            "Money data is fresh for 10 of 10 Items, but action is required: 1 Item in state a_newer_state",
        ),
        (
            {"alarms": (ALARM,)},
            "Money data is fresh for 10 of 10 Items, but action is required: alarm dead-letters since 2 h 0 min",
        ),
        (
            {"alarms": (ALARM,), "items": {}},
            "Nothing is linked yet, but action is required: alarm dead-letters since 2 h 0 min",
        ),
    ],
)
def test_action_is_required_and_the_summary_says_why(changed: dict[str, Any], summary: str) -> None:
    found = health(**changed)
    assert found.action_required
    assert found.summary.startswith(summary)
    assert found.findings[0].fix


@pytest.mark.parametrize(
    ("changed", "findings"),
    [
        ({"stale": 1, "stalest": (STALE,), "alarms": (ALARM,)}, ["1 Item not brought", "alarm dead-letters"]),
        ({"alarmed": RECENT, "alarms": (ALARM,)}, ["alarm dead-letters", "alarms of the last"]),
    ],
)
def test_the_most_urgent_finding_is_first(changed: dict[str, Any], findings: list[str]) -> None:
    assert [finding.what[:18] for finding in health(**changed).findings] == findings


def test_a_cleared_alarm_is_listed_with_its_time_and_an_active_one_with_its_meaning() -> None:
    active, cleared = health(alarmed=RECENT, alarms=(ALARM,)).findings
    assert active.fix == "Messages were dead-lettered. Runbook: dead-letters"
    assert cleared.what.endswith("hours, cleared: drift-found 12 min ago")
