"""Events in any order and number: late, twice, or together with what a sync finds."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import Expiry, ItemState, StateName
from plaid_sync.domain.state_machine import ItemEvent, TransitionResult, apply_event, apply_events
from plaid_sync.domain.transitions import (
    EventType,
)

from tests.fakes.clock import NOON
from tests.unit.domain.test_state_machine import (
    ABOUT_ACCOUNTS,
    ACTIVE,
    DAY,
    EXPIRING,
    FINDINGS,
    HEALTHY,
    LOGIN_REQUIRED,
    REPAIRS,
    WARNINGS,
    WEEK,
    in_state,
    warning,
)

HINTS = st.builds(
    ItemEvent,
    st.sampled_from([event for event in EventType if event.name == event.value]),
    reported_at=st.integers(0, 23).map(lambda hours: NOON - timedelta(hours=hours)),
)
SENT_BEFORE = st.integers(1, 24).map(lambda hours: NOON - timedelta(hours=hours))
ANY_STATE = st.sampled_from([in_state(name) for name in StateName])


def state_after(before: ItemState, *events: ItemEvent) -> ItemState:
    return apply_events(before, events, NOON).state


@settings(deadline=None)
@given(ANY_STATE, st.lists(HINTS, max_size=6), st.sampled_from(FINDINGS), st.data())
def test_the_finding_decides_in_any_order_and_number_of_hints(
    before: ItemState, hints: list[ItemEvent], finding: ItemEvent, data: st.DataObject
) -> None:
    hints = [hint for hint in hints if hint.type not in (*WARNINGS, *REPAIRS)]
    copies = data.draw(st.permutations([*hints, *hints]))
    assert state_after(before, *copies, finding).name == state_after(before, finding).name
    assert state_after(before, *copies, finding) == state_after(before, *hints, finding)


@settings(deadline=None)
@given(ANY_STATE, st.lists(HINTS, max_size=4), st.sampled_from(FINDINGS), st.data())
def test_a_repair_resolves_the_warnings_that_were_sent_before_it_in_any_order_of_arrival(
    before: ItemState, hints: list[ItemEvent], finding: ItemEvent, data: st.DataObject
) -> None:
    repair = ItemEvent(data.draw(st.sampled_from(REPAIRS)), reported_at=NOON)
    sent = data.draw(st.lists(SENT_BEFORE, max_size=2))
    warnings = [warning(data.draw(st.sampled_from([None, at + WEEK])), NOON) for at in sent]
    others = [hint for hint in hints if hint.type not in WARNINGS]
    events = data.draw(st.permutations([*others, *warnings, *warnings, repair]))
    after = state_after(before, *events, finding)
    assert after.expiry is None
    assert after.name == state_after(before, repair, finding).name


@settings(deadline=None)
@given(ANY_STATE, st.lists(HINTS, max_size=4), st.sampled_from(FINDINGS), st.integers(1, 6), st.data())
def test_a_warning_stays_open_under_other_hints_in_any_order(
    before: ItemState, hints: list[ItemEvent], finding: ItemEvent, days: int, data: st.DataObject
) -> None:
    hint = warning(NOON + days * DAY)
    others = [other for other in hints if other.type not in (*WARNINGS, *REPAIRS)]
    after = state_after(before, *data.draw(st.permutations([*others, hint, hint])), finding)
    known = [] if before.expiry is None else [before.expiry.until]
    recovered = finding is HEALTHY and before.name in {StateName.NEEDS_USER, StateName.REVOKED}
    if before.name == StateName.REMOVED or (recovered and known and known[0] >= NOON + days * DAY):
        assert after.expiry is None, "the Item is removed, or the recovery resolved the warning that was known before"
        return
    assert after.expiry == Expiry("PENDING_DISCONNECT", max([*known, NOON + days * DAY]))
    assert finding is not HEALTHY or after.name == StateName.EXPIRING


@pytest.mark.parametrize(
    ("event", "consent_until"),
    [
        (EventType.PENDING_EXPIRATION, NOON + 7 * DAY),
        (EventType.PENDING_EXPIRATION, None),
        (EventType.PENDING_DISCONNECT, None),
    ],
)
def test_a_warning_that_arrives_with_the_recovery_is_not_resolved_by_it(
    event: EventType, consent_until: datetime | None
) -> None:
    """The user logged in again without a webhook; then Plaid warns, and the sync finds the Item healthy."""
    broken = ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED")
    healthy = ItemEvent(EventType.HEALTHY, until=consent_until)
    result = apply_events(broken, [warning(NOON + 7 * DAY, event=event), healthy], NOON)
    assert (result.state.name, result.state.code) == (StateName.EXPIRING, event.value)
    assert result.published_events == (DetailType.EXPIRING,)


def test_only_the_final_state_is_published() -> None:
    repair = ItemEvent(EventType.LOGIN_REPAIRED, reported_at=NOON)
    assert apply_events(EXPIRING, [repair, LOGIN_REQUIRED], NOON).published_events == (DetailType.NEEDS_USER,)
    assert apply_events(ACTIVE, [warning(NOON + 3 * DAY), repair, HEALTHY], NOON).published_events == ()


@settings(deadline=None)
@given(ANY_STATE, HINTS | st.sampled_from(FINDINGS), st.integers(0, 9))
def test_an_event_is_idempotent(before: ItemState, event: ItemEvent, days: int) -> None:
    once = apply_event(before, event, NOON).state
    again = apply_event(once, event, NOON + days * DAY if event.type not in WARNINGS else NOON)
    outlived = once.expiry is not None and once.expiry.until <= NOON + days * DAY
    if not (event is HEALTHY and outlived):
        assert again.state == once
        assert again.published_events == () or event.type in ABOUT_ACCOUNTS


def test_each_event_of_one_sync_is_published_once() -> None:
    revoked = ItemEvent(EventType.USER_ACCOUNT_REVOKED, reported_at=NOON)
    new = ItemEvent(EventType.NEW_ACCOUNTS_AVAILABLE, reported_at=NOON)
    for hints in permutations([revoked, revoked, new, new]):
        assert apply_events(ACTIVE, (*hints, HEALTHY), NOON).published_events == (DetailType.NEW_ACCOUNTS,)


def test_an_old_error_after_a_repair_does_not_break_a_healthy_item() -> None:
    old = ItemEvent(EventType.ERROR, reported_at=NOON - DAY)
    assert apply_events(ACTIVE, (old, old, HEALTHY), NOON) == TransitionResult(ACTIVE)


def test_of_two_warnings_the_earlier_deadline_is_kept_and_a_repair_resolves_both() -> None:
    later, earlier = warning(NOON + 5 * DAY), warning(NOON + 2 * DAY, event=EventType.PENDING_EXPIRATION)
    for hints in ((later, earlier), (earlier, later)):
        known = state_after(ItemState(StateName.ACTIVE), *hints)
        assert known.expiry == Expiry("PENDING_EXPIRATION", NOON + 2 * DAY)
        repaired = state_after(known, ItemEvent(EventType.LOGIN_REPAIRED, reported_at=NOON), HEALTHY)
        assert repaired.name == StateName.ACTIVE
        assert state_after(repaired, *hints).name == StateName.ACTIVE
