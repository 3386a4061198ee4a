"""The verdict of `status`: fresh or not, why, and who has to act."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plaid_sync.core.items import ItemId, ItemStatus, Standing
from plaid_sync.core.items_api.item_record import ItemRecord
from plaid_sync_cli.readings import Alarm, QueueDepth
from plaid_sync_cli.verdict import Facts, judge

NOW = datetime(2026, 3, 1, 3, tzinfo=UTC)
EMPTY = QueueDepth(0, 0)
WELL: dict[str, Any] = {
    "read_at": NOW,
    "queue": EMPTY,
    "dead_letters": EMPTY,
    "mapping": "Enabled",
    "alarms": (),
    "items": {ItemStatus.ACTIVE: 10},
    "stale": 0,
    "stalest": (),
}
STALE = ItemRecord(ItemId("a"), Standing(ItemStatus.ACTIVE), synced_at=NOW - timedelta(hours=30))
ALARM = Alarm(
    "dead-letters",
    "ALARM",
    NOW - timedelta(hours=2),
    "Changes were given up. They are late.\n- First look at the causes.\ndocs/runbook.md#dead-letters",
)


def facts(**changed: Any) -> Facts:
    return Facts(**(WELL | changed))


def test_all_is_well() -> None:
    verdict = judge(facts())
    assert verdict.sentence == "Money data is fresh for 10 of 10 Items, nothing for you to do."
    assert (verdict.fresh, verdict.needs_someone) == (True, False)


def test_items_that_wait_for_others_are_told_and_need_nobody_here() -> None:
    verdict = judge(facts(items={ItemStatus.ACTIVE: 8, ItemStatus.NEEDS_USER: 1, ItemStatus.DEGRADED: 1}))
    assert verdict.sentence.startswith("Money data is fresh for 8 of 10 Items; the others wait")
    assert (verdict.fresh, verdict.needs_someone) == (True, False)
    assert len(verdict.findings) == 2


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"stale": 1, "stalest": (STALE,)},
            "1 Item not brought up to date for more than 18 h 0 min (the stalest: 1 d 6 h",
        ),
        (
            {"mapping": "Disabled", "queue": QueueDepth(40, 2)},
            "syncing is paused (event source mapping Disabled), 42 mes",
        ),
        ({"unsynced": 2}, "2 Items without a first sync, 1 h 0 min or more after the link"),
        ({"dead_letters": QueueDepth(3, 0)}, "3 dead letters"),
        ({"queue": QueueDepth(9, 0, timedelta(hours=15))}, "a message waits for 15 h 0 min"),
        ({"alarms": (ALARM,)}, "alarm dead-letters since 2 h 0 min"),
    ],
)
def test_what_needs_someone_stands_in_the_first_line_with_what_to_do(changed: dict[str, Any], told: str) -> None:
    verdict = judge(facts(**changed))
    assert verdict.needs_someone
    assert told in verdict.sentence
    assert verdict.findings[0].fix


def test_stale_items_make_it_not_fresh_and_come_before_the_alarm_about_them() -> None:
    verdict = judge(facts(stale=1, stalest=(STALE,), alarms=(ALARM,)))
    assert verdict.sentence.startswith("Money data is NOT fresh (1 of 10 Items behind): 1 Item not brought up")
    assert [finding.what[:6] for finding in verdict.findings] == ["1 Item", "alarm "]


def test_no_items_are_no_trouble() -> None:
    assert judge(facts(items={ItemStatus.REMOVED: 3})).sentence == "Nothing is linked yet: there are no Items."


def test_an_alarm_is_told_in_the_first_line_without_items_too() -> None:
    verdict = judge(facts(items={}, alarms=(ALARM,)))
    assert verdict.sentence == "Nothing is linked yet, but somebody is needed: alarm dead-letters since 2 h 0 min"


def test_an_alarm_that_is_quiet_again_is_told_and_needs_nobody_by_itself() -> None:
    rang = {"drift-found": NOW - timedelta(minutes=12), "attention": NOW, "dead-letters": NOW - timedelta(hours=2)}
    verdict = judge(facts(rang=rang))
    assert verdict.sentence.endswith(". Nothing rings, but lately did: dead-letters, drift-found.")
    (finding,) = verdict.findings
    assert finding.what.endswith("quiet again: drift-found 12 min ago, dead-letters 2 h 0 min ago")
    assert (verdict.fresh, verdict.needs_someone) == (True, False)
    verdict = judge(facts(rang=rang, alarms=(ALARM,)))
    assert [one.what.split(" (")[0].split(":")[-1] for one in verdict.findings] == [
        "alarm dead-letters since 2 h 0 min",
        " drift-found 12 min ago",
    ]


def test_a_pause_says_that_what_is_behind_is_only_the_beginning() -> None:
    verdict = judge(facts(mapping="Disabled"))
    assert verdict.sentence.startswith("Money data is NOT fresh (0 of 10 Items behind so far): syncing is paused")


def test_an_alarm_says_its_first_line_and_its_runbook_and_parts_of_others_say_nothing() -> None:
    parts = [Alarm(slug, "ALARM", NOW, "") for slug in ("attention", "sync-idle", "sync-waiting")]
    (finding,) = judge(facts(alarms=(*parts, ALARM))).findings
    assert finding.fix == "Changes were given up. They are late. Runbook: dead-letters"
    assert not judge(facts(alarms=tuple(parts))).needs_someone
