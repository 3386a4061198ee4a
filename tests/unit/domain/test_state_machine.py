"""The state machine of an Item: every cell of the table, and the rules about warnings and repairs.

test_items_document.py compares the whole table with docs/items.md.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest
from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import Expiry, ItemState, StateName
from plaid_sync.domain.state_machine import ItemEvent, TransitionResult, apply_event, apply_events, event_of_failure
from plaid_sync.domain.transitions import (
    DETAIL_TYPE_OF_STATE,
    LIVE_STATES,
    TRANSITIONS,
    Action,
    EventType,
    Transition,
    transition,
)

from tests.fakes.clock import NOON

LONG_AGO = NOON - timedelta(days=30)
DAY, WEEK = timedelta(days=1), timedelta(days=7)
WARNINGS = (EventType.PENDING_EXPIRATION, EventType.PENDING_DISCONNECT)
REPAIRS = (EventType.LOGIN_REPAIRED, EventType.UPDATE_MODE_FINISHED)
ABOUT_ACCOUNTS = {
    EventType.ACCOUNT_GONE: DetailType.ACCOUNT_GONE,
    EventType.ACCOUNT_WITHDRAWN: DetailType.ACCOUNT_REVOKED,
    EventType.ACCOUNT_RETURNED: DetailType.ACCOUNT_RETURNED,
    EventType.NEW_ACCOUNTS_AVAILABLE: DetailType.NEW_ACCOUNTS,
}
HEALTHY = ItemEvent(EventType.HEALTHY)
LOGIN_REQUIRED = ItemEvent(EventType.FOUND_NEEDS_USER, "ITEM_LOGIN_REQUIRED")
INSTITUTION_DOWN = ItemEvent(EventType.FOUND_INSTITUTION_DOWN, "INSTITUTION_DOWN")
GONE = ItemEvent(EventType.FOUND_TERMINAL, "ITEM_NOT_FOUND")
FINDINGS = (
    HEALTHY,
    LOGIN_REQUIRED,
    INSTITUTION_DOWN,
    GONE,
    ItemEvent(EventType.FOUND_TRANSIENT, "PLANNED_MAINTENANCE"),
)


def in_state(name: StateName) -> ItemState:
    expiry = Expiry(EventType.PENDING_DISCONNECT.value, NOON + 3 * DAY) if name is StateName.EXPIRING else None
    codes = {
        StateName.EXPIRING: "PENDING_DISCONNECT",
        StateName.DEGRADED: "INSTITUTION_DOWN",
        StateName.NEEDS_USER: "ITEM_LOGIN_REQUIRED",
        StateName.REVOKED: "ITEM_NOT_FOUND",
    }
    return ItemState(name, codes.get(name), LONG_AGO, expiry)


ACTIVE, EXPIRING = in_state(StateName.ACTIVE), in_state(StateName.EXPIRING)


def event_of(event: EventType) -> ItemEvent:
    codes = {found.type: found.code for found in (INSTITUTION_DOWN, LOGIN_REQUIRED, GONE)}
    return ItemEvent(event, codes.get(event), reported_at=NOON)


def warning(
    until: datetime | None, reported_at: datetime = NOON, event: EventType = EventType.PENDING_DISCONNECT
) -> ItemEvent:
    return ItemEvent(event, until=until, reported_at=reported_at)


def consent(period: timedelta) -> ItemEvent:
    return ItemEvent(EventType.HEALTHY, until=NOON + period)


# ---- the table


def test_the_table_has_a_cell_for_every_state_and_every_event() -> None:
    assert set(TRANSITIONS) == set(product(StateName, EventType))


@pytest.mark.parametrize(("before", "event"), TRANSITIONS, ids=str)
def test_each_cell_gives_the_next_state_and_the_published_event(before: StateName, event: EventType) -> None:
    """A state is published when it is entered; the two webhooks about accounts are published always."""
    cell, result = TRANSITIONS[before, event], apply_event(in_state(before), event_of(event), NOON)
    after = cell.state
    assert (result.state.name, result.state.since) == (after, NOON if after is not before else LONG_AGO)
    published = ABOUT_ACCOUNTS.get(event) if before is not StateName.REMOVED else None
    if after is not before:
        published = DETAIL_TYPE_OF_STATE[after]
        assert cell.published_event is published
    assert result.published_events == (() if published is None else (published,))
    assert before is not StateName.REMOVED or (result.state.code, result.state.expiry) == (None, None)
    assert not (cell.action is Action.REFUSE and result.published_events)


@pytest.mark.parametrize("event", EventType)
def test_a_state_of_a_newer_version_refuses_every_event(event: EventType) -> None:
    assert transition("frozen", event) == Transition("frozen", Action.REFUSE)


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        (FailureClass.NEEDS_USER, EventType.FOUND_NEEDS_USER),
        (FailureClass.TERMINAL, EventType.FOUND_TERMINAL),
        (FailureClass.INSTITUTION_DOWN, EventType.FOUND_INSTITUTION_DOWN),
        (FailureClass.THROTTLED, EventType.FOUND_THROTTLED),
        (FailureClass.CLIENT_ERROR, EventType.FOUND_CLIENT_ERROR),
        (FailureClass.TRANSIENT, EventType.FOUND_TRANSIENT),
        (FailureClass.RESTART, EventType.FOUND_TRANSIENT),
    ],
)
def test_every_failure_class_has_an_event(failure: FailureClass, event: EventType) -> None:
    assert event_of_failure(failure) is event


@pytest.mark.parametrize("finding", [LOGIN_REQUIRED, INSTITUTION_DOWN, GONE], ids=lambda found: found.type.name)
def test_a_failure_sets_the_code_and_health_clears_it(finding: ItemEvent) -> None:
    failed = apply_event(ACTIVE, finding, NOON).state
    assert (failed.code, failed.since) == (finding.code, NOON)
    healthy = apply_event(failed, HEALTHY, NOON + DAY)
    assert healthy == TransitionResult(ItemState(StateName.ACTIVE, since=NOON + DAY), (DetailType.ACTIVE,))


TRANSIENT = (EventType.FOUND_TRANSIENT, EventType.FOUND_THROTTLED, EventType.FOUND_CLIENT_ERROR)
WAITING_FOR_THE_USER = (StateName.NEEDS_USER, StateName.REVOKED)


@pytest.mark.parametrize(
    ("event", "name"),
    [*product(TRANSIENT, LIVE_STATES), *product([EventType.FOUND_INSTITUTION_DOWN], WAITING_FOR_THE_USER)],
)
def test_a_transient_or_lesser_failure_does_not_change_the_state(event: EventType, name: StateName) -> None:
    assert apply_event(in_state(name), ItemEvent(event, "A_CODE"), NOON) == TransitionResult(in_state(name))


def test_another_code_in_the_same_state_is_published() -> None:
    locked = ItemEvent(EventType.FOUND_NEEDS_USER, "ITEM_LOCKED")
    result = apply_event(in_state(StateName.NEEDS_USER), locked, NOON)
    assert (result.state.code, result.state.since) == ("ITEM_LOCKED", NOON)
    assert result.published_events == (DetailType.NEEDS_USER,)


# ---- warnings and their deadlines


def test_a_warning_sets_the_deadline_or_means_a_week_from_when_it_was_sent() -> None:
    result = apply_event(ACTIVE, warning(NOON + 5 * DAY), NOON)
    expiry = Expiry("PENDING_DISCONNECT", NOON + 5 * DAY)
    assert result.state == ItemState(StateName.EXPIRING, "PENDING_DISCONNECT", NOON, expiry)
    assert (result.published_events, result.state.until) == ((DetailType.EXPIRING,), NOON + 5 * DAY)
    result = apply_event(ACTIVE, warning(None, reported_at=NOON - DAY), NOON)
    assert result.state.expiry == Expiry("PENDING_DISCONNECT", NOON - DAY + WEEK)


@pytest.mark.parametrize("until", [NOON + DAY, None], ids=["with deadline", "without"])
def test_a_repeated_warning_is_published_once(until: datetime | None) -> None:
    once = apply_event(ACTIVE, warning(until, reported_at=NOON - timedelta(hours=2)), NOON).state
    assert apply_event(once, warning(until), NOON) == TransitionResult(once)


def test_a_later_deadline_is_published_and_keeps_since() -> None:
    result = apply_event(EXPIRING, warning(NOON + 6 * DAY), NOON)
    assert result.state.expiry == Expiry("PENDING_DISCONNECT", NOON + 6 * DAY)
    assert (result.state.since, result.published_events) == (LONG_AGO, (DetailType.EXPIRING,))


@pytest.mark.parametrize("event", WARNINGS)
@pytest.mark.parametrize("name", LIVE_STATES)
def test_a_warning_whose_deadline_has_passed_is_outdated(event: EventType, name: StateName) -> None:
    for until, reported_at in ((NOON, NOON), (NOON - DAY, NOON - 8 * DAY), (None, NOON - WEEK)):
        late = warning(until, reported_at, event)
        assert apply_event(in_state(name), late, NOON) == TransitionResult(in_state(name))


@pytest.mark.parametrize("name", [StateName.DEGRADED, StateName.NEEDS_USER, StateName.REVOKED])
def test_a_warning_is_kept_in_a_worse_state_and_not_published(name: StateName) -> None:
    result = apply_event(in_state(name), warning(NOON + DAY), NOON)
    assert (result.state.name, result.state.code) == (name, in_state(name).code)
    assert result.state.expiry == Expiry("PENDING_DISCONNECT", NOON + DAY)
    assert result.published_events == ()


def test_an_item_whose_bank_is_back_is_expiring_again() -> None:
    down = apply_event(EXPIRING, INSTITUTION_DOWN, NOON).state
    assert down.name == StateName.DEGRADED
    result = apply_event(down, HEALTHY, NOON + DAY)
    assert (result.state.name, result.state.code) == (StateName.EXPIRING, "PENDING_DISCONNECT")
    assert result.published_events == (DetailType.EXPIRING,)


def test_health_alone_does_not_resolve_a_warning_before_its_deadline() -> None:
    assert apply_event(EXPIRING, HEALTHY, NOON) == TransitionResult(EXPIRING)
    result = apply_event(EXPIRING, HEALTHY, NOON + 3 * DAY)
    assert (result.state.name, result.state.code, result.state.expiry) == (StateName.ACTIVE, None, None)
    assert result.published_events == (DetailType.ACTIVE,)
    assert apply_event(result.state, warning(NOON + 3 * DAY), NOON) == TransitionResult(result.state)


@pytest.mark.parametrize("event", REPAIRS)
def test_a_repair_resolves_a_warning(event: EventType) -> None:
    result = apply_event(EXPIRING, ItemEvent(event, reported_at=NOON), NOON)
    assert (result.state.name, result.state.expiry) == (StateName.ACTIVE, None)
    assert result.published_events == (DetailType.ACTIVE,)


@pytest.mark.parametrize("name", [StateName.NEEDS_USER, StateName.REVOKED])
def test_a_recovery_resolves_the_warning_that_was_open(name: StateName) -> None:
    warned = apply_event(in_state(name), warning(NOON + DAY), NOON).state
    healthy = apply_event(warned, HEALTHY, NOON).state
    assert (healthy.name, healthy.expiry, healthy.warnings_resolved_until) == (StateName.ACTIVE, None, NOON + DAY)


@pytest.mark.parametrize("event", REPAIRS)
@pytest.mark.parametrize("until", [NOON + 6 * DAY, None], ids=["with deadline", "without"])
def test_a_late_copy_of_a_resolved_warning_is_outdated(event: EventType, until: datetime | None) -> None:
    repaired = apply_event(EXPIRING, ItemEvent(event, reported_at=NOON), NOON).state
    late = warning(until, reported_at=NOON + timedelta(hours=23))
    assert apply_event(repaired, late, NOON + DAY) == TransitionResult(repaired)


def test_a_warning_that_was_sent_after_the_repair_is_published() -> None:
    repaired = apply_event(EXPIRING, ItemEvent(EventType.LOGIN_REPAIRED, reported_at=NOON), NOON).state
    for until, reported_at in ((NOON + 8 * DAY, NOON + DAY), (None, NOON + 2 * DAY)):
        result = apply_event(repaired, warning(until, reported_at), reported_at)
        assert result.published_events == (DetailType.EXPIRING,)


@pytest.mark.parametrize("event", WARNINGS)
def test_a_renewed_consent_resolves_either_warning(event: EventType) -> None:
    warned = apply_event(ACTIVE, warning(NOON + 5 * DAY, event=event), NOON).state
    same_end = apply_event(warned, consent(5 * DAY), NOON)
    assert same_end == TransitionResult(replace(warned, consent_until=NOON + 5 * DAY))
    # Of a disconnect only an end that has moved says something: it may have been later all the time.
    for before in (same_end.state, *([warned] if event is EventType.PENDING_EXPIRATION else [])):
        result = apply_event(before, consent(90 * DAY), NOON)
        assert (result.state.name, result.state.expiry) == (StateName.ACTIVE, None)
        assert result.published_events == (DetailType.ACTIVE,)


def test_a_consent_that_ended_later_all_the_time_does_not_resolve_a_disconnect() -> None:
    """A bank's migration ends the connection, however long the consent is."""
    hint = warning(NOON + 5 * DAY)
    for known in (None, NOON + 90 * DAY):
        warned = apply_events(replace(ACTIVE, consent_until=known), (hint, consent(90 * DAY)), NOON)
        assert warned.published_events == (DetailType.EXPIRING,)
        after_an_outage = apply_events(replace(ACTIVE, consent_until=known), (hint, INSTITUTION_DOWN), NOON).state
        assert apply_event(after_an_outage, consent(90 * DAY), NOON + DAY).state.name == StateName.EXPIRING
        later = apply_event(warned.state, consent(90 * DAY), NOON + DAY)
        assert later == TransitionResult(warned.state)
        assert apply_event(later.state, consent(180 * DAY), NOON + DAY).state.name == StateName.ACTIVE


