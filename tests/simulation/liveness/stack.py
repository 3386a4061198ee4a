"""A stack of which everything runs by itself, in simulated time: webhooks, the event source mapping, the sweep."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Final

from local.comparison import Tables, compare
from local.plaid import Behavior, Phase
from local.snapshot import plaid_item
from tests.simulation.faults.harness import set_limits
from tests.simulation.faults.run import WEBHOOK_URL
from tests.simulation.faults.world import Link, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from local.plaid import Delivery
    from tests.simulation.faults.harness import Harness

MINUTE: Final = timedelta(minutes=1)
_FIRST_REPEAT: Final = timedelta(seconds=30)
"""Plaid repeats a webhook that got no 200 after 30 seconds, and each time after four times as long."""


class Stack(World):
    """The functions on the emulator, driven by the clock alone. Until a test does something, nothing fails."""

    def __init__(self, harness: Harness) -> None:
        behavior = Behavior(rate_limits=False, legacy_webhooks=False, initial_seconds=None, historical_seconds=None)
        set_limits(page_size=500, transaction_size=97, part_size=5000)
        super().__init__(harness, behavior, timedelta(0))
        self._next_sweep = self.clock() + MINUTE
        self._repeats: dict[int, tuple[datetime, timedelta]] = {}

    # ---- Items

    def link(self, *, ready: bool = True) -> str:
        """Link an Item, and sync it."""
        token = self.plaid.create_public_token(WEBHOOK_URL, 5, days=60)
        link = Link(token, self.plaid.public_tokens[token].item.item_id)
        self.links.append(link)
        self.complete(self.post_link(link))
        while ready and self.plaid.advance_phase(link.item_id) < Phase.HISTORICAL:
            pass
        self.run(lambda: self.is_quiet and self.is_exact(link.item_id), timedelta(minutes=3))
        return link.item_id

    def is_exact(self, *items: str) -> bool:
        """Return whether the rows of Items equal Plaid's."""
        for item_id in items or self.items:
            record = self.checker.record(item_id) | {"state": "active"}
            tables = Tables([record], list(self.checker.rows(item_id).values()))
            if compare([plaid_item(self.plaid, item_id)], tables).differences:
                return False
        return True

    @property
    def is_quiet(self) -> bool:
        return not self.queues.size() and not self.undelivered()

    def restart_processes(self) -> None:
        """Let the next invocations find an empty memory."""
        for environments in self.environments.values():
            for environment in environments:
                environment.warm = False

    # ---- time

    def run(self, until: Callable[[], bool], limit: timedelta, step: float = 1.0) -> float:
        """Let time pass until something is true, or for so long; return the seconds.

        While nothing is queued, the minutes in which no Item is due pass at once.
        """
        began, seen = self.clock(), -1
        while self.clock() - began < limit:
            if self.checker.steps > seen and until():
                break
            seen = self.checker.steps  # without a call, nothing changes
            self.deliver_due()
            while invocation := self.invoke_sync():
                self.complete(invocation)
            if self.clock() >= self._next_sweep:
                self.complete(self.invoke_sweep())
                self._next_sweep = max(self._next_sweep + MINUTE, self.clock())
            elif self.checker.steps == seen:
                self._wait_for_something(step, began + limit)
        return (self.clock() - began).total_seconds()

    def _wait_for_something(self, step: float, end: datetime) -> None:
        """Let time pass; while nothing is queued, up to the next webhook, or run of the sweep that finds something."""
        moments = [end, *(self._due(delivery)[0] for delivery in self.undelivered())]
        if self.queues.size():
            moments += [self.clock() + timedelta(seconds=step), self._next_sweep]
        else:
            due = [self.checker.planned(item_id) for item_id in self.items if self.checker.item(item_id).synced]
            minutes = (min(due, default=end) - self._next_sweep) / MINUTE
            self._next_sweep += MINUTE * max(0, ceil(minutes))
            moments.append(self._next_sweep)
        self.wait(max(0.0, (min(moments) - self.clock()).total_seconds()))

    def _due(self, delivery: Delivery) -> tuple[datetime, timedelta]:
        """Return when Plaid sends a webhook (again), and how long it waits afterwards."""
        return self._repeats.get(delivery.number, (self.clock(), _FIRST_REPEAT))

    def deliver_due(self) -> None:
        """Let Plaid send the webhooks whose time has come."""
        for delivery in self.undelivered():
            due, delay = self._due(delivery)
            if due <= self.clock():
                self.complete(self.deliver(delivery))
                self._repeats[delivery.number] = self.clock() + delay, delay * 4

    def until_exact(self, limit: timedelta = timedelta(hours=24), step: float = 1.0) -> float:
        """Let time pass until all rows equal Plaid's; return the seconds."""
        return self.run(self.is_exact, limit, step)


@contextmanager
def stack(harness: Harness) -> Iterator[Stack]:
    """Run a stack; none of what happens to it may dead-letter a message."""
    with closing(Stack(harness)) as stack:
        yield stack
        assert not stack.queues.dead_letters()
