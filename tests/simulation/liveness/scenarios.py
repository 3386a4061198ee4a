"""One fault each, in simulated time: how long it takes until the rows equal Plaid's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain import schedule
from plaid_sync.domain.item import StateName

from local.plaid import Phase
from tests.simulation.faults.boundary import PLAID, Fault
from tests.simulation.faults.world import LAMBDA_SECONDS, SQS
from tests.simulation.liveness.stack import Stack, stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.faults.harness import Harness

HOUR: Final = timedelta(hours=1)
_CRASHES: Final = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
_SLOW_SECONDS: Final = 185.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """A line of the table.

    Attributes:
        bound: seconds; the worst that may be measured.
        seconds: the worst that was measured.
        detail: what else is to know.
    """

    fault: str
    bound: float
    seconds: float
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.seconds <= self.bound


# ---- a worker dies


def killed_worker(harness: Harness, number: int, fault: Fault, *, webhook: bool) -> float | None:
    """Kill a worker at its n-th call; return the seconds since then, None where it makes no such call."""
    with stack(harness) as world:
        item_id = world.link()
        world.plaid.add(item_id)
        world.deliver_due()
        worker = world.invoke_sync()
        assert worker is not None
        for _ in range(number - 1):
            world.step(worker)
        if worker.ended:
            return None
        world.step(worker, fault)
        if not webhook:
            return world.until_exact()
        world.wait(5)
        world.plaid.add(item_id)
        return 5 + world.until_exact()


def killed_workers(harness: Harness, *, webhook: bool, step: int = 1) -> Iterator[Measurement]:
    """Kill workers at each of their calls (or at each n-th)."""
    first, later, last = 0.0, 0.0, 0
    for number in range(1, 100, step):
        found = [killed_worker(harness, number, fault, webhook=webhook) for fault in _CRASHES]
        measured = [seconds for seconds in found if seconds is not None]
        if not measured:
            break
        last = number
        if number == 1:
            first, *measured = measured  # its heartbeat had not begun
        later = max([later, *measured])
    how = "next webhook 5 s later" if webhook else "no webhook"
    yield Measurement(f"worker killed at any of its {last} calls, {how}", 90, later, "since the kill")
    bound = LAMBDA_SECONDS["sync"] + 60
    yield Measurement(f"worker killed before its first call, {how}", bound, first, "the queue's own visibility timeout")


def killed_sweep(harness: Harness, step: int = 1) -> Iterator[Measurement]:
    """Kill the sweep at each of its calls while an Item is due whose webhook was lost."""
    worst, last = 0.0, 0
    for number in range(1, 100, step):
        with stack(harness) as world:
            item_id = world.link()
            _lose(world, item_id)
            world.wait((world.checker.planned(item_id) - world.clock()).total_seconds() + 1)
            sweep = world.invoke_sweep()
            world.complete(sweep, number, Fault.CRASH_AFTER)
            if sweep is None or not sweep.killed:
                break
            last, worst = number, max(worst, world.until_exact())
    yield Measurement(f"sweep killed at any of its {last} calls", 360, worst, "since the kill; the lease ends")


# ---- something is down


def bank_down(harness: Harness, duration: timedelta, name: str) -> Measurement:
    with stack(harness) as world:
        item_id = world.link()
        world.plaid.set_item_error(item_id, "INSTITUTION_DOWN")
        world.run(lambda: False, duration, step=5.0)
        world.plaid.set_item_error(item_id, None, notify=False)
        world.wait(60)
        world.plaid.add(item_id)
        seconds = world.until_exact()
        return Measurement(f"bank down {name}, then webhook", 15, seconds, "since the webhook")


def outage(harness: Harness, service: str, fault: Fault, duration: timedelta, name: str) -> Measurement:
    """Let a service fail after a webhook, and end that right after an attempt failed: the longest wait for the next.

    A webhook that comes while SQS is down is answered 503, and repeated by Plaid.
    """
    with stack(harness) as world:
        item_id = world.link()
        world.plaid.add(item_id)
        if service != SQS:
            world.deliver_due()
        world.restart_processes()  # none knows Plaid's secret
        world.outages[service] = fault
        world.run(lambda: False, duration, step=10.0)
        attempt = world.checker.record(item_id).get("failed_at")
        if attempt is not None:
            world.run(lambda: world.checker.record(item_id)["failed_at"] != attempt, timedelta(minutes=6))
        world.outages.clear()
        return Measurement(name, 360, world.until_exact(), f"dead letters: {world.queues.dead_letters()}")


# ---- an Item is slow


def slow_item(harness: Harness, number: int = 10) -> Measurement:
    """Let the first Item of a batch take long to be served."""
    with stack(harness) as world:
        items = [world.link() for _ in range(number)]
        slow, others = items[0], items[1:]
        for item_id in items:
            world.plaid.add(item_id)
        world.deliver_due()
        worker = world.invoke_sync()
        assert worker is not None
        while worker.waiting is not None and not worker.waiting.is_page:
            world.step(worker)
        began, measured = world.clock(), 0.0
        while (world.clock() - began).total_seconds() < _SLOW_SECONDS:
            while invocation := world.invoke_sync():
                world.complete(invocation)
            if not measured and world.is_exact(*others):
                measured = (world.clock() - began).total_seconds()
            world.wait(1)
        world.complete(worker)
        world.until_exact()
        assert world.is_exact(slow)
        return Measurement(
            f"one Item of a batch slow ({_SLOW_SECONDS:.0f} s): the other {number - 1}", 15, measured or _SLOW_SECONDS
        )


# ---- a webhook is lost


def _lose(world: Stack, item_id: str) -> None:
    world.plaid.add(item_id)
    for delivery in world.undelivered():
        world.lose(delivery)


def history_webhook_lost(harness: Harness, age: timedelta, name: str) -> Measurement:
    """Let the whole history become ready right after the Item was looked at."""
    with stack(harness) as world:
        item_id = world.link(ready=False)
        world.plaid.advance_phase(item_id)
        for delivery in world.undelivered():
            world.lose(delivery)
        world.run(lambda: False, age)
        planned = world.checker.planned(item_id)
        world.run(lambda: world.checker.planned(item_id) != planned and world.is_quiet, HOUR * 2)
        while world.plaid.item(item_id).phase < Phase.HISTORICAL:
            world.plaid.advance_phase(item_id)
        for delivery in world.undelivered():
            world.lose(delivery)
        return Measurement(f"webhook lost while history was initial, {name} after the link", 3600, world.until_exact())


def webhook_lost(harness: Harness) -> Measurement:
    with stack(harness) as world:
        item_id = world.link()
        _lose(world, item_id)
        bound = schedule.ROUTINE_INTERVALS[StateName.ACTIVE] * 1.1 + timedelta(minutes=2)
        seconds = world.until_exact()
        return Measurement("webhook lost", bound.total_seconds(), seconds, "the routine cadence: 12 h")


SCENARIOS: Final[dict[str, Callable[[Harness], Iterator[Measurement]]]] = {
    "killed workers, no webhook": lambda harness: killed_workers(harness, webhook=False),
    "killed workers, webhook": lambda harness: killed_workers(harness, webhook=True),
    "killed sweep": killed_sweep,
    "bank": lambda harness: iter(
        [bank_down(harness, timedelta(minutes=45), "45 min"), bank_down(harness, timedelta(days=3), "3 days")]
    ),
    "plaid": lambda harness: (
        outage(harness, PLAID, fault, 4 * HOUR, f"Plaid {name} for 4 h, no webhook")
        for name, fault in (("5xx", Fault.SERVER_ERROR), ("429", Fault.THROTTLED), ("timeouts", Fault.RESPONSE_LOST))
    ),
    "aws": lambda harness: (
        outage(harness, service, Fault.SERVER_ERROR, HOUR, f"{name} down for 1 h")
        for name, service in (
            ("DynamoDB", "DynamoDB"),
            ("SQS", "AmazonSQS"),
            ("KMS", "TrentService"),
            ("Secrets Manager", "secretsmanager"),
        )
    ),
    "slow": lambda harness: iter([slow_item(harness)]),
    "lost": lambda harness: iter(
        [
            history_webhook_lost(harness, timedelta(minutes=2), "minutes"),
            history_webhook_lost(harness, 3 * HOUR, "hours"),
            webhook_lost(harness),
        ]
    ),
}
