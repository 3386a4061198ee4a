"""The sweep, every minute: enqueues each Item whose next attempt has come.

It is the retry engine, and recovers lost webhooks, lost messages and incomplete removals. Each class of attempts has
its share of the calls that Plaid allows: a bank with 40,000 Items that is down delays no other bank's. While nothing
succeeds at all, Plaid itself is down: a few failing Items are probes, and their success releases the others.

An attempt is leased before its message is sent, so that no Item is enqueued twice. Messages are sent over the whole
minute, a few each second, and only when workers have begun those before: attempts may be slow, and a webhook must never
wait behind many of them.
"""

from __future__ import annotations

import heapq
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.schedule import AttemptClass, DueItem, Failures, Lease

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.ports import SyncQueue

SHARES: Final = {
    AttemptClass.FAILING: 0.25,
    AttemptClass.FIRST_SYNC: 0.2,
    AttemptClass.ROUTINE: 0.15,
    AttemptClass.BANK_DOWN: 0.1,
}
"""Share of each class of the calls per minute that Plaid allows, in the order of the sweep; webhooks have the rest."""
_CALL_CLASSES: Final = {
    AttemptClass.FAILING: CallClass.RETRY,
    AttemptClass.FIRST_SYNC: CallClass.WEBHOOK,
    AttemptClass.ROUTINE: CallClass.ROUTINE,
    AttemptClass.BANK_DOWN: CallClass.RETRY,
}
PROBES: Final = 20
"""Failing Items that are attempted in a minute while nothing succeeds."""
OUTAGE_AFTER: Final = timedelta(minutes=3)
"""Nothing succeeded for that long, and more Items fail than there are probes: Plaid is taken to be down."""
_SLICES: Final = 40
_SLICE: Final = timedelta(seconds=1)
"""From the beginning of a slice to that of the next: the time of its calls is a part of it."""
_CHECK_SECONDS: Final = 0.1
"""Until a run that waits for workers looks again: the last messages of a slice can be a moment old."""
_MIN_SLICE: Final = 10
_LEASES_PER_READ: Final = 100
_SENDING: Final = timedelta(seconds=55)
"""How long a run sends messages; then the next run begins."""
_BEGUN_OF: Final = 3
"""One of so many Items that were enqueued last is begun: the workers keep up."""
_STOP_SECONDS: Final = 30.0
"""What the last message and the gauges take at worst."""
_MAX_FAILURES: Final = 10
"""More failures than these are not about single Items: the run stops."""


@dataclass(slots=True)
class SweepResult:
    """What a run did.

    Attributes:
        enqueued: Items that a message was sent for.
        deferred: Items that were due, and left for the next run: there may be more.
        probing: nothing succeeds: of the failing Items only a few were enqueued.
        failures: codes of why Items could not be leased or enqueued; these Items are left, too.
    """

    enqueued: list[DueItem] = field(default_factory=list)
    deferred: int = 0
    probing: bool = False
    failures: list[str] = field(default_factory=list)


class DueItems(Protocol):
    """The Items table as the sweep reads it. All raise `TransientError`."""

    def due(self, attempt_class: AttemptClass, now: datetime) -> Iterator[DueItem]:
        """Yield the Items of a class whose next attempt has come, the most overdue first."""
        ...

    def is_due(self, item: DueItem) -> bool:
        """Return whether no attempt has begun since an Item was found due; the last moments may be missing."""
        ...

    def synced_since(self, since: datetime) -> bool:
        """Return whether any Item was synced since then; the last moments may be missing."""
        ...


class Attempts(Protocol):
    """What the sweep shares with the webhook function, and with its own runs. All raise `TransientError`."""

    def requested(self) -> Iterator[DueItem]:
        """Yield the Items for which the webhook function requested an attempt."""
        ...

    def is_requested(self, item: DueItem) -> bool:
        """Return whether no worker has answered a request since it was found; the last moments may be missing."""
        ...

    def leases(self, items: Sequence[DueItem]) -> list[Lease]:
        """Return the last lease of each attempt, up to 100; the last moments may be missing."""
        ...

    def take(self, before: Lease, lease: Lease) -> bool:
        """Store a lease; return False where `before` is not the attempt's last one: another run was faster."""
        ...

    def release(self, lease: Lease) -> None:
        """Delete a lease whose message was not accepted, unless it is not the last one."""
        ...


