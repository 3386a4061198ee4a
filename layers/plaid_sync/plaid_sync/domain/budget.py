"""The call budget: Plaid's limits of a client, shared by all processes, the most urgent calls first.

Plaid limits the calls per minute of each endpoint for all Items together. Processes count their calls in slices of five
seconds, in a table that they share, and take permits for several calls at once. Twelve slices before the current one
and that one never have more calls than Plaid allows in a minute, so that no minute has, wherever it begins.

Each class of calls may fill a slice up to its level, the less urgent the lower; and each has a small part of its own,
so that none starves. Without the table, every call is made: Plaid's own limit holds then.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.errors import CallBudgetError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plaid_sync.domain.clock import Clock


class CallClass(StrEnum):
    """What a call to Plaid is for, the most urgent first."""

    INTERACTIVE = "interactive"
    """A caller of the Items API, or a user in Link, waits for it."""
    WEBHOOK = "webhook"
    """Plaid has changes, an Item was linked, or a request was queued."""
    RETRY = "retry"
    """The last attempt failed."""
    ROUTINE = "routine"
    """A webhook may be lost."""
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a class.

    Attributes:
        level: the part of a slice's calls, those of all classes, up to which it takes.
        own: the part of the calls that no other class takes.
        burst: the part of a minute's calls up to which it takes without regard to slices.
    """

    level: float
    own: float
    burst: float = 0.0


SYNC_ENDPOINT: Final = "/transactions/sync"
SHARES: Final = {
    CallClass.INTERACTIVE: Share(level=1.0, own=0.04, burst=0.5),
    CallClass.WEBHOOK: Share(level=0.94, own=0.06),
    CallClass.RETRY: Share(level=0.7, own=0.04),
    CallClass.ROUTINE: Share(level=0.5, own=0.03),
    CallClass.AUDIT: Share(level=0.3, own=0.02),
}
MAX_ROOM: Final = 0.5
"""All other classes leave room for twice the interactive calls of the last minute, up to this part of a slice: most
endpoints have either few of them or no others."""
LIMITS: Final[Mapping[str, Mapping[str, int]]] = {
    "production": {
        "/accounts/balance/get": 1_200,
        "/accounts/get": 15_000,
        "/auth/get": 12_000,
        "/identity/get": 2_000,
        "/investments/holdings/get": 2_000,
        "/investments/transactions/get": 20_000,
        "/item/get": 5_000,
        "/liabilities/get": 1_000,
        "/transactions/recurring/get": 1_000,
        "/transactions/refresh": 100,
    },
    "sandbox": {
        "/accounts/balance/get": 100,
        "/accounts/get": 5_000,
        "/auth/get": 500,
        "/identity/get": 1_000,
        "/investments/holdings/get": 1_000,
        "/investments/transactions/get": 1_000,
        "/item/get": 5_000,
        "/liabilities/get": 1_000,
        "/transactions/recurring/get": 1_000,
        "/transactions/refresh": 100,
    },
}
"""Calls per minute that Plaid allows a client by default (https://plaid.com/docs/errors/rate-limit-exceeded/), beside
those of /transactions/sync, which are a parameter. Not /item/remove: a link that is rolled back must not wait.
"""
SLICE: Final = timedelta(seconds=5)
SLICES_BEFORE: Final = 12
"""So many slices are a minute; the current one comes on top."""
_BLOCKS: Final = 16
"""A process takes permits for a sixteenth of a slice's calls at most."""
_FREE_FROM: Final = 1_000
"""Calls per minute from which a worker's call after a pause is counted with its next ones: few Items cost nothing."""
_MAX_UNCOUNTED: Final = 2
"""Of a process: of forty workers no more than the thirteenth of Plaid's limit that the slices leave free."""
_BUSY_PART: Final = 0.5
"""With more of a minute's calls every call is counted at once."""
_MIN_THROTTLED: Final = 5
_THROTTLED_PART: Final = 0.05
"""With so many calls of a minute refused by Plaid, another program uses the same limit. Fewer are about single Items,
whose limits have the same error code."""
_BELOW_WEBHOOKS: Final = frozenset({CallClass.RETRY, CallClass.ROUTINE, CallClass.AUDIT})
_UNCOUNTED: Final = 1 << 30


