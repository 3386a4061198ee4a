"""When an Item is attempted next: by routine, after a failure, and not together with others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.item import Item, ItemFailure, ItemId, ItemState, StateName
from plaid_sync.domain.schedule import (
    MAX_ITEM_AGE,
    ROUTINE_INTERVALS,
    AttemptClass,
    after_claim,
    after_failure,
    after_outcome,
    due_after,
    is_notable,
    next_failure,
)

from tests.fakes.clock import NOON
from tests.fakes.items import new_item

ITEM = ItemId("item")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
INVOCATION = timedelta(seconds=300)
"""How long the sync function lives at most (template.yaml)."""


@pytest.mark.parametrize("interval", [MINUTE, timedelta(days=7)])
def test_an_item_is_due_a_tenth_early_or_late_at_most(interval: timedelta) -> None:
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
    day = timedelta(days=1)
    early = [due_after(ITEM, day, NOON + day * number) < NOON + day * (number + 1) for number in range(50)]
    assert 10 < sum(early) < 40


def test_an_item_is_swept_and_has_time_to_sync_before_the_alarm_on_its_age() -> None:
    assert MAX_ITEM_AGE - ROUTINE_INTERVALS[StateName.ACTIVE] * 1.1 > timedelta(hours=4)


def test_a_claimed_item_is_not_attempted_again_while_its_invocation_lives() -> None:
    for number in range(100):
        following = after_claim(ItemId(f"item-{number}"), NOON)
        assert INVOCATION < following.at - NOON <= timedelta(minutes=7)
        assert following.attempt_class is AttemptClass.FAILING


def failures(failure_class: FailureClass, age: timedelta) -> tuple[ItemFailure, ItemFailure]:
    """Return the failure of an Item that has failed for so long, before and now."""
    before = ItemFailure("CODE", failure_class.value, NOON - age, NOON - age / 2)
    return before, next_failure(before, "CODE", failure_class, NOON)


@pytest.mark.parametrize(
    ("failure_class", "first", "maximum"),
    [
        (FailureClass.TRANSIENT, timedelta(seconds=15), timedelta(seconds=150)),
        (FailureClass.THROTTLED, timedelta(seconds=45), timedelta(seconds=150)),
        (FailureClass.CLIENT_ERROR, MINUTE, 10 * MINUTE),
        (FailureClass.INSTITUTION_DOWN, 5 * MINUTE, HOUR),
    ],
)
def test_a_failing_item_waits_as_long_as_it_has_failed_within_the_bounds_of_its_class(
    failure_class: FailureClass, first: timedelta, maximum: timedelta
) -> None:
    for failing in (timedelta(0), first, (first + maximum) / 2, maximum, timedelta(days=30)):
        following = after_failure(ITEM, failure_class, *failures(failure_class, failing))
        wait = min(max(failing, first), maximum)
        assert wait * 0.9 <= following.at - NOON <= wait * 1.1
        bank = failure_class is FailureClass.INSTITUTION_DOWN
        assert following.attempt_class is (AttemptClass.BANK_DOWN if bank else AttemptClass.FAILING)


def test_a_bank_that_is_found_down_after_hours_of_another_outage_is_looked_at_in_minutes() -> None:
    """Its last response before it is well again may name the bank: then an hour would be too long."""
    before = ItemFailure("INTERNAL_SERVER_ERROR", FailureClass.TRANSIENT.value, NOON - 4 * HOUR, NOON - MINUTE)
    failure = next_failure(before, "INSTITUTION_NOT_RESPONDING", FailureClass.INSTITUTION_DOWN, NOON)
    following = after_failure(ITEM, FailureClass.INSTITUTION_DOWN, before, failure)
    assert following.at - NOON < 6 * MINUTE
    assert failure.since == before.since


@pytest.mark.parametrize("failure_class", FailureClass)
def test_after_any_failure_an_item_that_is_well_again_is_attempted_soon(failure_class: FailureClass) -> None:
    """Within the bound of six minutes for Plaid's and AWS's outages, an hour for a bank's."""
    bound = {FailureClass.TRANSIENT: 3 * MINUTE, FailureClass.THROTTLED: 3 * MINUTE}
    following = after_failure(ITEM, failure_class, *failures(failure_class, timedelta(days=3)))
    assert following.at - NOON < bound.get(failure_class, 1.2 * HOUR)


def linked(age: timedelta, **fields: Any) -> Item:
    return new_item(ITEM, linked_at=NOON - age, **fields)


@pytest.mark.parametrize("status", ["NOT_READY", "INITIAL_UPDATE_COMPLETE", "TRANSACTIONS_UPDATE_STATUS_UNKNOWN", ""])
def test_an_incomplete_history_is_looked_for_within_the_hour_for_a_day(status: str) -> None:
    looks, age = 0, timedelta(0)
    while age < timedelta(hours=23):
        following = after_outcome(linked(age), StateName.ACTIVE, status, NOON)
        assert following.at - NOON < HOUR
        assert following.attempt_class is AttemptClass.FIRST_SYNC
        age += following.at - NOON
        looks += 1
    assert looks < 45
    later = after_outcome(linked(timedelta(days=2)), StateName.ACTIVE, status, NOON)
    known = after_outcome(linked(HOUR, history_complete=True), StateName.ACTIVE, status, NOON)
    assert (later.attempt_class, known.attempt_class) == (AttemptClass.ROUTINE, AttemptClass.ROUTINE)


@pytest.mark.parametrize("state", [state for state in StateName if state is not StateName.REMOVED])
def test_after_an_outcome_an_item_of_any_state_is_attempted_by_routine_or_when_a_resync_may_begin(state: str) -> None:
    interval = ROUTINE_INTERVALS[StateName(state)]
    item = new_item(ITEM, state=ItemState(state))
    following = after_outcome(item, state, "HISTORICAL_UPDATE_COMPLETE", NOON)
    assert interval * 0.9 <= following.at - NOON <= interval * 1.1
    assert following.attempt_class is AttemptClass.ROUTINE
    assert after_outcome(item, state, "HISTORICAL_UPDATE_COMPLETE", NOON, NOON + HOUR).at == NOON + HOUR


def test_the_history_shows_a_failure_that_lasts_after_one_two_four_and_eight_hours() -> None:
    failure: ItemFailure | None = None
    shown = []
    for minutes in range(0, 9 * 60, 2):
        before, now = failure, NOON + MINUTE * minutes
        failure = next_failure(before, "CODE", FailureClass.TRANSIENT, now)
        assert (failure.since, failure.last_at) == (NOON, now)
        shown += [minutes] if is_notable(before, failure) else []
    assert shown == [0, 60, 120, 240, 480]
    other = next_failure(failure, "OTHER", FailureClass.THROTTLED, NOON + 9 * HOUR)
    assert is_notable(failure, other)
    assert is_notable(other, None)
