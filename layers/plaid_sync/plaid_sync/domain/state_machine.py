"""The state machine of an Item: applies the table of `domain.transitions`, and the rules about warnings.

Plaid's webhooks are hints: they arrive late, twice and out of order, and carry no timestamp. So the state follows from
what /item/get and the sync find, and an old ERROR does not break a healthy Item. Only the two expiry warnings cannot be
looked up: they carry their deadline, and a repair resolves them. The end of the user's consent can be: a later one
resolves a warning, and a near one without a warning opens it.

Two rules are added to the table: an active Item with an open warning is expiring, and an event that changes nothing is
not published.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import PENDING_EXPIRATION, FailureClass
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import Expiry, ItemState, StateName
from plaid_sync.domain.transitions import DETAIL_TYPE_OF_STATE, EventType, Transition, transition

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """An event with what it carries.

    Attributes:
        code: Plaid's error code, of a failure that was found.
        code_reason: Plaid's `error_code_reason` beside it.
        until: the deadline of a warning; of `HEALTHY`, the end of the user's consent where Plaid knows one.
        reported_at: when the hint was queued; None for what was found or requested just now.
        confirmed: of a warning: Plaid just confirmed it, so that it is not outdated. Of `HEALTHY`: the open warning
            came with it, so that no repair can have resolved it.
    """

    type: EventType
    code: str | None = None
    until: datetime | None = None
    reported_at: datetime | None = None
    confirmed: bool = False
    code_reason: str | None = None


@dataclass(frozen=True, slots=True)
class TransitionResult:
    """The result of one or more events."""

    state: ItemState
    published_events: tuple[DetailType, ...] = ()

    @property
    def state_events(self) -> tuple[DetailType, ...]:
        """The published events about the Item's state, without those about its accounts."""
        return tuple(event for event in self.published_events if event not in _ACCOUNT_EVENTS)


WARNING_PERIOD: Final = timedelta(days=7)
"""How long before the end Plaid warns, where a warning has no deadline (https://plaid.com/docs/api/items/#webhooks)."""
_MAX_DELIVERY_TIME: Final = timedelta(days=1)
"""How long Plaid tries to deliver a webhook."""
_MIN_RENEWAL: Final = timedelta(minutes=1)
_WARNINGS: Final = frozenset({EventType.PENDING_EXPIRATION, EventType.PENDING_DISCONNECT})
_REPAIRS: Final = frozenset({EventType.LOGIN_REPAIRED, EventType.UPDATE_MODE_FINISHED})
_ACCOUNT_EVENTS: Final = frozenset(
    {
        DetailType.NEW_ACCOUNTS,
        DetailType.ACCOUNT_GONE,
        DetailType.ACCOUNT_REVOKED,
        DetailType.ACCOUNT_RETURNED,
    }
)
_EVENT_OF_CLASS: Final = {
    FailureClass.INSTITUTION_DOWN: EventType.FOUND_INSTITUTION_DOWN,
    FailureClass.NEEDS_USER: EventType.FOUND_NEEDS_USER,
    FailureClass.TERMINAL: EventType.FOUND_TERMINAL,
    FailureClass.THROTTLED: EventType.FOUND_THROTTLED,
    FailureClass.CLIENT_ERROR: EventType.FOUND_CLIENT_ERROR,
}
_ITEM_FAILURES: Final = frozenset(
    {EventType.FOUND_INSTITUTION_DOWN, EventType.FOUND_NEEDS_USER, EventType.FOUND_TERMINAL}
)
"""Failures of the Item itself; a throttle, or an error of ours, says nothing about it."""


def event_of_failure(failure_class: FailureClass) -> EventType:
    """Return the event of a failure that a sync met."""
    return _EVENT_OF_CLASS.get(failure_class, EventType.FOUND_TRANSIENT)


def apply_event(state: ItemState, event: ItemEvent, now: datetime) -> TransitionResult:
    """Apply an event to a state; idempotent."""
    step = transition(state.name, event.type)
    if event.type in _WARNINGS and not _is_current_warning(event, state, now):
        return TransitionResult(state)
    after = _with_state(_with_expiry(state, event, now), step, event)
    if (_finding(after), after.expiry) == (_finding(state), state.expiry):
        published = (step.published_event,) if step.published_event in _ACCOUNT_EVENTS else ()
        return TransitionResult(replace(after, since=state.since), published)
    moved = _finding(after) != _finding(state)
    since = now if moved else state.since
    published = (DETAIL_TYPE_OF_STATE[after.name],) if moved or _is_expiring(after) else ()
    return TransitionResult(replace(after, since=since), published)


def apply_events(state: ItemState, events: Iterable[ItemEvent], now: datetime) -> TransitionResult:
    """Apply events in order, the last of them what was found; a warning that it disproves is dropped.

    Only the final state is published: all of them share one time and one history entry.
    """
    before, ordered = state, tuple(events)
    consent_until = ordered[-1].until if ordered and ordered[-1].type is EventType.HEALTHY else None
    account_events: list[DetailType] = []
    for event in ordered:
        if event.type in _WARNINGS and _is_renewed(event, before, consent_until, now):
            continue
        confirmed = event.type is EventType.PENDING_EXPIRATION and None not in {event.until, consent_until}
        if event.type is EventType.HEALTHY:
            confirmed = state.expiry != before.expiry
        result = apply_event(state, replace(event, confirmed=confirmed), now)
        state = result.state
        account_events += [published for published in result.published_events if published in _ACCOUNT_EVENTS]
    moved = _finding(state) != _finding(before)
    changed = moved or (_is_expiring(state) and state.expiry != before.expiry)
    state_events = [DETAIL_TYPE_OF_STATE[state.name]] if changed else []
    since = state.since if moved else before.since
    return TransitionResult(replace(state, since=since), tuple(dict.fromkeys([*account_events, *state_events])))