@pytest.mark.parametrize("event", WARNINGS)
def test_a_warning_that_the_check_disproves_is_not_published(event: EventType) -> None:
    before, hint = replace(ACTIVE, consent_until=NOON + 5 * DAY), warning(NOON + 5 * DAY, event=event)
    result = apply_events(before, (hint, consent(90 * DAY)), NOON)
    assert result == TransitionResult(replace(before, consent_until=NOON + 90 * DAY))


# ---- a warning that was lost


@pytest.mark.parametrize("name", LIVE_STATES)
def test_a_consent_that_ends_within_the_week_opens_the_warning_that_was_lost(name: StateName) -> None:
    before = replace(in_state(name), name=name if name is not StateName.EXPIRING else StateName.ACTIVE, expiry=None)
    found = apply_event(before, consent(WEEK), NOON)
    assert (found.state.name, found.state.code) == (StateName.EXPIRING, "PENDING_EXPIRATION")
    assert (found.state.until, found.published_events) == (NOON + WEEK, (DetailType.EXPIRING,))
    late = warning(NOON + WEEK, event=EventType.PENDING_EXPIRATION)
    assert apply_event(found.state, late, NOON).published_events == ()
    assert apply_event(found.state, consent(WEEK), NOON + DAY) == TransitionResult(found.state)
    assert apply_event(found.state, consent(90 * DAY), NOON + DAY).published_events == (DetailType.ACTIVE,)


