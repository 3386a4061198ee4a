"""When an Item is attempted next, and as what: the retry policy.

Every Item remembers the time of its next attempt: after a failure, after a claim whose worker may die, after a link,
and by routine after a success. The sweep enqueues an Item when that time has come, so that no lost message, webhook or
worker loses an Item. Each Item gets its own time, up to a tenth early or late, so that Items that failed or committed
together are not due together. The spread is derived from the Item and the time, not from chance, so that it is
reproducible.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.item import HISTORY_COMPLETE, ItemFailure, ItemId, StateName

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.item import Item


class AttemptClass(StrEnum):
    """Why an Item is attempted, in the order of the sweep. Each class has its own budget of calls to Plaid."""

    FAILING = "failing"
    """The last attempt failed, or its worker died."""
    FIRST_SYNC = "first_sync"
    """Its history is not complete, a request or a refused webhook is pending, or a pull of many pages goes on."""
    ROUTINE = "routine"
    """A webhook may be lost."""
    BANK_DOWN = "bank_down"
    """The bank is down: a large bank must not use up the budget of other failures."""


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The next attempt of an Item."""

    at: datetime
    attempt_class: AttemptClass


@dataclass(frozen=True, slots=True, order=True)
class DueItem:
    """An Item whose next attempt has come.

    Attributes:
        next_attempt_at: since when, exactly as the table has it (text order is time order).
        requested: a webhook whose message the queue refused requested it, at that time.
    """

    next_attempt_at: str
    item_id: ItemId
    attempt_class: AttemptClass
    requested: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """The sweep's right to send the message of an attempt.

    Attributes:
        until: when another message is sent if no worker has begun the attempt; None where none was sent.
    """

    item: DueItem
    until: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        """Return whether the attempt may be leased (again)."""
        return self.until is None or self.until <= now

    def renewed(self, now: datetime) -> Lease:
        """Return the lease that follows."""
        return Lease(self.item, now + LEASED)


@dataclass(frozen=True, slots=True)
class Failures:
    """How many Items are failing.

    Attributes:
        oldest: since when the one fails that fails longest; None without any.
    """

    count: int = 0
    oldest: datetime | None = None


ROLLBACK_AFTER: Final = timedelta(minutes=10)
"""After the exchange of a public token whose Item is not registered: much longer than the request can run."""
REQUESTED: Final = timedelta(minutes=2)
"""After a link or another request of the API, whose message the queue may have refused."""
LEASED: Final = timedelta(minutes=5)
"""How long the message of an attempt may wait until the sweep sends another."""
DEFERRED: Final = timedelta(minutes=1)
"""After an attempt that the call budget deferred."""
CLAIMED: Final = timedelta(minutes=6)
"""After a claim: longer than an invocation lives. The outcome of the attempt replaces it."""
HISTORY_LOOKS: Final = (timedelta(minutes=1), timedelta(minutes=50))
"""First and maximum interval while Plaid has no history, or only the first part of it.

In between an Item waits as long as it has waited since its link. Its webhook arrives within minutes, unless it is lost.
"""
MAX_HISTORY_AGE: Final = timedelta(days=1)
"""How long after its link an incomplete history is looked for that often; then by routine."""
UNKNOWN_STATE: Final = timedelta(hours=6)
"""While an Item is in a state of a newer version."""
ROUTINE_INTERVALS: Final = {
    StateName.ACTIVE: timedelta(hours=12),
    StateName.EXPIRING: timedelta(hours=12),
    StateName.DEGRADED: timedelta(hours=6),
    StateName.NEEDS_USER: timedelta(hours=24),
    StateName.REVOKED: timedelta(days=7),
}
"""After the last commit, or the last attempt, by state: Plaid connects to a bank one to four times a day.

For an Item in `needs_user`, a LOGIN_REPAIRED webhook may have been lost; a `revoked` one may have been restored at
Plaid.
"""
ACCOUNTS_INTERVAL: Final = timedelta(hours=24)
"""After so long the accounts are compared with /accounts/get: a bank that closes or renumbers one sends no webhook."""
UNCONFIRMED_LOOKS: Final = timedelta(hours=1)
"""Between two looks for an account that a webhook said was withdrawn, and that Plaid still lists."""
MAX_UNCONFIRMED: Final = timedelta(hours=24)
"""How long that is looked for. The webhook may be an old one, sent again."""
MAX_ITEM_AGE: Final = ROUTINE_INTERVALS[StateName.ACTIVE] * 1.5
"""Age of the last commit that no active Item reaches while the sweep and Plaid work: an alarm watches it."""
RETRY_DELAYS: Final = {
    FailureClass.TRANSIENT: (timedelta(seconds=15), timedelta(seconds=150)),
    FailureClass.THROTTLED: (timedelta(seconds=45), timedelta(seconds=150)),
    FailureClass.CLIENT_ERROR: (timedelta(minutes=1), timedelta(minutes=10)),
    FailureClass.INSTITUTION_DOWN: (timedelta(minutes=5), timedelta(hours=1)),
}
"""First and maximum delay after a failure, by its class. In between an Item waits as long as it has failed so far:
exponential backoff without a counter.
"""
_HOUR: Final = timedelta(hours=1)
_SPREAD: Final = 0.1
_STEPS: Final = 1 << 16


