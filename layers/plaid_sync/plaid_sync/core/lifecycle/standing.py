"""How an Item stands after an event: the table of `core.lifecycle.states`, and the rules about Plaid's warnings.

Plaid's webhooks are hints: they come late, twice and in the wrong order, and hold no time. So an Item's state follows
from what is found, by /item/get and by the sync that a hint leads to, and an old ERROR does not break a healthy Item.
Only the two warnings of an end to come can't be looked up; they carry their deadline, and a repair answers it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.core.error_codes import PENDING_EXPIRATION, FailureClass
from plaid_sync.core.items import Expiry, ItemStatus, Standing
from plaid_sync.core.lifecycle.states import ENTERED, TABLE, Announcement, Event, Step

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An event with what it says.

    Attributes:
        code: Plaid's error code, of a failure that was found.
        until: the deadline of a warning; of `HEALTHY`, the end of the user's consent where Plaid knows one.
        told_at: when the hint was queued; None for what was found or asked for just now.
        account_id: the account that the user has withdrawn.
        confirmed: of a warning: Plaid has just said the same when asked, so that it is no old news. Of `HEALTHY`: the
            warning that stands came with it, so that no repair can have answered it.
    """

    event: Event
    code: str | None = None
    until: datetime | None = None
    told_at: datetime | None = None
    account_id: str | None = None
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What an event makes of a standing."""

    standing: Standing
    announcement: Announcement | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a row of events makes of a standing."""

    standing: Standing
    announcements: tuple[Announcement, ...] = ()

    @property
    def about_the_item(self) -> tuple[Announcement, ...]:
        """The announcements of how the Item stands, without those about its accounts."""
        return tuple(one for one in self.announcements if one not in _ABOUT_ACCOUNTS)


_WARNINGS: Final = frozenset({Event.PENDING_EXPIRATION, Event.PENDING_DISCONNECT})
_ABOUT_ACCOUNTS: Final = frozenset({Announcement.NEW_ACCOUNTS, Announcement.ACCOUNT_REVOKED})
_REPAIRS: Final = frozenset({Event.LOGIN_REPAIRED, Event.UPDATE_MODE_FINISHED})
_FOUND: Final = {
    FailureClass.INSTITUTION_DOWN: Event.FOUND_INSTITUTION_DOWN,
    FailureClass.NEEDS_USER: Event.FOUND_NEEDS_USER,
    FailureClass.TERMINAL: Event.FOUND_TERMINAL,
    FailureClass.THROTTLED: Event.FOUND_THROTTLED,
    FailureClass.OURS: Event.FOUND_OURS,
}
_REASONS: Final = frozenset({Event.FOUND_INSTITUTION_DOWN, Event.FOUND_NEEDS_USER, Event.FOUND_TERMINAL})
"""What was found to be wrong with the Item; a throttle, or a fault of ours, says nothing about it."""
NOTICE_OF_THE_END: Final = timedelta(days=7)
"""How long before the end Plaid warns, where a warning names no time (https://plaid.com/docs/api/items/#webhooks)."""
_OLDEST_DELIVERY: Final = timedelta(days=1)
"""How long Plaid tries to deliver a webhook."""
_RENEWED: Final = timedelta(minutes=1)


def found(failure_class: FailureClass) -> Event:
    """Return the event of a failure that a sync has met."""
    return _FOUND.get(failure_class, Event.FOUND_RETRY)


def apply(standing: Standing, occurrence: Occurrence, now: datetime) -> Change:
    """Return what an event makes of how an Item stands; repeating an event changes nothing more."""
    step = TABLE[standing.status, occurrence.event]
    if occurrence.event in _WARNINGS and not _is_news(occurrence, standing, now):
        return Change(standing)
    after = _with_status(_with_expiry(standing, occurrence, now), step, occurrence)
    if (after.status, after.code, after.expiry) == (standing.status, standing.code, standing.expiry):
        told = step.announcement if step.announcement in _ABOUT_ACCOUNTS else None
        return Change(replace(after, since=standing.since), told)
    moved = (after.status, after.code) != (standing.status, standing.code)
    since = now if moved else standing.since
    return Change(replace(after, since=since), ENTERED[after.status] if moved or _is_expiring(after) else None)


