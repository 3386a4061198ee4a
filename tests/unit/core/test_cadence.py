"""When an Item is due: about its cadence, and not together with others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from plaid_sync.core.items import ItemId, ItemStatus
from plaid_sync.core.lifecycle.cadence import CADENCES, LONGEST_AGE, due_after

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", list(ItemStatus))
def test_an_item_is_due_a_tenth_early_or_late_at_most(status: ItemStatus) -> None:
    waits = [due_after(ItemId(f"item-{number}"), CADENCES[status], NOON) - NOON for number in range(500)]
    assert CADENCES[status] * 0.9 <= min(waits) < max(waits) <= CADENCES[status] * 1.1


def test_items_that_were_committed_together_are_spread_evenly() -> None:
    cadence = timedelta(hours=10)
    hours = [0] * 4
    for number in range(4_000):
        late = due_after(ItemId(f"item-{number}"), cadence, NOON) - NOON - cadence * 0.9
        hours[min(int(late / (cadence * 0.2) * 4), 3)] += 1
    assert min(hours) > 850


def test_an_item_is_not_early_each_time() -> None:
    item, day = ItemId("item"), timedelta(days=1)
    early = [due_after(item, day, NOON + day * number) < NOON + day * (number + 1) for number in range(50)]
    assert 10 < sum(early) < 40


def test_no_item_reaches_the_age_that_the_alarm_watches_before_it_was_swept_and_had_time_to_sync() -> None:
    assert LONGEST_AGE - CADENCES[ItemStatus.ACTIVE] * 1.1 > timedelta(hours=4)