def due_after(item_id: ItemId, interval: timedelta, now: datetime) -> datetime:
    """Return when an Item is due: after `interval`, up to a tenth early or late."""
    digest = hashlib.sha256(f"{item_id} {now.isoformat()}".encode()).digest()
    fraction = int.from_bytes(digest[:2]) / (_STEPS - 1)  # from 0 to 1
    return now + interval * (1 + _SPREAD * (2 * fraction - 1))


def after_claim(item_id: ItemId, now: datetime) -> NextAttempt:
    """Return the next attempt of an Item whose worker dies after its claim."""
    return NextAttempt(due_after(item_id, CLAIMED, now), AttemptClass.FAILING)


def after_request(item_id: ItemId, now: datetime, interval: timedelta = REQUESTED) -> NextAttempt:
    """Return the next attempt after a link or another request of the API, or after a webhook that the queue refused."""
    return NextAttempt(due_after(item_id, interval, now), AttemptClass.FIRST_SYNC)


def after_failure(
    item_id: ItemId, failure_class: FailureClass, before: ItemFailure | None, failure: ItemFailure
) -> NextAttempt:
    """Return the next attempt after a failure that a retry may repair.

    A bank that is found down waits for the first delay, however long the Item has failed for another reason.

    Args:
        item_id: of the Item.
        failure_class: decides the delays.
        before: the Item's failure before; None for none.
        failure: its failure now.
    """
    first, maximum = RETRY_DELAYS.get(failure_class, RETRY_DELAYS[FailureClass.CLIENT_ERROR])
    attempt_class = retried_as(failure_class)
    new = before is None or before.failure_class != failure.failure_class
    found_down = new and attempt_class is AttemptClass.BANK_DOWN
    delay = first if found_down else min(max(failure.last_at - failure.since, first), maximum)
    return NextAttempt(due_after(item_id, delay, failure.last_at), attempt_class)


def after_unknown_state(item_id: ItemId, now: datetime) -> NextAttempt:
    """Return the next attempt of an Item that only a newer version can sync."""
    return NextAttempt(due_after(item_id, UNKNOWN_STATE, now), AttemptClass.ROUTINE)


def to_continue(now: datetime) -> NextAttempt:
    """Return the next attempt of an Item whose pull goes on in another invocation."""
    return NextAttempt(now, AttemptClass.FIRST_SYNC)


def after_deferral(item: Item, call_class: CallClass, now: datetime) -> NextAttempt:
    """Return the next attempt of an Item whose attempt the call budget deferred: of the same class."""
    attempt_class = AttemptClass.FIRST_SYNC
    if call_class is CallClass.RETRY:
        attempt_class = AttemptClass.FAILING if item.failure is None else retried_as(item.failure.failure_class)
    elif call_class is CallClass.ROUTINE:
        attempt_class = AttemptClass.ROUTINE
    return NextAttempt(due_after(item.item_id, DEFERRED, now), attempt_class)


def after_outcome(
    item: Item, state: str, update_status: str, now: datetime, reconcile_after: datetime | None = None
) -> NextAttempt:
    """Return the next attempt after an outcome that needs no retry.

    Args:
        item: as it was before.
        state: its state afterwards.
        update_status: Plaid's `transactions_update_status`.
        now: the current time.
        reconcile_after: when a pending full resync may begin; None where none is pending.
    """
    interval = ROUTINE_INTERVALS[StateName(state)]
    age = MAX_HISTORY_AGE if item.linked_at is None else now - item.linked_at
    waits_for_history = state in {StateName.ACTIVE, StateName.EXPIRING} and update_status != HISTORY_COMPLETE
    if waits_for_history and age < MAX_HISTORY_AGE and not item.history_complete:
        first, maximum = HISTORY_LOOKS
        return NextAttempt(due_after(item.item_id, min(max(age, first), maximum), now), AttemptClass.FIRST_SYNC)
    routine = due_after(item.item_id, interval, now)
    return NextAttempt(min(routine, reconcile_after or routine), AttemptClass.ROUTINE)


# ---- failures


def retried_as(failure_class: str) -> AttemptClass:
    """Return the class of attempts that an Item with such a failure gets, and is counted in."""
    return AttemptClass.BANK_DOWN if failure_class == FailureClass.INSTITUTION_DOWN else AttemptClass.FAILING


def next_failure(before: ItemFailure | None, code: str, failure_class: FailureClass, now: datetime) -> ItemFailure:
    """Return the failure of an Item that failed (again)."""
    return ItemFailure(code, failure_class.value, now if before is None else before.since, now)


def is_notable(before: ItemFailure | None, failure: ItemFailure | None) -> bool:
    """Return whether the history needs an entry: the first failure, another class, then after 1, 2, 4, 8 hours."""
    if before is None or failure is None or before.failure_class != failure.failure_class:
        return True
    hours = (int((each.last_at - each.since) / _HOUR) for each in (before, failure))
    return len({number.bit_length() for number in hours}) > 1