def limits_of(plaid_env: str, sync_calls_per_minute: int) -> dict[str, int]:
    """Return the calls per minute that Plaid allows, by endpoint."""
    return {**LIMITS[plaid_env], SYNC_ENDPOINT: sync_calls_per_minute}


@dataclass(frozen=True, slots=True)
class CallCounts:
    """The counted calls of the slices before one.

    Attributes:
        total: calls.
        interactive: those of this class among them.
        throttled: calls that Plaid refused because of its limit.
    """

    total: int = 0
    interactive: int = 0
    throttled: int = 0

    @property
    def is_throttled(self) -> bool:
        """Whether Plaid allows less than its limit."""
        return self.throttled >= max(_MIN_THROTTLED, self.total * _THROTTLED_PART)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What a class may take of a slice: while one of both conditions holds.

    Attributes:
        shared: the slice has fewer calls than this.
        own: the slice has fewer calls of the class than this, and fewer calls than `total`.
        total: what is left of the minute.
    """

    shared: int
    own: int
    total: int

    @property
    def are_reached(self) -> bool:
        """Whether even the first call of the slice is one too many."""
        return self.shared <= 0 and min(self.own, self.total) <= 0


def ceilings_of(call_class: CallClass, limit: int, before: CallCounts) -> Ceilings:
    """Return what a class may take of a slice.

    Args:
        call_class: the class.
        limit: calls per minute that Plaid allows.
        before: the calls of the minute before the slice.
    """
    share, slice_limit, left = SHARES[call_class], limit / (SLICES_BEFORE + 1), limit - before.total
    kept = limit * sum(other.own for name, other in SHARES.items() if name is not call_class)
    level = share.level
    if call_class is not CallClass.INTERACTIVE:
        level -= min(MAX_ROOM, 2 * before.interactive / limit)
    shared = min(left - kept, max(level * slice_limit, share.burst * limit - before.total))
    if before.is_throttled and call_class in _BELOW_WEBHOOKS:
        shared = 0.0
    return Ceilings(ceil(shared), ceil(share.own * slice_limit), left)


def slice_of(moment: datetime) -> datetime:
    """Return the beginning of the slice that a moment is in."""
    seconds = int(moment.timestamp()) // int(SLICE.total_seconds()) * int(SLICE.total_seconds())
    return datetime.fromtimestamp(seconds, UTC)


class SharedCallCounts(Protocol):
    """The calls of all processes, by endpoint and slice. All raise `TransientError`."""

    def before(self, endpoint: str, slice_at: datetime) -> CallCounts:
        """Return the calls of the minute before a slice; the last moments may be missing."""
        ...

    def add(self, endpoint: str, slice_at: datetime, call_class: CallClass, number: int, ceilings: Ceilings) -> bool:
        """Count calls before they are made; return False, and count nothing, where the ceilings are reached."""
        ...

    def add_throttled(self, endpoint: str, slice_at: datetime) -> None:
        """Count a call that Plaid refused because of its limit."""
        ...


@dataclass(slots=True)
class _Slice:
    """What this process has of a slice, of one endpoint and class.

    Attributes:
        expected: how many calls it is expected to make: as many as in the slice before.
        permits: calls that it may make without counting them.
        uncounted: calls that it made without counting them, in the minute before, too.
        before: the calls of the minute before; None while it has not read them.
        refused: the ceilings were reached.
    """

    at: datetime
    expected: int = 1
    permits: int = 0
    used: int = 0
    uncounted: int = 0
    before: CallCounts | None = None
    refused: bool = False


@dataclass(slots=True)
class CallBudget:
    """The budget as one process takes from it; implements `PlaidCallBudget`.

    Attributes:
        limits: calls per minute that Plaid allows, by endpoint; others are not limited.
        call_class: what the next calls are for.
        report_uncounted: is called with an endpoint and the reason, where calls of a slice are made without the counts.
    """

    counts: SharedCallCounts
    limits: Mapping[str, int]
    clock: Clock
    call_class: CallClass
    report_uncounted: Callable[[str, str], object] = lambda _endpoint, _code: None
    _slices: dict[tuple[str, CallClass], _Slice] = field(default_factory=dict)
    _busy_at: dict[str, datetime] = field(default_factory=dict)

    def take(self, endpoint: str) -> None:
        """See `PlaidCallBudget`. An interactive call waits for the next slice."""
        limit = self.limits.get(endpoint)
        if limit is None or self._take(endpoint, limit):
            return
        if self.call_class is CallClass.INTERACTIVE:
            self.clock.sleep(self._seconds_to_next_slice())
            if self._take(endpoint, limit):
                return
        waits = self.call_class not in {CallClass.RETRY, CallClass.ROUTINE}
        raise CallBudgetError(endpoint, self._seconds_to_next_slice(), waits=waits)

    def throttled(self, endpoint: str) -> None:
        """See `PlaidCallBudget`."""
        if endpoint in self.limits:
            with suppress(TransientError):
                self.counts.add_throttled(endpoint, slice_of(self.clock.now()))

    def _take(self, endpoint: str, limit: int) -> bool:
        current = self._slice(endpoint, limit)
        if not current.permits and not current.refused:
            try:
                self._take_block(current, endpoint, limit)
            except TransientError as error:
                current.permits = _UNCOUNTED
                self.report_uncounted(endpoint, error.code)
        if not current.permits:
            return False
        current.permits -= 1
        current.used += 1
        return True

    def _take_block(self, current: _Slice, endpoint: str, limit: int) -> None:
        if current.before is None:
            current.before = self.counts.before(endpoint, current.at)
        ceilings = ceilings_of(self.call_class, limit, current.before)
        most = limit // (_BLOCKS * (SLICES_BEFORE + 1))
        block = max(1, min(current.expected - current.used, most))
        number = block + current.uncounted
        current.refused = ceilings.are_reached or not self.counts.add(
            endpoint, current.at, self.call_class, number, ceilings
        )
        if not current.refused:
            current.permits, current.uncounted = block, 0
        if current.refused or current.before.total > limit * _BUSY_PART:
            self._busy_at[endpoint] = current.at

    def _slice(self, endpoint: str, limit: int) -> _Slice:
        """Return the current slice.

        Its first call is counted later where the endpoint was not busy for a minute, and few calls of this process are
        left to be counted, however slow they are.
        """
        key, at = (endpoint, self.call_class), slice_of(self.clock.now())
        last = self._slices.get(key)
        if last is not None and last.at == at:
            return last
        current = self._slices[key] = _Slice(at)
        if last is not None and last.at == at - SLICE:
            current.expected = max(1, last.used)
        if last is not None and at - last.at <= SLICE * SLICES_BEFORE:
            current.uncounted = last.uncounted
        busy_at = self._busy_at.get(endpoint)
        busy = busy_at is not None and at - busy_at <= SLICE * SLICES_BEFORE
        is_slow = limit >= _FREE_FROM and self.call_class is not CallClass.INTERACTIVE
        if is_slow and not busy and self._uncounted(endpoint, at) < _MAX_UNCOUNTED:
            current.permits = 1
            current.uncounted += 1
        return current

    def _uncounted(self, endpoint: str, at: datetime) -> int:
        """Return how many calls of the last minute are not counted: of all classes, which a worker makes by turns."""
        return sum(
            each.uncounted
            for (name, _), each in self._slices.items()
            if name == endpoint and at - each.at <= SLICE * SLICES_BEFORE
        )

    def _seconds_to_next_slice(self) -> float:
        now = self.clock.now()
        return (slice_of(now) + SLICE - now).total_seconds()