def _finding(state: ItemState) -> tuple[str, str | None, str | None]:
    return state.name, state.code, state.code_reason


def _is_renewed(warning: ItemEvent, before: ItemState, consent_until: datetime | None, now: datetime) -> bool:
    """Return whether the user's consent was renewed before its warning arrived."""
    if warning.type is EventType.PENDING_EXPIRATION:
        return warning.until is not None and _is_later(consent_until, warning.until)
    known = before.consent_until
    return known is not None and _is_later(consent_until, known) and _is_later(consent_until, _deadline(warning, now))


def _is_later(consent_until: datetime | None, than: datetime) -> bool:
    return consent_until is not None and consent_until > than + _MIN_RENEWAL


def _is_expiring(state: ItemState) -> bool:
    return state.name == StateName.EXPIRING


def _deadline(event: ItemEvent, now: datetime) -> datetime:
    return event.until or (event.reported_at or now) + WARNING_PERIOD


def _is_current_warning(event: ItemEvent, state: ItemState, now: datetime) -> bool:
    """Return whether a warning is open: its deadline is ahead, and no repair resolved it."""
    until = _deadline(event, now)
    if until <= now:
        return False
    if event.confirmed:
        return True
    if state.expiry is not None and state.expiry.code == event.type:  # noqa: SIM102 - two questions
        if event.until is None or until < state.expiry.until:
            return False  # a copy without a deadline, whose deadline would seem to be later; or an older warning
    # A warning without a deadline that Plaid may have sent before the repair is taken to be that old one.
    doubt = timedelta(0) if event.until else _MAX_DELIVERY_TIME
    return state.warnings_resolved_until is None or until - doubt > state.warnings_resolved_until


def _with_expiry(state: ItemState, event: ItemEvent, now: datetime) -> ItemState:
    """Open a warning, resolve it, or let it expire."""
    expiry = state.expiry
    if event.type in _WARNINGS:
        warning = Expiry(event.type.value, _deadline(event, now))
        # Of two warnings the one with the earlier deadline is kept; a repair resolves both.
        ends_first = expiry is not None and expiry.code != warning.code and expiry.until <= warning.until
        return state if ends_first else replace(state, expiry=warning)
    if event.type in _REPAIRS:
        # A warning that was sent before the repair, and has not arrived yet, ends before this.
        return _resolve_warning(state, (event.reported_at or now) + WARNING_PERIOD)
    if event.type is not EventType.HEALTHY:
        return state
    resolved = _resolve_warning(state) if _is_resolved(state, event, now) else state
    return replace(_with_found_warning(resolved, event, now), consent_until=event.until or state.consent_until)


def _resolve_warning(state: ItemState, before: datetime | None = None) -> ItemState:
    deadlines = [before, state.warnings_resolved_until, None if state.expiry is None else state.expiry.until]
    latest = max((deadline for deadline in deadlines if deadline is not None), default=None)
    return replace(state, expiry=None, warnings_resolved_until=latest)


def _is_resolved(state: ItemState, healthy: ItemEvent, now: datetime) -> bool:
    """Return whether a healthy Item outlived its warning, was repaired, or has a renewed consent."""
    expiry = state.expiry
    if expiry is None:
        return False
    if now >= expiry.until or _renews_consent(healthy, expiry, state.consent_until):
        return True
    # A repair renews the connection; unless Plaid still reports the same end of the user's consent.
    recovered = state.name in {StateName.NEEDS_USER, StateName.REVOKED}
    same_end = expiry.code == PENDING_EXPIRATION and healthy.until is not None
    return recovered and not healthy.confirmed and not same_end


def _renews_consent(healthy: ItemEvent, expiry: Expiry, known: datetime | None) -> bool:
    """Return whether the user's consent now ends after the open warning, because it was renewed.

    PENDING_DISCONNECT can have another reason than the consent, whose end was later all the time.

    Args:
        healthy: what was found.
        expiry: the open warning.
        known: the end of the consent that Plaid reported before.
    """
    if not _is_later(healthy.until, expiry.until):
        return False
    if expiry.code == PENDING_EXPIRATION:
        return True
    return known is not None and _is_later(healthy.until, known)


def _with_found_warning(state: ItemState, healthy: ItemEvent, now: datetime) -> ItemState:
    """Open a warning where the user's consent ends soon: its webhook was lost."""
    until, resolved = healthy.until, state.warnings_resolved_until
    if until is None or state.expiry is not None or not now < until <= now + WARNING_PERIOD:
        return state
    # Plaid may still report the end that a repair has just moved. A day after the repair it is the end.
    if resolved is not None and until <= resolved and now <= resolved - WARNING_PERIOD + _MAX_DELIVERY_TIME:
        return state
    return replace(state, expiry=Expiry(PENDING_EXPIRATION, until))


def _with_state(state: ItemState, step: Transition, event: ItemEvent) -> ItemState:
    name, expiry = step.state, state.expiry
    if name in {StateName.ACTIVE, StateName.EXPIRING}:
        if expiry is None:
            return replace(state, name=StateName.ACTIVE, code=None, code_reason=None)
        return replace(state, name=StateName.EXPIRING, code=expiry.code, code_reason=None)
    if name == StateName.REMOVED:
        return replace(state, name=StateName.REMOVED, code=None, code_reason=None, expiry=None)
    entered = name != state.name or event.type in _ITEM_FAILURES
    keeps_code = event.type is EventType.FOUND_INSTITUTION_DOWN and name in {StateName.NEEDS_USER, StateName.REVOKED}
    if not entered or keeps_code:
        return replace(state, name=name)
    return replace(state, name=name, code=event.code, code_reason=event.code_reason)