def judge(standing: Standing, occurrences: Iterable[Occurrence], now: datetime) -> Judgement:
    """Apply events one after the other, the last of them what was found; a warning that it disproves is dropped.

    Told is what it comes to, and not what is only passed through: all of it has one time and one entry.
    """
    before, events = standing, tuple(occurrences)
    consent_until = events[-1].until if events and events[-1].event is Event.HEALTHY else None
    about_accounts: list[Announcement] = []
    for occurrence in events:
        if _is_renewed(occurrence, consent_until):
            continue
        confirmed = occurrence.event is Event.PENDING_EXPIRATION and None not in {occurrence.until, consent_until}
        if occurrence.event is Event.HEALTHY:
            confirmed = standing.expiry != before.expiry
        change = apply(standing, replace(occurrence, confirmed=confirmed), now)
        standing = change.standing
        about_accounts += [change.announcement] if change.announcement in _ABOUT_ACCOUNTS else []
    moved = (standing.status, standing.code) != (before.status, before.code)
    told = [ENTERED[standing.status]] if moved or (_is_expiring(standing) and standing.expiry != before.expiry) else []
    since = standing.since if moved else before.since
    return Judgement(replace(standing, since=since), tuple(dict.fromkeys([*about_accounts, *told])))


def _is_renewed(warning: Occurrence, consent_until: datetime | None) -> bool:
    """Tell whether the user's consent now ends later than the warning says."""
    if warning.event is not Event.PENDING_EXPIRATION or warning.until is None or consent_until is None:
        return False
    return consent_until - _RENEWED > warning.until


def _is_expiring(standing: Standing) -> bool:
    return standing.status is ItemStatus.EXPIRING


def _deadline(occurrence: Occurrence, now: datetime) -> datetime:
    return occurrence.until or (occurrence.told_at or now) + NOTICE_OF_THE_END


def _is_news(occurrence: Occurrence, standing: Standing, now: datetime) -> bool:
    """Tell whether a warning still stands: its time has not come, and no repair has answered it."""
    until = _deadline(occurrence, now)
    if until <= now:
        return False
    if occurrence.confirmed:
        return True
    same = standing.expiry is not None and standing.expiry.code == occurrence.event
    if same and (occurrence.until is None or until < standing.expiry.until):  # type: ignore[union-attr] # same implies it
        return False  # a copy without a time, whose deadline would seem to be later; or an older warning
    # Without a deadline of its own, one that Plaid may have sent before the repair is taken to be that old one.
    doubt = timedelta(0) if occurrence.until else _OLDEST_DELIVERY
    return standing.answered_until is None or until - doubt > standing.answered_until


def _with_expiry(standing: Standing, occurrence: Occurrence, now: datetime) -> Standing:
    """Let a warning stand, be answered, or run out."""
    event, expiry = occurrence.event, standing.expiry
    if event in _WARNINGS:
        warning = Expiry(event.value, _deadline(occurrence, now))
        # Of two warnings the one that ends first is the one to tell; what repairs the connection answers both.
        ends_first = expiry is not None and expiry.code != warning.code and expiry.until <= warning.until
        return standing if ends_first else replace(standing, expiry=warning)
    if event in _REPAIRS:
        # A warning that was sent before the repair, and is still on its way, ends before this.
        return _answered(standing, (occurrence.told_at or now) + NOTICE_OF_THE_END)
    if event is not Event.HEALTHY or expiry is None:
        return standing
    # Whoever repairs a connection renews it; unless Plaid names the same end of the user's consent all the same.
    recovered = standing.status in {ItemStatus.NEEDS_USER, ItemStatus.REVOKED}
    same_end = expiry.code == PENDING_EXPIRATION and occurrence.until is not None
    repaired = recovered and not occurrence.confirmed and not same_end
    return _answered(standing) if repaired or _is_over(expiry, occurrence, now) else standing


def _answered(standing: Standing, before: datetime | None = None) -> Standing:
    deadlines = [before, standing.answered_until, None if standing.expiry is None else standing.expiry.until]
    latest = max((deadline for deadline in deadlines if deadline is not None), default=None)
    return replace(standing, expiry=None, answered_until=latest)


def _is_over(expiry: Expiry, healthy: Occurrence, now: datetime) -> bool:
    """Tell whether a healthy Item has outlived the warning, or the user's consent was renewed."""
    renewed = expiry.code == PENDING_EXPIRATION and healthy.until is not None
    return now >= expiry.until or (renewed and healthy.until > expiry.until + _RENEWED)  # type: ignore[operator] # renewed implies it


def _with_status(standing: Standing, step: Step, occurrence: Occurrence) -> Standing:
    status, expiry = step.state, standing.expiry
    if status in {ItemStatus.ACTIVE, ItemStatus.EXPIRING}:
        if expiry is None:
            return replace(standing, status=ItemStatus.ACTIVE, code=None)
        return replace(standing, status=ItemStatus.EXPIRING, code=expiry.code)
    if status is ItemStatus.REMOVED:
        return replace(standing, status=ItemStatus.REMOVED, code=None, expiry=None)
    entered = status is not standing.status or occurrence.event in _REASONS
    keeps = occurrence.event is Event.FOUND_INSTITUTION_DOWN and status in {ItemStatus.NEEDS_USER, ItemStatus.REVOKED}
    return replace(standing, status=status, code=occurrence.code if entered and not keeps else standing.code)
