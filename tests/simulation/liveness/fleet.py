"""Many Items at once: the sweep's budgets, the queue and the workers, second by second, without AWS.

The sweep and the retry policy are the engine's. The table, the queue and the workers are as simple as they can be: an
attempt takes so many seconds, and succeeds or fails.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.item_rows import SHARDS
from plaid_sync.domain import schedule
from plaid_sync.domain.clock import Deadline, format_timestamp
from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.item import HISTORY_COMPLETE, ItemId
from plaid_sync.domain.schedule import AttemptClass, DueItem, Lease, NextAttempt
from plaid_sync.sweep import SHARES, Sweeper
from plaid_sync.sync.heartbeat import RETURN_AFTER

from tests.fakes.attempts import FakeAttempts
from tests.fakes.clock import NOON
from tests.fakes.items import new_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plaid_sync.domain.item import Item
    from plaid_sync.domain.messages import SyncMessage

CALLS_PER_MINUTE: Final = 2_500
WORKERS: Final = 20
BATCH_SIZE: Final = 10
_SWEEP_SECONDS: Final = 110.0
CALL_SECONDS: Final = 0.01
"""A call of DynamoDB by the sweep (docs/decisions.md, "The sweep")."""
SEND_SECONDS: Final = 0.015
"""A call of SQS by the sweep."""


@dataclass(slots=True)
class FleetTable:
    """The Items' next attempts, in a heap for each class; implements `DueItems`.

    Attributes:
        sleep: lets the time of a call pass.
    """

    items: dict[ItemId, Item] = field(default_factory=dict)
    classes: dict[ItemId, AttemptClass] = field(default_factory=dict)
    succeeded_at: datetime | None = None
    sleep: Callable[[float], None] = field(default=lambda _: None)
    _heaps: dict[AttemptClass, list[tuple[str, ItemId]]] = field(
        default_factory=lambda: {attempt_class: [] for attempt_class in AttemptClass}
    )

    def plan(self, item: Item, following: NextAttempt) -> None:
        self.items[item.item_id] = replace(item, next_attempt_at=following.at)
        self.classes[item.item_id] = following.attempt_class
        heapq.heappush(self._heaps[following.attempt_class], (format_timestamp(following.at), item.item_id))

    def _planned(self, item_id: ItemId) -> str:
        at = self.items[item_id].next_attempt_at
        return "" if at is None else format_timestamp(at)

    def due(self, attempt_class: AttemptClass, now: datetime) -> Iterator[DueItem]:
        self.sleep(SHARDS * CALL_SECONDS)
        heap, found, until = self._heaps[attempt_class], list[tuple[str, ItemId]](), format_timestamp(now)
        try:
            while heap and heap[0][0] <= until:
                at, item_id = heapq.heappop(heap)
                current = at == self._planned(item_id) and self.classes[item_id] is attempt_class
                if current and (not found or found[-1] != (at, item_id)):
                    found.append((at, item_id))
                    yield DueItem(at, item_id, attempt_class)
        finally:
            for entry in found:
                heapq.heappush(heap, entry)

    def is_due(self, item: DueItem) -> bool:
        self.sleep(CALL_SECONDS)
        return self._planned(item.item_id) == item.next_attempt_at

    def synced_since(self, since: datetime) -> bool:
        self.sleep(CALL_SECONDS)
        return self.succeeded_at is not None and self.succeeded_at >= since


@dataclass(slots=True)
class FleetAttempts(FakeAttempts):
    """The attempts' leases.

    Attributes:
        sleep: lets the time of a call pass.
    """

    sleep: Callable[[float], None] = field(default=lambda _: None)

    def requested(self) -> Iterator[DueItem]:
        self.sleep(CALL_SECONDS)
        return FakeAttempts.requested(self)

    def leases(self, items: Sequence[DueItem]) -> list[Lease]:
        self.sleep(CALL_SECONDS)
        return FakeAttempts.leases(self, items)

    def take(self, before: Lease, lease: Lease) -> bool:
        self.sleep(CALL_SECONDS)
        return FakeAttempts.take(self, before, lease)


@dataclass(slots=True)
class Fleet:
    """Items, their messages and workers; implements `Clock` and `SyncQueue`.

    Attributes:
        seconds: returns how long an attempt of an Item takes.
        failure: returns why an attempt of an Item fails; None for success.
        waiting: Items whose messages are visible, in order, and those whose group is hidden.
        exact_at: when an Item was synced last.
        calls: calls to Plaid by minute.
    """

    seconds: Callable[[ItemId], float]
    failure: Callable[[ItemId], FailureClass | None]
    time: datetime = NOON
    table: FleetTable = field(default_factory=FleetTable)
    waiting: deque[ItemId] = field(default_factory=deque)
    in_flight: Counter[ItemId] = field(default_factory=Counter)
    exact_at: dict[ItemId, datetime] = field(default_factory=dict)
    calls: Counter[datetime] = field(default_factory=Counter)
    most_in_flight: int = 0
    most_waiting: int = 0
    _idle: int = WORKERS
    _events: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: Any = field(default_factory=count)

    def __post_init__(self) -> None:
        self.table.sleep = self.sleep

    # ---- time

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let time pass, and everything happen that happens meanwhile."""
        until = self.time + timedelta(seconds=seconds)
        while self._events and self._events[0][0] <= until:
            self.time, _, happen = heapq.heappop(self._events)
            happen()
        self.time = until

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.time + timedelta(seconds=seconds), next(self._numbers), happen))

    def run(self, minutes: int, each_second: Callable[[int], bool] = lambda _: False) -> None:
        """Sweep every minute; `each_second` returns true to stop."""
        sweeper = Sweeper(self.table, FleetAttempts(sleep=self.sleep), self, self, CALLS_PER_MINUTE)
        for minute in range(minutes):
            began = self.time
            sweeper.sweep(Deadline(lambda: _SWEEP_SECONDS))
            rest = 60 - (self.time - began).total_seconds()
            while rest > 0:
                if each_second(minute):
                    return
                self.sleep(min(1.0, rest))
                rest -= 1.0

    # ---- the queue and the workers

    def send(self, message: SyncMessage, deduplication_id: str | None = None) -> None:  # noqa: ARG002 - the port's
        self.sleep(SEND_SECONDS)
        self.waiting.append(message.item_id)
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        self._receive()

    def deliver(self, item_id: ItemId) -> None:
        """Enqueue a webhook."""
        self.waiting.append(item_id)
        self._receive()

    def _receive(self) -> None:
        """Let idle workers receive what is visible: of each message group the first message."""
        while self._idle and self.waiting:
            batch: list[ItemId] = []
            hidden: list[ItemId] = []
            while self.waiting and len(batch) < BATCH_SIZE:
                item_id = self.waiting.popleft()
                (hidden if self.in_flight[item_id] or item_id in batch else batch).append(item_id)
            self.waiting.extendleft(reversed(hidden))
            if not batch:
                return
            self._idle -= 1
            self.in_flight.update(batch)
            self.most_in_flight = max(self.most_in_flight, self.in_flight.total())
            self._process(batch, self.time)

    def _process(self, batch: list[ItemId], began: datetime) -> None:
        """Attempt the next Item of a batch; return the others' messages after some seconds."""
        if batch and self.time - began >= RETURN_AFTER:
            self.waiting.extendleft(reversed(batch))
            self.in_flight.subtract(batch)
            batch = []
        if not batch:
            self._idle += 1
            self._receive()
            return
        item_id, *rest = batch
        self.table.plan(self.table.items[item_id], schedule.after_claim(item_id, self.time))
        self.calls[self.time.replace(second=0, microsecond=0)] += 1

        def end() -> None:
            self._end(item_id)
            self._process(rest, began)

        # What is not begun when it has waited for long is visible then, not when the slow attempt ends.
        seconds = self.seconds(item_id)
        left = (began + RETURN_AFTER - self.time).total_seconds()
        if rest and seconds > left:
            returned, rest = rest, []
            self._after(max(left, 0.0), lambda: self._return(returned))
        self._after(seconds, end)

    def _return(self, batch: list[ItemId]) -> None:
        self.waiting.extendleft(reversed(batch))
        self.in_flight.subtract(batch)
        self._receive()

    def _end(self, item_id: ItemId) -> None:
        self.in_flight[item_id] -= 1
        item, now, failure = self.table.items[item_id], self.time, self.failure(item_id)
        if failure is None:
            self.exact_at[item_id] = self.table.succeeded_at = now
            following = schedule.after_outcome(item, item.state.name, HISTORY_COMPLETE, now)
            self.table.plan(replace(item, failure=None), following)
            return
        failed = schedule.next_failure(item.failure, "SOME_CODE", failure, now)
        following = schedule.after_failure(item_id, failure, item.failure, failed)
        self.table.plan(replace(item, failure=failed), following)


