"""The sweep: the safety net under lost webhooks, lost triggers and unfinished removals.

Whatever writes an Item writes when it is due next (`core.lifecycle.cadence`). The sweep enqueues what is due, the
longest due first, and puts it off until the next time: a sync that succeeds does so as well. It never enqueues more
than `limit` at once, and less while the queue is not empty, down to a tenth: an outage that has made every Item due is
caught up with over hours, and not in a storm.
"""

from __future__ import annotations

import heapq
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.lifecycle.cadence import CADENCES, due_after
from plaid_sync.core.triggers import Cause, SyncTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.core.items import ItemId
    from plaid_sync.ports.common import Clock, SyncQueue
    from plaid_sync.ports.lifecycle import SweptItems, WaitingTriggers

_SECONDS_TO_STOP: Final = 30.0
"""What the last message and the gauges take at worst."""
_MOST_REFUSALS: Final = 10
"""So many are no matter of single Items: the run stops."""


@dataclass(frozen=True, slots=True, order=True)
class DueItem:
    """An Item that nobody has looked at for its cadence.

    Attributes:
        due_at: since when, exactly as the table has it (text order is time order).
    """

    due_at: str
    item_id: ItemId
    status: ItemStatus


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a run did.

    Attributes:
        enqueued: Items that were put on the queue.
        left: Items that were seen to be due, and left for the next run.
        waiting: messages that stood in the queue when it began.
        refusals: codes of why Items could not be enqueued or put off; they are among those left.
    """

    enqueued: tuple[DueItem, ...]
    left: int
    waiting: int
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Enqueues what is due.

    Attributes:
        limit: Items in a run, at most.
    """

    items: SweptItems
    queue: SyncQueue
    waiting: WaitingTriggers
    clock: Clock
    limit: int

    def sweep(self, time_left: Callable[[], float]) -> Sweep:
        """Enqueue what is due, as much as there is room for; what is refused of one Item keeps no other waiting.

        Raises:
            RetryableError: the table or the queue can't be read now: nothing is enqueued.
        """
        now, waiting = self.clock(), self.waiting()
        # What waits behind a postponed message of its Item is counted, too: banks that are down must not stop it.
        room = max(self.limit // 10, self.limit - waiting)
        # One more than there is room for tells that some are left.
        due = heapq.nsmallest(
            self.limit + 1, (one for status in ItemStatus for one in self.items.due(status, now, self.limit + 1))
        )
        enqueued: list[DueItem] = []
        refusals: list[str] = []
        for one in due[:room]:
            if time_left() < _SECONDS_TO_STOP or len(refusals) == _MOST_REFUSALS:
                break
            try:
                self._enqueue(one, now)
            except RetryableError as error:
                refusals.append(error.code)
            else:
                enqueued.append(one)
        return Sweep(tuple(enqueued), len(due) - len(enqueued), waiting, tuple(refusals))

    def _enqueue(self, one: DueItem, now: datetime) -> None:
        """Send first: who dies in between sends it again, which is harmless; the other way round it would be lost."""
        self.queue.send(SyncTrigger(one.item_id, Cause.SWEEP), str(uuid.uuid4()))
        self.items.put_off(one, due_after(one.item_id, CADENCES[one.status], now))
