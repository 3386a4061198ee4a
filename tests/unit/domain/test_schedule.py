"""When an Item is due: about its interval, and not together with others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.domain.schedule import MAX_ITEM_AGE, SWEEP_INTERVALS, due_after

from tests.fakes.clock import NOON


@pytest.mark.parametrize("name", StateName)
def test_an_item_is_due_a_tenth_early_or_late_at_most(name: StateName) -> None:
    interval = SWEEP_INTERVALS[name]
    waits = [due_after(ItemId(f"item-{number}"), interval, NOON) - NOON for number in range(500)]
    assert interval * 0.9 <= min(waits) < max(waits) <= interval * 1.1


def test_items_that_were_committed_together_are_spread_evenly() -> None:
    interval = timedelta(hours=10)
    quarters = [0] * 4
    for number in range(4_000):
        late = due_after(ItemId(f"item-{number}"), interval, NOON) - NOON - interval * 0.9
        quarters[min(int(late / (interval * 0.2) * 4), 3)] += 1
    assert min(quarters) > 850


def test_an_item_is_early_in_about_half_of_the_intervals() -> None:
    item, day = ItemId("item"), timedelta(days=1)
    early = [due_after(item, day, NOON + day * number) < NOON + day * (number + 1) for number in range(50)]
    assert 10 < sum(early) < 40


def test_an_item_is_swept_and_has_time_to_sync_before_the_alarm_on_its_age() -> None:
    assert MAX_ITEM_AGE - SWEEP_INTERVALS[StateName.ACTIVE] * 1.1 > timedelta(hours=4)