def add_items(
    fleet: Fleet, prefix: str, number: int, failing: FailureClass | None, failing_for: timedelta = timedelta(hours=4)
) -> list[ItemId]:
    """Add Items, whose attempts are spread as they are after hours."""
    ids = []
    for position in range(number):
        item = new_item(f"{prefix}-{position}", history_complete=True)
        since = fleet.time - failing_for
        if failing is None:
            following = schedule.after_outcome(item, item.state.name, HISTORY_COMPLETE, fleet.time)
        else:
            first = schedule.next_failure(None, "SOME_CODE", failing, since)
            last = schedule.next_failure(first, "SOME_CODE", failing, fleet.time)
            following = schedule.after_failure(item.item_id, failing, first, last)
            item = replace(item, failure=last)
        at = fleet.time + (following.at - fleet.time) * ((position + 1) / number)
        fleet.table.plan(item, NextAttempt(at, following.attempt_class))
        ids.append(item.item_id)
    return ids


def recovery(number: int, seconds: float, *, crowded: bool = False) -> tuple[float, Fleet]:
    """Let so many Items fail for hours, and their calls succeed then; return the seconds until the last is exact.

    Args:
        number: of Items.
        seconds: how long an attempt that fails takes.
        crowded: when the calls succeed, more Items of every other class are due than its budget allows.
    """
    down = True
    # Twenty workers carry out all budgets if an attempt takes less than 0.69 s.
    well_seconds = 0.4 if crowded else 1.0
    fleet = Fleet(lambda _: seconds if down else well_seconds, lambda _: FailureClass.TRANSIENT if down else None)
    failing = add_items(fleet, "item", number, FailureClass.TRANSIENT)
    fleet.run(10)
    down, well_at = False, fleet.time
    if crowded:
        _add_crowd(fleet, minutes=6 + number // budget(AttemptClass.FAILING))
    left = list(failing)

    def each_second(_: int) -> bool:
        while left and left[-1] in fleet.exact_at:
            left.pop()
        return not left

    fleet.run(180, each_second)
    return (max(fleet.exact_at[item_id] for item_id in failing) - well_at).total_seconds(), fleet


def _add_crowd(fleet: Fleet, minutes: int) -> None:
    """Add Items that are due now: of each class but the failing as many as its budget for so many minutes."""
    for attempt_class in set(AttemptClass) - {AttemptClass.FAILING}:
        for position in range(budget(attempt_class) * minutes):
            item = new_item(f"{attempt_class.value}-{position}", history_complete=True)
            fleet.table.plan(item, NextAttempt(fleet.time, attempt_class))


def neighbor(number: int, seconds: float) -> tuple[float, float, Fleet]:
    """Let so many Items of a bank fail for hours; return how long Items of another bank wait.

    Args:
        number: of Items of the bank that is down.
        seconds: how long an attempt of one of them takes.

    Returns:
        Seconds after a webhook, and after the time of a routine attempt.
    """
    fleet = Fleet(
        lambda item_id: seconds if item_id.startswith("down") else 1.0,
        lambda item_id: FailureClass.INSTITUTION_DOWN if item_id.startswith("down") else None,
    )
    add_items(fleet, "down", number, FailureClass.INSTITUTION_DOWN)
    well = add_items(fleet, "well", 2_000, None)
    planned = {item_id: fleet.table.items[item_id].next_attempt_at for item_id in well}
    sent, waits = dict[ItemId, datetime](), list[float]()

    def each_second(_: int) -> bool:
        for item_id, at in list(sent.items()):
            if fleet.exact_at.get(item_id, NOON) >= at:
                waits.append((fleet.exact_at[item_id] - at).total_seconds())
                del sent[item_id]
        if fleet.time.second % 20 == 7:
            item_id = well[-1 - len(waits) - len(sent)]
            sent[item_id] = fleet.time
            fleet.deliver(item_id)
        return False

    fleet.run(90, each_second)
    waits += [(fleet.time - at).total_seconds() for at in sent.values()]
    swept = [
        (at - due).total_seconds()
        for item_id in well
        if (at := fleet.exact_at.get(item_id)) and (due := planned[item_id]) and due <= at
    ]
    return max(waits), max(swept), fleet


def budget(attempt_class: AttemptClass) -> int:
    """Return the sweep's calls per minute of a class."""
    return int(CALLS_PER_MINUTE * SHARES[attempt_class])
