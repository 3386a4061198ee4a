"""What is done to the stack, and what is found: the lag, the pulls, the losses, the memory, the CPU time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.load.processes import Memory, memory, sampled_cores, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from local.demo.logs import LogRecord
    from tests.load.world import World

SYNC_PATH: Final = "/transactions/sync"
CALLS_PER_ITEM: Final = 50
"""Calls of it in a minute for an Item: Plaid's limit, and the local Plaid's."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load on the stack.

    Attributes:
        items: that the webhooks are for.
        rate: webhooks a second; 0 sends them at once.
        calls_per_item: calls of /transactions/sync that Plaid allows for an Item in a minute; 0 is any number.
        put: puts it on the stack.
    """

    name: str
    items: int
    rate: float
    calls_per_item: int
    put: Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario did to the stack.

    Attributes:
        name: with `items`, `rate` and `calls_per_item` the scenario's.
        webhooks: that Plaid sent, and that were accepted with 200.
        accepted_per_second: webhooks that were accepted, by the time from the first to the last.
        lag_p50: seconds from the webhook's acceptance until its rows are committed: the median of all committed syncs,
            each from the oldest of its webhooks.
        lag_p99: that of the slowest hundredth.
        pulls: calls of /transactions/sync, those that Plaid refused included.
        coalesced: messages that another message's sync covered.
        seconds: from the first webhook until the queue was empty.
        differences: between the tables and Plaid at the end; 0 means that nothing is lost and nothing invented.
        cpu: seconds of CPU time by process.
        free: cores that other programs of this machine left, in the mean of each five seconds.
        memory: the peaks of resident memory so far.
    """

    name: str
    items: int
    rate: float
    calls_per_item: int
    webhooks: int
    accepted: int
    accepted_per_second: float
    lag_p50: float
    lag_p99: float
    pulls: int
    commits: int
    coalesced: int
    failures: int
    seconds: float
    differences: int
    cpu: dict[str, float]
    free: list[float]
    memory: dict[str, Memory]

    @property
    def pulls_per_webhook(self) -> float:
        return self.pulls / self.accepted


def all_items_at_once(world: World) -> None:
    """Change every Item, and send their webhooks at once."""
    world.plaid.hold_webhooks()
    for item_id in world.items:
        world.plaid.add(item_id, 3)
    world.plaid.release_webhooks()


def storm_for_one_item(world: World) -> None:
    """Change one Item as often as there are Items, and send the webhooks at once, with Plaid's limit for an Item."""
    world.plaid.configure(rate_limits=True)
    world.plaid.hold_webhooks()
    for _ in world.items:
        world.plaid.add(world.items[0], 1)
    world.plaid.release_webhooks()


def steady(world: World, per_second: float, seconds: float) -> None:
    """Change one Item after the other, so many a second; each change has its webhook."""
    world.plaid.configure(rate_limits=False)  # the sandbox's, which are less than production's
    began = time.monotonic()
    for number in range(int(per_second * seconds)):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        # A stride, so that neighbors are not in one batch.
        world.plaid.add(world.items[(number * 7) % len(world.items)], 1)


def measure(world: World, scenario: Scenario) -> Outcome:
    """Put the load on the stack, wait until it has worked it off, and compare every row with Plaid."""
    world.progress(f"{scenario.name}: begins")
    logs, sent = world.tail("sync"), len(world.plaid.webhooks())
    calls, group = world.plaid.calls[SYNC_PATH], world.stack.emulator.process.pid
    before, began = usage(group), time.monotonic()
    with sampled_cores(group) as free:
        scenario.put(world)
        world.settle()
    seconds = time.monotonic() - began
    used = usage(group).since(before)
    found = _Logged(list(logs.records()))
    deliveries = world.plaid.webhooks()[sent:]
    attempts = [delivery.attempts[-1].at for delivery in deliveries if delivery.attempts]
    accepted = sum(delivery.state == "delivered" for delivery in deliveries)
    p50, p99 = percentiles(found.lags)
    world.progress(f"{scenario.name}: compares every row with Plaid")
    return Outcome(
        scenario.name,
        scenario.items,
        scenario.rate,
        scenario.calls_per_item,
        webhooks=len(deliveries),
        accepted=accepted,
        accepted_per_second=accepted / max(1e-9, (max(attempts) - min(attempts)).total_seconds()),
        lag_p50=p50,
        lag_p99=p99,
        pulls=world.plaid.calls[SYNC_PATH] - calls,
        commits=found.commits,
        coalesced=found.coalesced,
        failures=found.failures,
        seconds=seconds,
        differences=len(world.verdict().differences),
        cpu={process: round(spent, 2) for process, spent in used.cpu.items()},
        free=free,
        memory=memory(group),
    )


