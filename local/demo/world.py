"""What one run of the demo holds: Plaid, the deployed stack, an application, and what is said about them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from local.demo.application import Application
from local.demo.observer import Observer
from local.demo.options import DemoError
from local.demo.wording import notable
from local.plaid import Behavior, OffsetClock, Phase, PlaidServer, PlaidSimulator, utc_now
from local.snapshot import stored_cursor
from local.stack import LocalStack
from local.stack.stack import plaid_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.demo.options import Options
    from local.demo.progress import LogRecord, Progress
    from local.plaid import Delivery

LAG = timedelta(seconds=200)
"""Plaid's clock starts so much behind, so that it can be put forward to the next try of a webhook: Plaid waits 30 s
after a first failure, then 120 s. A signature is good for five minutes, so that the lag itself harms nothing."""
_GLANCE_SECONDS = 0.05


@dataclass(slots=True)
class World:
    """One run.

    Attributes:
        say: tells the user a line.
        items: the ids of the linked Items, in their order.
        guests: how Items are called that are gone before the end, by their ids.
        happened: how often each thing has happened, by name.
        problems: promises that were not kept, other than rows that differ.
        started: when the run began, by the monotonic clock.
        exhibits: rows whose stored amount is shown in the end: Item and transaction.
    """

    options: Options
    plaid: PlaidSimulator
    clock: OffsetClock
    stack: LocalStack
    application: Application
    observer: Observer
    say: Callable[[str], None]
    rng: Random
    items: list[str] = field(default_factory=list)
    guests: dict[str, str] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    exhibits: list[tuple[str, str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long the run takes so far."""
        return time.monotonic() - self.started

    def name(self, item_id: str) -> str:
        """Return how an Item is called: by its number, once it is linked."""
        if item_id in self.items:
            return f"Item {self.items.index(item_id) + 1}"
        return self.guests.get(item_id, "an unknown Item")

    def wait_until(self, happened: Callable[[Progress], bool], what: str) -> None:
        """Wait until the stack has done something; see `Observer.wait_until`."""
        self.observer.wait_until(happened, what, self.options.patience)

    def expect(self, promise: str, *, kept: bool) -> None:
        """Note a promise that is not kept: the run goes on, and fails in the end."""
        if not kept:
            self.problems.append(promise)
            self.say(f"NOT AS PROMISED: {promise}")

    def wait_for_plaid(self, happened: Callable[[], bool], what: str) -> None:
        """Wait until something has happened at Plaid.

        Raises:
            DemoError: it does not happen; `what` says what it is.
        """
        deadline, pause = time.monotonic() + self.options.patience, threading.Event()
        while not happened():
            if time.monotonic() > deadline:
                raise DemoError(f"Waited {self.options.patience:.0f} s in vain for this: {what}.")
            pause.wait(_GLANCE_SECONDS)

    def settle(self) -> Progress:
        """Wait until nothing moves any more, at Plaid, in the queue or in the functions.

        Raises:
            DemoError: it does not come to rest; the message says what still moves.
        """
        deadline = time.monotonic() + self.options.patience
        pause = threading.Event()
        # In this order: a webhook that Plaid has delivered is in the queue; a message that has left it is done.
        while self.plaid.scheduler.pending() or self.observer.queue_depth() or self.plaid.scheduler.pending():
            if time.monotonic() > deadline:
                raise DemoError(self._motion())
            self._hurry_retries()
            pause.wait(_GLANCE_SECONDS)
        return self.observer.look()

    def _hurry_retries(self) -> None:
        """Put Plaid's clock forward where all that it waits for is the time to try a refused webhook again."""
        waiting = self._waiting()
        due = min((due for _, due in waiting), default=None)
        if due is None or any(not delivery.attempts for delivery, _ in waiting):
            return
        wait = due - self.clock()
        if timedelta(seconds=1) < wait and self.clock() + wait < utc_now():
            self.say(
                f"Plaid would try a refused webhook again in {wait.total_seconds():.0f} s: its clock is put forward"
            )
            self.clock.advance(wait)

    def _waiting(self) -> list[tuple[Delivery, datetime]]:
        return [(delivery, delivery.next_at) for delivery in self.plaid.webhooks() if delivery.next_at is not None]

    def _motion(self) -> str:
        waiting, progress = self._waiting(), self.observer.look()
        states = [f"{self.name(item_id)}: {item.state}" for item_id, item in progress.items.items()]
        return (
            f"The system did not come to rest within {self.options.patience:.0f} s: {progress.queue} messages in the "
            f"queue, {len(waiting)} webhooks on their way, failures so far {dict(progress.failures)}. "
            f"Last syncs: {'; '.join(states)}. On a slow machine, --patience gives it longer."
        )

    def unheard_changes(self, item_id: str) -> int:
        """Return how many of an Item's changes at Plaid the tables do not know of yet."""
        heard = self.plaid.final_cursors(item_id).get(stored_cursor(self.stack, item_id), 0)
        return self.plaid.item(item_id).log.head - heard

    def phase(self, item_id: str) -> Phase:
        """Return how much of an Item's history is ready."""
        return self.plaid.item(item_id).phase

    def rows_at_plaid(self, item_id: str) -> int:
        """Return how many live rows an Item has at Plaid."""
        return len(self.plaid.item(item_id).log.live)


@contextmanager
def world_of(options: Options, say: Callable[[str], None]) -> Iterator[World]:
    """Run a Plaid server and the deployed stack for the time of the `with` block."""
    started = time.monotonic()
    clock = OffsetClock(lambda: utc_now() - LAG)
    client_id, secret = plaid_credentials()
    behavior = Behavior(initial_seconds=None, historical_seconds=None)
    plaid = PlaidSimulator(options.seed, clock, client_id, secret, behavior)
    worlds: list[World] = []

    def told(record: LogRecord) -> None:
        line = notable(record, worlds[0].name) if worlds else None
        if line:
            say(line)

    with (
        PlaidServer(plaid) as server,
        LocalStack.start(server.base_url, progress=say) as stack,
        Observer(stack, told) as observer,
    ):
        rng = Random(f"{options.seed}:demo")  # noqa: S311 # nosec B311 - reproducible on purpose
        world = World(options, plaid, clock, stack, Application.create(stack), observer, say, rng, started=started)
        worlds.append(world)
        yield world
