"""The deployed system: webhooks, the queue, the workers, Plaid, the hot partitions of DynamoDB, and the sweep."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field, fields, replace
from math import inf
from typing import TYPE_CHECKING, Any, Final

import simpy

from local.capacity.resources import Batch, FifoQueue, Item, Level, Rate, Window

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from random import Random

    from local.capacity.stations import Stations

BATCH_SIZE: Final = 10
RETURN_AFTER: Final = 5.0
"""Seconds after which the Items of a batch that are not begun return to the queue."""
CLOCK_SKEW: Final = 120.0
"""Seconds that a pull has to begin after a message, so that the message is covered."""
THROTTLE_PAUSES: Final = (4.0, 12.0, 24.0, 30.0)
"""Seconds that a worker waits when Plaid throttles, before it records the failure."""
RETRY_DELAYS: Final = (45.0, 150.0)
"""Seconds from a failure to the next attempt, at first and at most: in between as long as the Item has failed."""
PLAID_RETRY: Final = (30.0, 4.0)
"""Seconds until Plaid sends a refused webhook again, and the factor of the next delay."""
SENDING: Final = 55.0
"""Seconds of each minute in which the sweep sends messages."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the system may do at most; infinite is without a limit.

    Attributes:
        api_per_second: webhooks that API Gateway lets through, after a burst of `api_burst`.
        webhook_concurrency: webhooks at a time.
        sends_per_second: calls of SendMessage to the queue.
        in_flight: messages of the queue that are received and not deleted.
        workers: invocations of the sync function at a time, `workers_at_start` of them at once and the others by
            `workers_per_second`.
        calls_per_minute: of /transactions/sync, for the client.
        calls_per_item: the same, for an Item.
        state_writes: write units a second of the partition of an Items' state, in by_state.
        attempt_writes: write units a second of all shards of a class together, in by_next_attempt.
        swept_per_minute: messages of the class `routine` that the sweep sends.
        retried_per_minute: messages of the class `failing`.
    """

    api_per_second: float = inf
    api_burst: float = inf
    webhook_concurrency: float = inf
    sends_per_second: float = inf
    in_flight: float = inf
    workers: float = inf
    workers_at_start: float = inf
    workers_per_second: float = inf
    calls_per_minute: float = inf
    calls_per_item: float = inf
    state_writes: float = inf
    attempt_writes: float = inf
    swept_per_minute: float = inf
    retried_per_minute: float = inf

    def slice(self, share: float) -> Limits:
        """Return the limits of a system of a share of the size: what an Item may do stays."""
        scaled = {each.name: getattr(self, each.name) * share for each in fields(self) if each.name != "calls_per_item"}
        return replace(self, **scaled)


@dataclass(frozen=True, slots=True)
class Writes:
    """Write units of one sync in the indexes of the Items table whose partitions are shared by Items."""

    state: float
    attempt: float


@dataclass(slots=True)
class System:
    """The system while it runs; `webhook` and `sweep` are what makes it run.

    Attributes:
        pending: when the webhooks of each Item were accepted, and sent at first, whose changes are not committed.
        lags: seconds from a webhook's acceptance until its changes are committed.
        delays: seconds from the first time that Plaid sent it until then.
        sync_lags: seconds until a sync's commit from the oldest of its messages.
        sent: webhooks that Plaid has sent, retries not counted.
        pulls: calls of /transactions/sync that Plaid answered.
        coalesced: messages that another message's pull covered.
    """

    env: simpy.Environment
    limits: Limits
    stations: Stations
    writes: Writes
    rng: Random
    lags: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    sync_lags: list[float] = field(default_factory=list)
    sent: int = 0
    throttled_webhooks: int = 0
    pulls: int = 0
    coalesced: int = 0
    throttled_calls: int = 0
    pending: dict[Item, list[tuple[float, float]]] = field(default_factory=dict)
    queue: FifoQueue = field(init=False)
    waiting: Level = field(init=False)
    webhooks: Level = field(init=False)
    workers: Level = field(init=False)
    api: Rate = field(init=False)
    sends: Rate = field(init=False)
    state_writes: Rate = field(init=False)
    attempt_writes: Rate = field(init=False)
    plaid: Window = field(init=False)
    _calls_of: dict[Item, Window] = field(default_factory=dict)
    _pulled: dict[Item, float] = field(default_factory=dict)
    _failing: list[tuple[float, Item]] = field(default_factory=list)
    _allowed: float = field(init=False)
    _busy_since: float = 0.0

    def __post_init__(self) -> None:
        env, limits = self.env, self.limits
        self.queue = FifoQueue(env, limits.in_flight)
        self.waiting, self.webhooks, self.workers = Level(env), Level(env), Level(env)
        self.api = Rate(env, limits.api_per_second, limits.api_burst)
        self.sends = Rate(env, limits.sends_per_second, limits.sends_per_second)
        self.state_writes = Rate(env, limits.state_writes, limits.state_writes)
        self.attempt_writes = Rate(env, limits.attempt_writes, limits.attempt_writes)
        self.plaid = Window(env, limits.calls_per_minute)
        self._allowed = min(limits.workers, limits.workers_at_start)

    # ---- webhooks

    def webhook(self, item: Item) -> Generator[simpy.Event, Any, None]:
        """One webhook: Plaid sends it again when it is refused."""
        self.sent += 1
        sent, (delay, factor) = self.env.now, PLAID_RETRY
        while not (self.webhooks.value < self.limits.webhook_concurrency and self.api.allows()):
            self.throttled_webhooks += 1
            yield self.env.timeout(delay)
            delay *= factor
        cold = self.webhooks.value == self.webhooks.maximum
        self.webhooks.add(1)
        if cold:
            yield from self.stations.start("webhook")
        yield from self.stations.deliver()
        yield self.env.timeout(self.sends.wait())
        self.waiting.add(1)
        self.pending.setdefault(item, []).append((self.env.now, sent))
        self._send(item)
        yield from self.stations.respond()
        self.webhooks.add(-1)

    def _send(self, item: Item) -> None:
        self.queue.send(item)
        self._dispatch()

    # ---- workers

    def _dispatch(self) -> None:
        """Let the mapping's pollers invoke the function, as many at a time as they are allowed to."""
        while self.queue.has_open and self.workers.value < self._allowed:
            if not (batches := self.queue.receive(BATCH_SIZE)):
                return
            cold = self.workers.value == self.workers.maximum
            self.workers.add(1)
            self.env.process(self._invocation(deque(batches), cold=cold))
        if self.queue.has_open and self._allowed < self.limits.workers:
            more = (self.env.now - self._busy_since) * self.limits.workers_per_second
            self._allowed, self._busy_since = min(self.limits.workers, self._allowed + more), self.env.now
        else:
            self._busy_since = self.env.now

    def _invocation(self, unbegun: deque[Batch], *, cold: bool) -> Generator[simpy.Event, Any, None]:
        """Attempt each Item of a batch; those that are not begun within seconds return to the queue."""
        if cold:
            yield from self.stations.start("sync")
        yield from self.stations.receive()
        finished, ends = list[Batch](), self.env.event()
        self.env.process(self._return_unbegun(unbegun, finished, ends))
        while unbegun:
            batch = unbegun.popleft()
            yield from self._attempt(batch)
            finished.append(batch)
        ends.succeed()
        self._delete(finished)
        self.workers.add(-1)
        self._dispatch()

    def _return_unbegun(
        self, unbegun: deque[Batch], finished: list[Batch], ends: simpy.Event
    ) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(RETURN_AFTER) | ends
        if ends.triggered:
            return
        while unbegun:
            self.queue.put_back(unbegun.pop())
        self._delete(finished)
        self._dispatch()

    def _delete(self, finished: list[Batch]) -> None:
        for batch in finished:
            self.queue.delete(batch)
        finished.clear()

    def _attempt(self, batch: Batch) -> Generator[simpy.Event, Any, None]:
        """Sync an Item: claim it, pull, commit."""
        item = batch.item
        if self._pulled.get(item, -inf) > batch.newest + CLOCK_SKEW:
            self.coalesced += len(batch.messages)
            return
        self.coalesced += len(batch.messages) - 1
        yield from self.stations.claim()
        yield self.env.timeout(self.attempt_writes.wait(self.writes.attempt / 2))
        for pause in (*THROTTLE_PAUSES, None):
            if self._plaid_allows(item):
                break
            if pause is None:
                self._fail(item)
                return
            yield self.env.timeout(pause * self.rng.uniform(0.9, 1.1))
        began = self._pulled[item] = self.env.now
        self.pulls += 1
        yield from self.stations.pull()
        yield self.env.timeout(
            max(self.state_writes.wait(self.writes.state), self.attempt_writes.wait(self.writes.attempt / 2))
        )
        yield from self.stations.commit()
        self._commit(item, began)
        self.sync_lags.append(self.env.now - batch.messages[0][1])

    def _plaid_allows(self, item: Item) -> bool:
        own = self._calls_of.setdefault(item, Window(self.env, self.limits.calls_per_item))
        if own.is_full or self.plaid.is_full:
            self.throttled_calls += 1
            return False
        own.count()
        self.plaid.count()
        return True

    def _commit(self, item: Item, began: float) -> None:
        """Record the lags of the webhooks whose changes the pull had."""
        pending = self.pending.pop(item, [])
        if later := [webhook for webhook in pending if webhook[0] > began]:
            self.pending[item] = later
        for accepted, sent in pending[: len(pending) - len(later)]:
            self.lags.append(self.env.now - accepted)
            self.delays.append(self.env.now - sent)
        self.waiting.add(len(later) - len(pending))

    # ---- retries and the sweep

    def _fail(self, item: Item) -> None:
        first, maximum = RETRY_DELAYS
        since = min(accepted for accepted, _ in self.pending.get(item, [(self.env.now, 0.0)]))
        delay = min(max(self.env.now - since, first), maximum) * self.rng.uniform(0.9, 1.1)
        heapq.heappush(self._failing, (self.env.now + delay, item))

    def sweep(self, routine_per_second: float, items: int, seconds: float) -> Generator[simpy.Event, Any, None]:
        """Enqueue the Items whose next attempt has come, every minute.

        Args:
            routine_per_second: Items whose routine attempt comes; which ones they are is drawn.
            items: how many Items there are.
            seconds: until when routine attempts come; failed Items are attempted again without end.
        """
        due = 0.0
        while True:
            retried = list[Item]()
            while (
                self._failing and self._failing[0][0] <= self.env.now and len(retried) < self.limits.retried_per_minute
            ):
                retried.append(heapq.heappop(self._failing)[1])
            due += routine_per_second * 60 * (self.env.now < seconds - SENDING)
            routine = int(min(due, self.limits.swept_per_minute))
            due -= routine
            chosen = retried + [self.rng.randrange(items) for _ in range(routine)]
            self.rng.shuffle(chosen)
            yield from self._sweep_once(chosen)

    def _sweep_once(self, chosen: list[Item]) -> Generator[simpy.Event, Any, None]:
        for item in chosen:
            self._send(item)
            yield self.env.timeout(SENDING / len(chosen))
        yield self.env.timeout(60.0 - SENDING * bool(chosen))


def arrive(system: System, webhooks: Iterable[tuple[float, Item]]) -> Generator[simpy.Event, Any, None]:
    """Let webhooks arrive, each at its time, in seconds from the beginning."""
    for at, item in webhooks:
        yield system.env.timeout(at - system.env.now)
        system.env.process(system.webhook(item))


def poisson(rng: Random, per_second: float, seconds: float, items: int) -> Iterable[tuple[float, Item]]:
    """Yield webhooks at random times, each for a random Item."""
    at = rng.expovariate(per_second)
    while at < seconds:
        yield at, rng.randrange(items)
        at += rng.expovariate(per_second)


def send_at_once(
    system: System, webhooks: Iterable[tuple[float, Item]], senders: int
) -> Generator[simpy.Event, Any, None]:
    """Let webhooks arrive of which so many are on their way at a time, as those of the local Plaid."""
    free = simpy.Resource(system.env, senders)

    def send(item: Item, sender: simpy.resources.resource.Request) -> Generator[simpy.Event, Any, None]:
        yield from system.webhook(item)
        free.release(sender)

    for at, item in webhooks:
        yield system.env.timeout(max(0.0, at - system.env.now))
        yield (sender := free.request())
        system.env.process(send(item, sender))
