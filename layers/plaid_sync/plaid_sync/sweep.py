"""The sweep: recovers lost webhooks, lost messages and incomplete removals.

Every write of an Item sets when it is due next (`domain.schedule`). The sweep enqueues due Items, the longest due
first, and defers each to its next time; a sync that succeeds does so as well. It never enqueues more than `limit` at
once, and less while the queue is not empty, down to a tenth: after an outage that made every Item due, it catches up
over hours, not in a storm.
"""

from __future__ import annotations

import heapq
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.schedule import SWEEP_INTERVALS, due_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.ports import SyncQueue

_STOP_SECONDS: Final = 30.0
"""What the last message and the gauges take at worst."""
_MAX_FAILURES: Final = 10
"""More failures than these are not about single Items: the run stops."""


@dataclass(frozen=True, slots=True, order=True)
class DueItem:
    """An Item that is due.

    Attributes:
        due_at: since when, exactly as the table has it (text order is time order).
    """

    due_at: str
    item_id: ItemId
    state: StateName


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a run did.

    Attributes:
        enqueued: Items that a message was sent for.
        deferred: Items that were due, and left for the next run.
        waiting: messages in the queue when the run began.
        failures: codes of why Items could not be enqueued or deferred; these Items count as deferred.
    """

    enqueued: tuple[DueItem, ...]
    deferred: int
    waiting: int
    failures: tuple[str, ...] = ()


class DueItems(Protocol):
    """The Items table as the sweep uses it. Both raise `TransientError`."""

    def due(self, state: StateName, now: datetime, limit: int) -> Sequence[DueItem]:
        """Return up to `limit` Items in a state that are due, the longest due first."""
        ...

    def defer(self, item: DueItem, until: datetime) -> None:
        """Make an Item due later, unless a concurrent write set its time."""
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


class QueueDepth(Protocol):
    """The length of the sync queue."""

    def __call__(self) -> int:
        """Return about how many messages can be received now.

        Raises:
            TransientError: the queue is unreachable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Enqueues due Items.

    Attributes:
        limit: the maximum number of Items in a run.
    """

    items: DueItems
    queue: SyncQueue
    waiting: QueueDepth
    clock: Clock
    limit: int

    def sweep(self, deadline: Deadline) -> SweepResult:
        """Enqueue due Items, as many as there is room for; one Item's failure blocks no other Item.

        Raises:
            TransientError: the table or the queue cannot be read now: nothing is enqueued.
        """
        now, waiting = self.clock.now(), self.waiting()
        # Messages behind a hidden message of their Item count, too: banks that are down must not stop the sweep.
        room = max(self.limit // 10, self.limit - waiting)
        # One more than there is room for shows that some are left.
        due = heapq.nsmallest(
            self.limit + 1, (item for state in StateName for item in self.items.due(state, now, self.limit + 1))
        )
        enqueued: list[DueItem] = []
        failures: list[str] = []
        for item in due[:room]:
            if not deadline.allows(_STOP_SECONDS) or len(failures) == _MAX_FAILURES:
                break
            try:
                self._enqueue(item, now)
            except TransientError as error:
                failures.append(error.code)
            else:
                enqueued.append(item)
        return SweepResult(tuple(enqueued), len(due) - len(enqueued), waiting, tuple(failures))

    def _enqueue(self, item: DueItem, now: datetime) -> None:
        """Send first: a run that dies in between sends again, which is harmless; the reverse would lose the message."""
        self.queue.send(SyncMessage(item.item_id, Cause.SWEEP), str(uuid.uuid4()))
        self.items.defer(item, due_after(item.item_id, SWEEP_INTERVALS[item.state], now))
