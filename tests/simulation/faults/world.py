"""The world of one schedule: a Plaid, the stack's queues and tables, execution environments, and running invocations.

Nothing here decides: the schedule does (`run.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.errors import TransientError

from local.plaid import PlaidSimulator
from tests.integration.functions import lambda_context_by
from tests.integration.harness import http_event
from tests.simulation.faults.boundary import PLAID, Actor, Fault
from tests.simulation.faults.checker import Checker
from tests.simulation.faults.feed import Bus, ItemsStream
from tests.simulation.faults.harness import ENVIRONMENTS, Environment, Harness, SimulationClock
from tests.simulation.faults.queues import Queues

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plaid import Behavior, Delivery
    from tests.simulation.faults.boundary import Call

LAMBDA_SECONDS: Final = {"sync": 300.0, "webhook": 9.0, "items": 190.0, "sweep": 120.0, "changes": 60.0}
BATCH_SIZE: Final = 10
CALL_SECONDS: Final = 0.05
"""What a call takes in simulated time."""
_TIMEOUTS: Final = {"sync": 3.0, "webhook": 1.4, "items": 3.0, "sweep": 3.0, "changes": 3.0}
"""What a call to AWS takes whose response is lost."""
_PLAID_TIMEOUT: Final = 20.0
_BEAT_SECONDS: Final = 5.0
"""Time passes in steps of so much while a batch is processed."""
SQS: Final = "AmazonSQS"


@dataclass(slots=True, kw_only=True)
class Invocation(Actor):
    """An actor in its execution environment.

    Attributes:
        on_end: called when the handler returned or was killed.
        paused: whether its own time is paused while it waits (a paused process), so that no timeout ends it.
        spent: seconds of its own time.
        pulls: the step at which it began its current pull of an Item.
    """

    environment: Environment
    on_end: Callable[[Invocation], None]
    paused: bool = False
    spent: float = 0.0
    pulls: dict[str, int] = field(default_factory=dict)

    @property
    def beats(self) -> bool:
        """Whether the heartbeat of its batch goes on."""
        lives = not self.paused and not self.ended and self.spent <= LAMBDA_SECONDS[self.environment.function]
        return lives and self.environment.beat is not None

    def beat(self) -> None:
        """Beat, unless its own call to SQS holds the lock."""
        if self.environment.beat is not None and (self.latest is None or self.latest.service != SQS):
            self.environment.beat()

    @property
    def status(self) -> int:
        """The status code of the response of an API function; 0 without a response."""
        return 0 if self.response is None else int(self.response["statusCode"])


@dataclass(slots=True)
class Link:
    """A user's attempt to link an Item, retried by the application until it gets a final response.

    Attributes:
        status: the status code of the last response; None before the first request.
    """

    public_token: str
    item_id: str
    status: int | None = None


class World:
    """The world of one schedule. It begins with nothing linked and empty queues.

    Attributes:
        live: invocations that have not ended.
        removals: for each requested removal (Item, whether its rows are erased) the status of the last response.
        updates: for each finished update mode (Item, link token) the status of the last response to its report.
        tokens: the signature of the first delivery of a webhook, by its number.
        outages: what every call of a service meets.
        dead_cursors: how Plaid refuses the stored cursor of an Item until the whole history is pulled.
        heartbeats: whether the visibility of messages can be changed while a batch is processed.
        counts: what happened how often.
    """

    def __init__(
        self, harness: Harness, behavior: Behavior, queue_clock_error: timedelta, changes: dict[str, str] | None = None
    ) -> None:
        self.harness = harness
        self.clock = SimulationClock(harness.clock_file, queue_clock_error)
        self.plaid = PlaidSimulator(seed=7, clock=self.clock, behavior=behavior)
        self.plaid.hold_webhooks()
        harness.server.replace(self.plaid)
        harness.store_secret(self.plaid.secret)
        self.queues = Queues(harness.stack)
        self.checker = Checker(harness.stack, self.plaid)
        self.environments = {
            function: [
                Environment(function, number, harness, self.clock, self.wait, changes or {})
                for number in range(ENVIRONMENTS)
            ]
            for function in LAMBDA_SECONDS
        }
        self.live: list[Invocation] = []
        self.links: list[Link] = []
        self.removals: dict[tuple[str, bool], int] = {}
        self.updates: dict[tuple[str, str], int] = {}
        self.tokens: dict[int, str] = {}
        self.outages: dict[str, Fault] = {}
        self.dead_cursors: dict[str, tuple[str, Fault]] = {}
        self.heartbeats = True
        self.counts: Counter[str] = Counter()
        self.stream, self.bus = ItemsStream(harness.stack), Bus(Random(1))  # noqa: S311 - reproducible on purpose

    def wait(self, seconds: float) -> None:
        """Let time pass: for Plaid's timers, the queues' timeouts, heartbeats, and invocations that run out of time."""
        while seconds > 0:
            beating = [each for each in self.live if each.beats]
            step = min(seconds, _BEAT_SECONDS) if beating else seconds
            seconds -= step
            for invocation in self.live:
                if not invocation.paused:
                    invocation.spent += step
            self.clock.advance(step)
            if self.heartbeats and SQS not in self.outages:
                for invocation in beating:
                    invocation.beat()
        self.plaid.run_due()

    @property
    def items(self) -> list[str]:
        """The Items that were exchanged at Plaid."""
        return [link.item_id for link in self.links if link.item_id in self.plaid.items]

    # ---- the application's requests

    def post_link(self, link: Link) -> Invocation | None:
        def on_end(invocation: Invocation) -> None:
            link.status = invocation.status
            if link.status == 201:
                self.checker.item(link.item_id).registered = True

        event = http_event("POST", "/items", json.dumps({"public_token": link.public_token}))
        return self._invoke("items", event, on_end)

    def request_removal(self, item_id: str, *, erase: bool) -> Invocation | None:
        def on_end(invocation: Invocation) -> None:
            self.removals[item_id, erase] = invocation.status

        query = {"transactions": "erase" if erase else "keep"}
        return self._invoke("items", http_event("DELETE", f"/items/{item_id}", query=query), on_end)

    def request_update_mode(self, item_id: str) -> str | None:
        """Create a link token for update mode with account selection; None where that is refused or fails."""
        created: list[str] = []

        def on_end(invocation: Invocation) -> None:
            if invocation.status == 201:
                created.append(json.loads(invocation.response["body"])["link_token"])

        body = {"client_user_id": "user", "item_id": item_id, "account_selection": True}
        self.complete(self._invoke("items", http_event("POST", "/link-tokens", json.dumps(body)), on_end))
        return created[0] if created else None

    def finish_update_mode(self, item_id: str, link_token: str) -> Invocation | None:
        def on_end(invocation: Invocation) -> None:
            self.updates[item_id, link_token] = invocation.status

        event = http_event("POST", f"/items/{item_id}/sync", json.dumps({"link_token": link_token}))
        return self._invoke("items", event, on_end)

    # ---- Plaid's webhooks

    def undelivered(self) -> list[Delivery]:
        return [delivery for delivery in self.plaid.webhooks() if delivery.state == "held"]

    def lose(self, delivery: Delivery) -> None:
        delivery.state = "lost"
        self.checker.item(delivery.payload["item_id"]).unreported = True

    def deliver(
        self, delivery: Delivery, *, new_signature: bool = True, clock_error: timedelta = timedelta(0)
    ) -> Invocation | None:
        """Deliver a webhook, signed now or (a repeat) with the signature of the first delivery."""
        if new_signature or delivery.number not in self.tokens:
            self.tokens[delivery.number] = self.plaid.sign(delivery.body)
        token, sent = self.tokens[delivery.number], self.checker.steps

        def on_end(invocation: Invocation) -> None:
            if invocation.status != 200:
                result = f"webhooks rejected with {invocation.status}" if invocation.status else "webhooks unanswered"
                self.counts[result] += 1
                return
            delivery.state = "delivered"
            self.counts["webhooks acknowledged"] += 1
            if json.loads(invocation.response["body"])["result"] == "queued":
                self.checker.item(delivery.payload["item_id"]).webhooks.setdefault(token, sent)

        event = {"body": delivery.body.decode(), "isBase64Encoded": False, "headers": {"plaid-verification": token}}
        return self._invoke("webhook", event, on_end, clock_error)

    # ---- invocations

    def invoke_sync(
        self, count: int = BATCH_SIZE, *, clock_error: timedelta = timedelta(0), paused: bool = False
    ) -> Invocation | None:
        """Receive a batch and invoke the sync function; None where nothing is visible or all environments are busy."""
        records = self.queues.receive(count) if self._free("sync") and SQS not in self.outages else []
        if not records:
            return None
        in_flight = self.queues.in_flight()
        assert in_flight <= ENVIRONMENTS * BATCH_SIZE, f"{in_flight} messages in flight"

        def on_end(invocation: Invocation) -> None:
            if SQS not in self.outages:
                self.queues.acknowledge(records, invocation.response)

        invocation = self._invoke("sync", {"Records": records}, on_end, clock_error)
        assert invocation is not None
        invocation.paused = paused
        return invocation

    def publish(self, fault_at: int = 0, fault: str = "") -> bool:
        """Let the changes function publish a batch of the stream; return whether there was one."""
        records = self.stream.records()
        if not records or not self._free("changes"):
            return False

        def on_end(invocation: Invocation) -> None:
            self.stream.acknowledge(records, invocation.response)

        self.complete(self._invoke("changes", {"Records": records}, on_end), fault_at, fault)
        return True

    def invoke_sweep(self) -> Invocation | None:
        return self._invoke("sweep", {}, lambda _: None, timedelta(0))

    def _free(self, function: str) -> Environment | None:
        return next((environment for environment in self.environments[function] if not environment.busy), None)

    def _invoke(
        self,
        function: str,
        event: dict[str, Any],
        on_end: Callable[[Invocation], None],
        clock_error: timedelta | None = None,
    ) -> Invocation | None:
        """Invoke a function, up to its first call; None where all of its environments are busy."""
        environment = self._free(function)
        if environment is None:
            return None
        environment.busy = True
        environment.clock_error = environment.clock_error if clock_error is None else clock_error
        handler, seconds = environment.handler(), LAMBDA_SECONDS[function]
        invocation: Invocation

        def run() -> Any:
            return handler(event, lambda_context_by(lambda: seconds - invocation.spent))

        invocation = Invocation(run=run, sleep=environment.sleep, environment=environment, on_end=on_end)
        self.live.append(invocation)
        invocation.begin()
        self._after_step(invocation)
        return invocation

    def step(self, invocation: Invocation | None, fault: Fault | None = None) -> None:
        """Let an invocation make its next call, or inject a fault into it; Lambda kills one that is out of time."""
        if invocation is None or invocation.ended:
            return
        if invocation.spent > LAMBDA_SECONDS[invocation.environment.function]:
            fault = Fault.CRASH_BEFORE
            self.counts["timeouts"] += 1
        call = invocation.waiting
        assert call is not None
        fault = fault or self._ongoing(call)
        self.counts[f"injected: {fault}" if fault else "calls"] += 1
        self.checker.before_call(invocation.pulls, call)
        invocation.environment.act()
        invocation.proceed(fault)
        self.wait(self._duration(invocation, call, fault))
        if invocation.succeeded is not None:
            self.checker.after_call(invocation.pulls, invocation.succeeded)
            self.bus.observe(invocation.succeeded)
        self._after_step(invocation)

    def _ongoing(self, call: Call) -> Fault | None:
        """Return what a call meets in the present outages."""
        if call.is_page:
            for item_id, (cursor, fault) in list(self.dead_cursors.items()):
                if call.body["access_token"] == self.plaid.item(item_id).access_token:
                    if call.body.get("cursor") == cursor:
                        return fault
                    if not call.body.get("cursor"):
                        del self.dead_cursors[item_id]
        return self.outages.get(call.service)

    @staticmethod
    def _duration(invocation: Invocation, call: Call, fault: Fault | None) -> float:
        if fault is not Fault.RESPONSE_LOST:
            return CALL_SECONDS
        return _PLAID_TIMEOUT if call.service == PLAID else _TIMEOUTS[invocation.environment.function]

    def _after_step(self, invocation: Invocation) -> None:
        if not invocation.ended:
            return
        self.live.remove(invocation)
        environment = invocation.environment
        environment.busy, environment.beat = False, None
        # A process that died starts again with an empty memory.
        environment.warm = environment.warm and not invocation.killed and invocation.failure is None
        if invocation.failure is not None and not isinstance(invocation.failure, TransientError):
            raise AssertionError(f"{environment.function} raised {invocation.failure!r}") from invocation.failure
        invocation.on_end(invocation)

    def complete(self, invocation: Invocation | None, fault_at: int = 0, fault: str = "") -> None:
        """Let an invocation run to its end, with a fault injected into its n-th call (0: none)."""
        number = 0
        while invocation is not None and not invocation.ended:
            number += 1
            self.step(invocation, Fault(fault) if number == fault_at else None)

    def close(self) -> None:
        """Leave nothing behind for the next schedule."""
        self.outages.clear()
        for invocation in self.live:
            while not invocation.ended:
                invocation.proceed(Fault.CRASH_BEFORE)
        self.queues.purge()
        self.harness.clear_tables()
        self.plaid.stop()
        self.clock.close()