class ItemGauges(Protocol):
    """Numbers of Items; the last moments may be missing. All raise `TransientError`."""

    def counts(self) -> Mapping[str, int]:
        """Return how many Items there are in each state, in those of a newer version, too."""
        ...

    def stalest_success(self) -> datetime | None:
        """Return when the stalest of the active and expiring Items was last synced, or linked; None without any.

        A repaired Item counts from its repair: its first sync is in progress.
        """
        ...

    def removals_incomplete(self) -> int:
        """Return the number of removed Items whose removal is incomplete."""
        ...

    def failures(self) -> Mapping[AttemptClass, Failures]:
        """Return how many Items are failing, and since when: those whose bank is down (BANK_DOWN), and the others.

        By the class of the failure: while such an Item is attempted, its next attempt is of another class.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Enqueues due Items.

    Attributes:
        calls_per_minute: how many calls of /transactions/sync Plaid allows.
    """

    items: DueItems
    attempts: Attempts
    queue: SyncQueue
    clock: Clock
    calls_per_minute: int

    def sweep(self, deadline: Deadline) -> SweepResult:
        """Enqueue due Items, each class within its budget; one Item's failure blocks no other Item.

        Raises:
            TransientError: the table cannot be read now: nothing is enqueued.
        """
        result, leased, ends_at = SweepResult(), list[DueItem](), self.clock.now() + _SENDING
        due = self._choose(result)
        size, slice_ends_at = max(_MIN_SLICE, -(-len(due) // _SLICES)), self.clock.now()
        for start in range(0, len(due), size):
            if start and not self._wait_for_workers(leased[-_BEGUN_OF:], slice_ends_at, ends_at, result):
                result.deferred += len(due) - start
                return result
            slice_ends_at = self.clock.now() + _SLICE
            for number, lease in enumerate(due[start : start + size], start=start):
                if not deadline.allows(_STOP_SECONDS) or len(result.failures) == _MAX_FAILURES:
                    result.deferred += len(due) - number
                    return result
                if self._enqueue(lease, result):
                    leased.append(lease.item)
        return result

    def _wait_for_workers(
        self, latest: Sequence[DueItem], slice_ends_at: datetime, ends_at: datetime, result: SweepResult
    ) -> bool:
        """Wait out the slice, and until one of the latest Items is begun; return False where the run ends before."""
        self.clock.sleep(max(0.0, (slice_ends_at - self.clock.now()).total_seconds()))
        while self.clock.now() < ends_at:
            try:
                begun = not latest or not all(map(self._waits, latest))
            except TransientError as error:
                result.failures.append(error.code)
                return False
            if begun:
                return True
            self.clock.sleep(_CHECK_SECONDS)
        return False

    def _waits(self, item: DueItem) -> bool:
        return self.attempts.is_requested(item) if item.requested else self.items.is_due(item)

    def _choose(self, result: SweepResult) -> list[Lease]:
        """Return the attempts to enqueue: of each class in turn one, so that slow attempts of one delay no other."""
        now, chosen = self.clock.now(), list[list[Lease]]()
        for attempt_class, share in SHARES.items():
            budget = max(1, int(self.calls_per_minute * share))
            # One more than the budget shows that some are left.
            due = self._free(attempt_class, now, budget + 1)
            if attempt_class is AttemptClass.FAILING and len(due) > PROBES:
                result.probing = not self.items.synced_since(now - OUTAGE_AFTER)
                budget = min(budget, PROBES) if result.probing else budget
            chosen.append(due[:budget])
            result.deferred += len(due[budget:])
        return [lease for turn in zip_longest(*chosen) for lease in turn if lease is not None]

    def _free(self, attempt_class: AttemptClass, now: datetime, limit: int) -> list[Lease]:
        """Return the last leases of due attempts whose message is not on its way.

        Those whose message no worker began come after all others: however many there are, they delay no other.
        """
        due = self.items.due(attempt_class, now)
        if attempt_class is AttemptClass.FIRST_SYNC:
            due = heapq.merge(sorted(self.attempts.requested()), due)
        new, repeated = list[Lease](), list[Lease]()
        while len(new) < limit and (items := list(islice(due, _LEASES_PER_READ))):
            for lease in self.attempts.leases(items):
                if lease.is_over(now):
                    (new if lease.until is None else repeated).append(lease)
        return (new + repeated)[:limit]

    def _enqueue(self, before: Lease, result: SweepResult) -> bool:
        """Enqueue an attempt; return whether that worked."""
        lease = before.renewed(self.clock.now())
        try:
            if not self.attempts.take(before, lease):
                return False  # another run of the sweep was faster
            self._send(lease)
        except TransientError as error:
            result.failures.append(error.code)
            result.deferred += 1
            return False
        result.enqueued.append(lease.item)
        return True

    def _send(self, lease: Lease) -> None:
        """Send the message of a leased attempt."""
        cause = Cause.REFUSED_WEBHOOK if lease.item.requested else Cause.SWEEP
        try:
            call_class = _CALL_CLASSES[lease.item.attempt_class]
            self.queue.send(SyncMessage(lease.item.item_id, cause, call_class=call_class))
        except TransientError:
            with suppress(TransientError):  # else it is due when the lease ends
                self.attempts.release(lease)
            raise
