"""The sweep, every minute: enqueues each Item whose next attempt has come.

It is the retry engine, and recovers lost webhooks, lost messages and incomplete removals. Each class of attempts has
its share of the calls that Plaid allows: a bank with 40,000 Items that is down delays no other bank's. While nothing
succeeds at all, Plaid itself is down: a few failing Items are probes, and their success releases the others.

An Item is leased before its message is sent, so that no Item is enqueued twice. Messages are sent over the whole
minute, a few each second, and only when workers have begun those before: attempts may be slow, and a webhook must never
wait behind many of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.schedule import AttemptClass, DueItem, Failures

if TYPE_CHECKING:
    from collections.abc import Mapping
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
PROBES: Final = 20
"""Failing Items that are attempted in a minute while nothing succeeds."""
OUTAGE_AFTER: Final = timedelta(minutes=3)
"""Nothing succeeded for that long, and more Items fail than there are probes: Plaid is taken to be down."""
LEASE: Final = timedelta(minutes=5)
"""How long a message may wait until its Item is enqueued again. The attempt's claim replaces it."""
_SLICES: Final = 40
_SLICE: Final = timedelta(seconds=1)
"""From the beginning of a slice to that of the next: the time of its calls is a part of it."""
_CHECK_SECONDS: Final = 0.1
"""Until a run that waits for workers looks again: the last messages of a slice can be a moment old."""
_MIN_SLICE: Final = 10
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
    """The Items table as the sweep uses it. All raise `TransientError`."""

    def due(self, attempt_class: AttemptClass, now: datetime, limit: int) -> Sequence[DueItem]:
        """Return up to `limit` Items of a class whose next attempt has come, the most overdue first."""
        ...

    def lease(self, item: DueItem, until: datetime) -> DueItem | None:
        """Postpone an Item's next attempt; return it as it is then, None where a concurrent write set its time."""
        ...

    def is_leased(self, item: DueItem) -> bool:
        """Return whether no attempt began since an Item was leased; the last moments may be missing."""
        ...

    def synced_since(self, since: datetime) -> bool:
        """Return whether any Item was synced since then; the last moments may be missing."""
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
            for number, item in enumerate(due[start : start + size], start=start):
                if not deadline.allows(_STOP_SECONDS) or len(result.failures) == _MAX_FAILURES:
                    result.deferred += len(due) - number
                    return result
                leased += self._enqueue(item, result)
        return result

    def _wait_for_workers(
        self, latest: Sequence[DueItem], slice_ends_at: datetime, ends_at: datetime, result: SweepResult
    ) -> bool:
        """Wait out the slice, and until one of the latest Items is begun; return False where the run ends before."""
        self.clock.sleep(max(0.0, (slice_ends_at - self.clock.now()).total_seconds()))
        while self.clock.now() < ends_at:
            try:
                begun = not latest or not all(map(self.items.is_leased, latest))
            except TransientError as error:
                result.failures.append(error.code)
                return False
            if begun:
                return True
            self.clock.sleep(_CHECK_SECONDS)
        return False

    def _choose(self, result: SweepResult) -> list[DueItem]:
        """Return the Items to enqueue: of each class in turn one, so that slow attempts of one delay no other."""
        now, chosen = self.clock.now(), list[Sequence[DueItem]]()
        for attempt_class, share in SHARES.items():
            budget = max(1, int(self.calls_per_minute * share))
            # One more than the budget shows that some are left.
            due = self.items.due(attempt_class, now, budget + 1)
            if attempt_class is AttemptClass.FAILING and len(due) > PROBES:
                result.probing = not self.items.synced_since(now - OUTAGE_AFTER)
                budget = min(budget, PROBES) if result.probing else budget
            chosen.append(due[:budget])
            result.deferred += len(due[budget:])
        return [item for turn in zip_longest(*chosen) for item in turn if item is not None]

    def _enqueue(self, item: DueItem, result: SweepResult) -> list[DueItem]:
        """Enqueue an Item; return it as it is leased, where it is."""
        try:
            leased = self.items.lease(item, self.clock.now() + LEASE)
        except TransientError as error:
            result.failures.append(error.code)
            result.deferred += 1
            return []
        if leased is None:
            return []  # an attempt, or another run of the sweep, was faster
        try:
            self.queue.send(SyncMessage(item.item_id, Cause.SWEEP))
        except TransientError as error:
            result.failures.append(error.code)
            result.deferred += 1
            self._end_lease(leased)
            return []
        result.enqueued.append(item)
        return [leased]

    def _end_lease(self, leased: DueItem) -> None:
        """Make an Item due again whose message was not accepted; else it is due when the lease ends."""
        try:
            self.items.lease(leased, self.clock.now())
        except TransientError:
            return