@dataclass(slots=True)
class _Logged:
    """What the sync function logged.

    Attributes:
        lags: seconds, of each committed sync that a webhook led to.
    """

    records: Iterable[LogRecord]
    lags: list[float] = field(default_factory=list)
    commits: int = 0
    coalesced: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        for record in self.records:
            self.lags += [milliseconds / 1000 for milliseconds in _values(record, "SyncLag")]
            self.commits += record.get("outcome") == "committed"
            self.coalesced += int(record.get("coalesced", 0))
            self.failures += record.get("message") == "sync failed"


def _values(record: LogRecord, metric: str) -> list[Any]:
    return list(record[metric]) if "_aws" in record and metric in record else []


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile, each a value that occurred."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2], ordered[round((len(ordered) - 1) * 0.99)]


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """CPU seconds by process that one thing takes when nothing else happens.

    Attributes:
        webhook: from Plaid's request to its response, and what follows from its history entry.
        batch: an invocation of the sync function, without its Items.
        sync: an Item of a batch, with one change to commit.
        waiting: what a webhook takes more for each message in the queue: the emulator looks at all of them.
        idle: the stack, each second, when nothing happens.
        webhook_seconds: how long Plaid waits for the response.
    """

    webhook: dict[str, float]
    batch: dict[str, float]
    sync: dict[str, float]
    waiting: dict[str, float]
    idle: dict[str, float]
    webhook_seconds: float


_BATCH: Final = 10
_DEEP: Final = 2_000
"""Messages in the queue."""
_WARM_UP: Final = 40
"""Webhooks at once, so that as many processes start as Plaid sends webhooks at a time."""


def service_times(world: World, number: int) -> ServiceTimes:
    """Measure one thing after the other: webhooks while the queue is paused, then the queue alone.

    Args:
        world: the stack.
        number: of webhooks, a multiple of ten and at most one for each Item.
    """
    world.progress("service times: begins")
    world.plaid.hold_webhooks()
    for item_id in world.items[:_WARM_UP]:
        world.plaid.add(item_id, 1)
    world.plaid.release_webhooks()
    world.settle()  # every process that the load needs has started
    idle = _spent(world, lambda: time.sleep(5), 5, {})
    with world.queue_paused():
        began = time.monotonic()
        webhook = _spent(world, lambda: _one_by_one(world, world.items[:number]), number, idle)
        webhook_seconds = (time.monotonic() - began) / number
    many = _spent(world, world.settle, number / _BATCH, idle)  # a batch of ten Items
    with world.queue_paused():
        _one_by_one(world, world.items[:1] * number)
    one = _spent(world, world.settle, number / _BATCH, idle)  # a batch of one Item
    sync = {name: max(0.0, seconds - one.get(name, 0.0)) / (_BATCH - 1) for name, seconds in many.items()}
    batch = {name: max(0.0, seconds - sync.get(name, 0.0)) for name, seconds in one.items()}
    with world.queue_paused():
        for _ in range(_DEEP):
            world.plaid.add(world.items[0], 1)
        while world.plaid.scheduler.pending():
            time.sleep(0.1)
        deep = _spent(world, lambda: _one_by_one(world, world.items[:number]), number, idle)
    world.settle()
    waiting = {"emulator": max(0.0, deep["emulator"] - webhook["emulator"]) / _DEEP}
    return ServiceTimes(webhook, batch, sync, waiting, idle, webhook_seconds)


def _one_by_one(world: World, items: Iterable[str]) -> None:
    for item_id in items:
        world.plaid.add(item_id, 1)
        while world.plaid.scheduler.pending():
            time.sleep(0.002)


def _spent(world: World, act: Callable[[], None], times: float, idle: dict[str, float]) -> dict[str, float]:
    """Return the CPU seconds by process that an act takes each time, without those that pass in any case."""
    group = world.stack.emulator.process.pid
    before, began = usage(group), time.monotonic()
    act()
    used, seconds = usage(group).since(before), time.monotonic() - began
    spent = {name: (cpu - idle.get(name, 0.0) * seconds) / times for name, cpu in used.cpu.items()}
    return {name: round(cpu, 5) for name, cpu in sorted(spent.items()) if cpu > 0}