@pytest.mark.parametrize("period", [timedelta(0), -DAY, WEEK + timedelta(seconds=1)])
def test_a_consent_that_ended_or_ends_later_than_plaid_warns_opens_no_warning(period: timedelta) -> None:
    result = apply_event(ACTIVE, consent(period), NOON)
    assert (result.state.name, result.published_events) == (StateName.ACTIVE, ())


def test_the_end_of_a_consent_does_not_replace_an_open_warning() -> None:
    assert apply_event(EXPIRING, consent(2 * DAY), NOON).state.expiry == EXPIRING.expiry


@pytest.mark.parametrize("event", REPAIRS)
def test_the_end_that_a_repair_may_have_moved_counts_again_a_day_later(event: EventType) -> None:
    repair = ItemEvent(event, reported_at=NOON)
    repaired = apply_events(ACTIVE, (repair, consent(6 * DAY)), NOON)
    assert repaired.published_events == ()
    assert apply_event(repaired.state, consent(6 * DAY), NOON + DAY).state.name == StateName.ACTIVE
    later = apply_event(repaired.state, consent(6 * DAY), NOON + DAY + timedelta(seconds=1))
    assert later.published_events == (DetailType.EXPIRING,)


# ---- the reason beside a code


def test_another_reason_of_the_same_code_is_published_and_health_clears_it() -> None:
    revoked = replace(LOGIN_REQUIRED, code_reason="OAUTH_USER_REVOKED")
    before = in_state(StateName.NEEDS_USER)
    result = apply_event(before, revoked, NOON)
    assert (result.state.code, result.state.code_reason) == ("ITEM_LOGIN_REQUIRED", "OAUTH_USER_REVOKED")
    assert (result.state.since, result.published_events) == (NOON, (DetailType.NEEDS_USER,))
    assert apply_event(result.state, revoked, NOON + DAY) == TransitionResult(result.state)
    assert apply_event(result.state, INSTITUTION_DOWN, NOON) == TransitionResult(result.state)
    assert apply_events(before, (revoked,), NOON) == result
    for event in (HEALTHY, ItemEvent(EventType.REMOVE), GONE):
        assert apply_event(result.state, event, NOON).state.code_reason is None
