"""The world of one schedule: a Plaid, the stack's queues and tables, workers, and everything that can happen to them.

What happens here is what a schedule is made of. Nothing in it decides: the schedule does (`machine.py`).
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.plaid import transactions as plaid_transactions
from plaid_sync.core.sync import plan

from local.plaid import Phase, PlaidSimulator
from tests.component.functions import lambda_context_by
from tests.component.world import http_event, received, stale_receipts_allowed
from tests.faults.bench import Bench, Time
from tests.faults.boundary import Actor, Strike
from tests.faults.watch import DivergenceError, Watch
from tests.faults.workers import Environment, Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.plaid import Behavior, Delivery

LAMBDA_SECONDS: Final = {"sync": 300.0, "webhook": 5.0, "items": 120.0}
CALL_SECONDS: Final = 0.05
"""What a call takes in the schedule's time."""
WEBHOOK_URL: Final = "http://plaid-sync.test/webhooks/plaid"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Limits made small, so that small histories need several pages and several transactions.

    Attributes:
        page: transactions in one of Plaid's pages.
        transaction: rows in one of DynamoDB's transactions.
    """

    page: int
    transaction: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in the dead-letter queue.

    Attributes:
        reason: why it was parked; empty where its receives had run out.
    """

    body: str
    group: str
    reason: str


@dataclass(slots=True)
class Invocation:
    """An actor in its execution environment.

    Attributes:
        records: the queue messages that a sync was given.
        suspended: whether its own time stands still while it waits (a frozen process), so that no timeout ends it.
        spent: seconds of its own time.
        pulls: when (in steps) it began the pull of an Item that it is at.
    """

    actor: Actor
    environment: Environment
    done: Callable[[Invocation], None]
    records: list[dict[str, Any]] = field(default_factory=list)
    suspended: bool = False
    spent: float = 0.0
    pulls: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Link:
    """A user's attempt to link an Item, repeated by its application until it is decided.

    Attributes:
        status: the last answer; None before the first.
    """

    public_token: str
    item_id: str
    status: int | None = None


@dataclass(slots=True)
class World:
    """The world of one schedule."""

    bench: Bench
    time: Time
    plaid: PlaidSimulator
    fleet: Fleet
    watch: Watch
    live: list[Invocation] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    removals: dict[tuple[str, bool], int] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)
    tokens: dict[int, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def create(cls, bench: Bench, behavior: Behavior, sizes: Sizes, queues_ahead: timedelta) -> World:
        """Begin: nothing is linked, the queues are empty."""
        time = Time(bench.clock_file)
        time.queues_ahead = queues_ahead
        plaid = PlaidSimulator(seed=7, clock=time, behavior=behavior)
        plaid.hold_webhooks()
        bench.server.replace(plaid)
        plaid_transactions.PAGE_SIZE, plan.MAXIMUM_ROWS = sizes.page, sizes.transaction  # type: ignore[misc] # made small
        bench.store_secret(plaid.secret)
        return cls(bench, time, plaid, Fleet(bench, time), Watch(bench, plaid))

    # ---- time

    def wait(self, seconds: float) -> None:
        """Let time pass: for Plaid's timers, the queues' timeouts, and workers that run out of time."""
        for invocation in self.live:
            if not invocation.suspended:
                invocation.spent += seconds
        self.time.advance(seconds)
        self.plaid.run_due()

    # ---- linking

    def link(self, transactions: int) -> Link:
        """Let a user go through Link."""
        token = self.plaid.create_public_token(WEBHOOK_URL, transactions, days=60)
        link = Link(token, self.plaid.public_tokens[token].item.item_id)
        self.links.append(link)
        return link

    def post_link(self, link: Link) -> Invocation | None:
        """Let the application post a public token to `/items`."""
        environment = self.fleet.free("items")
        if environment is None:
            return None
        event = http_event("POST", "/items", json.dumps({"public_token": link.public_token}))

        def done(invocation: Invocation) -> None:
            link.status = 0 if invocation.actor.killed else invocation.actor.answer["statusCode"]
            if link.status == 201:
                self.watch.registered(link.item_id)

        return self._invoke(environment, event, f"link {self.links.index(link)}", done)

    @property
    def items(self) -> list[str]:
        """The Items that were exchanged at Plaid."""
        return [link.item_id for link in self.links if link.item_id in self.plaid.items]

    # ---- webhooks

    def undelivered(self) -> list[Delivery]:
        """Return the webhooks that Plaid still has to deliver."""
        return [one for one in self.plaid.webhooks() if one.state == "held" and one.number not in self.lost]

    def lose(self, delivery: Delivery) -> None:
        """Never deliver a webhook."""
        self.lost.add(delivery.number)
        self.watch.lost(delivery.payload["item_id"])

    def deliver(self, delivery: Delivery, *, fresh: bool, ahead: timedelta) -> Invocation | None:
        """Deliver a webhook, signed now or (a repeat) as the first time."""
        environment = self.fleet.free("webhook")
        if environment is None:
            return None
        environment.ahead = ahead
        if fresh or delivery.number not in self.tokens:
            self.tokens[delivery.number] = self.plaid.sign(delivery.body)
        token, item_id = self.tokens[delivery.number], delivery.payload["item_id"]
        event = {"body": delivery.body.decode(), "isBase64Encoded": False, "headers": {"plaid-verification": token}}
        sent = self.watch.steps

        def done(invocation: Invocation) -> None:
            answer = invocation.actor.answer
            if answer is None or answer["statusCode"] != 200:
                self.counts[f"webhooks answered {answer['statusCode']}" if answer else "webhooks unanswered"] += 1
                return
            delivery.state = "delivered"
            self.counts["webhooks acknowledged"] += 1
            if json.loads(answer["body"])["result"] == "queued":
                self.watch.acknowledged(item_id, token, sent)

        return self._invoke(environment, event, f"webhook {delivery.number}", done)

    # ---- the queue

    def sync(self, count: int, *, ahead: timedelta, suspended: bool) -> Invocation | None:
        """Receive a batch and invoke the sync function with it; None where nothing is visible or all are busy."""
        environment = self.fleet.free("sync")
        records = received(self.bench.client("sqs"), self._queue, count) if environment else []
        if environment is None or not records:
            return None
        environment.ahead = ahead
        invocation = self._invoke(environment, {"Records": records}, "sync", self._acknowledge)
        invocation.suspended = suspended
        return invocation

    def _acknowledge(self, invocation: Invocation) -> None:
        """Delete what the handler did not report as failed; a worker that died or raised reports nothing."""
        answer = invocation.actor.answer
        if answer is None:
            return
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        records = invocation.records
        assert failed <= {record["messageId"] for record in records}
        sqs = self.bench.client("sqs")
        for record in records:
            if record["messageId"] not in failed:
                with stale_receipts_allowed(sqs):
                    sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=record["receiptHandle"])

    def send(self, body: str, group: str) -> None:
        """Put a message on the queue: a trigger by hand, or something foreign."""
        self.bench.client("sqs").send_message(
            QueueUrl=self._queue, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=str(uuid.uuid4())
        )

    def redrive(self) -> int:
        """Put what is in the dead-letter queue back, but for what was not ours; return how many that were."""
        ours = [letter for letter in self._letters() if not letter.reason.startswith("malformed")]
        for letter in ours:
            self.send(letter.body, letter.group)
        return len(ours)

    def _letters(self) -> Iterator[Letter]:
        """Take everything out of the dead-letter queue."""
        sqs = self.bench.client("sqs")
        while letters := sqs.receive_message(
            QueueUrl=self._dead_letters, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
        ).get("Messages"):
            for letter in letters:
                sqs.delete_message(QueueUrl=self._dead_letters, ReceiptHandle=letter["ReceiptHandle"])
                reason = letter.get("MessageAttributes", {}).get("reason", {}).get("StringValue", "")
                yield Letter(letter["Body"], letter["Attributes"]["MessageGroupId"], reason)

    def waiting(self) -> int:
        """Return how many messages are on the queue, hidden ones included."""
        answer = self.bench.client("sqs").get_queue_attributes(QueueUrl=self._queue, AttributeNames=["All"])
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(answer["Attributes"][name]) for name in names)

    @property
    def _queue(self) -> str:
        return self.bench.deployment.stack.sync_queue_url

    @property
    def _dead_letters(self) -> str:
        return self.bench.deployment.stack.dead_letter_queue_url

    # ---- invocations

    def _invoke(
        self, environment: Environment, event: dict[str, Any], name: str, done: Callable[[Invocation], None]
    ) -> Invocation:
        environment.busy = True
        handler, seconds = self.fleet.handler(environment), LAMBDA_SECONDS[environment.function]
        invocation: Invocation

        def run() -> Any:
            return handler(event, lambda_context_by(lambda: seconds - invocation.spent))

        invocation = Invocation(Actor(name, run, self._sleep), environment, done, event.get("Records", []))
        self.live.append(invocation)
        invocation.actor.begin()
        self._after_step(invocation)
        return invocation

    def _sleep(self, seconds: float) -> None:
        self.time.advance(seconds)

    def step(self, invocation: Invocation | None, strike: Strike | None = None) -> None:
        """Let an invocation make the call that it waits at, or strike it; out of time, Lambda kills it there."""
        if invocation is None or invocation.actor.ended:
            return
        if invocation.spent > LAMBDA_SECONDS[invocation.environment.function]:
            strike = Strike.CRASH_BEFORE
            self.counts["timeouts"] += 1
        call = invocation.actor.waiting
        assert call is not None
        self.counts[f"struck: {strike}" if strike else "calls"] += 1
        self.watch.about_to(invocation, call)
        invocation.actor.step(strike)
        invocation.spent += CALL_SECONDS
        self.time.advance(CALL_SECONDS)
        if invocation.actor.effect is not None:
            self.watch.took_effect(invocation, invocation.actor.effect)
        self._after_step(invocation)

    def _after_step(self, invocation: Invocation) -> None:
        actor, environment = invocation.actor, invocation.environment
        if not actor.ended:
            return
        self.live.remove(invocation)
        environment.busy = False
        # A process that died starts again with an empty memory.
        environment.built = environment.built and not actor.killed and actor.failure is None
        if actor.failure is not None:
            raise AssertionError(f"{actor.name} raised {actor.failure!r}") from actor.failure
        invocation.done(invocation)

    def finish(self, invocation: Invocation) -> None:
        """Let an invocation run to its end."""
        while not invocation.actor.ended:
            self.step(invocation)

    def abandon(self) -> None:
        """End all invocations where they stand."""
        for invocation in list(self.live):
            while not invocation.actor.ended:
                invocation.actor.step(Strike.CRASH_BEFORE)
        self.live.clear()

    # ---- what others do

    def annotate(self, item_id: str, number: int) -> None:
        """Let an application write an attribute of its own on one of the live rows."""
        rows = sorted(row for row, values in self.watch.rows(item_id).items() if "removed_at" not in values)
        if rows:
            self.watch.annotate(item_id, rows[number % len(rows)])

    def remove(self, item_id: str, *, erase: bool) -> Invocation | None:
        """Let the application remove an Item."""
        environment = self.fleet.free("items")
        if environment is None:
            return None
        wish = {"transactions": "erase" if erase else "keep"}
        event = http_event("DELETE", f"/items/{item_id}", query=wish)

        def done(invocation: Invocation) -> None:
            status = 0 if invocation.actor.killed else invocation.actor.answer["statusCode"]
            self.removals[item_id, erase] = status

        return self._invoke(environment, event, f"remove {item_id}", done)

    def hint(self, item_id: str, code: str) -> None:
        """Let Plaid send an ITEM webhook that nothing has led to: an old one, or a warning."""
        self.plaid.fire_webhook(item_id, "ITEM", code)
        if code.startswith("PENDING"):
            self.warned.add(item_id)

    def rotate_secret(self, *, told: bool) -> None:
        """Rotate the Plaid secret; the stored one follows at once, or when `settle` does it."""
        self.plaid.secret = f"{self.plaid.secret}+"
        if told:
            self.store_secret()

    def store_secret(self) -> None:
        """Store Plaid's secret as it is."""
        self.bench.store_secret(self.plaid.secret)

    def expire_tombstones(self) -> None:
        """Let the tombstones' lifetime pass, and DynamoDB delete them."""
        if self.waiting() or self.live:
            return  # a queue keeps messages for days, and a worker lives for minutes
        self.wait(timedelta(days=91).total_seconds())
        self.watch.expire(int(self.time().timestamp()))

    # ---- the end

    def settle(self) -> None:
        """Let the faults end, and everything that is under way come to rest; no webhook is sent that was lost."""
        for invocation in list(self.live):
            self.finish(invocation)
        self.store_secret()
        self.plaid.clear_faults()
        for item_id in self.items:
            self.plaid.force_mutation(item_id, 0)
            if self.plaid.item(item_id).error_code and not self.plaid.item(item_id).removed:
                self.plaid.repair_login(item_id)
            elif item_id in self.warned:
                self.plaid.fire_webhook(item_id, "ITEM", "LOGIN_REPAIRED")  # the user renews the connection
        self._complete_links()
        self._complete_removals()
        for item_id in self.items:
            while not self.plaid.item(item_id).removed and self.plaid.item(item_id).phase < Phase.HISTORICAL:
                self.plaid.advance_phase(item_id)
        self._drain()
        if self.redrive():
            self._drain()
        for letter in self._letters():
            if not letter.reason.startswith("malformed") and self.watch.is_registered(letter.group):
                raise DivergenceError(f"{letter.group}: given up although nothing is wrong any more: {letter}")

    def _complete_links(self) -> None:
        for link in self.links:
            for _ in range(5):
                if link.status is None or 400 <= link.status < 500 or link.status == 201:
                    break
                invocation = self.post_link(link)
                assert invocation is not None
                self.finish(invocation)

    def _complete_removals(self) -> None:
        """Let the application repeat what it has not been answered; who was told that there is no such Item, knows."""
        for item_id, erase in list(self.removals):
            for _ in range(5):
                if self.removals[item_id, erase] in {202, 404}:
                    break
                invocation = self.remove(item_id, erase=erase)
                assert invocation is not None
                self.finish(invocation)

    def _drain(self) -> None:
        for _ in range(60):
            for delivery in self.undelivered():
                invocation = self.deliver(delivery, fresh=True, ahead=timedelta(0))
                assert invocation is not None
                self.finish(invocation)
            invocation = self.sync(10, ahead=timedelta(0), suspended=False)
            if invocation is not None:
                self.finish(invocation)
            elif not self.waiting() and not self.undelivered():
                return
            else:
                self.wait(1900)
        raise AssertionError(f"the queue does not empty: {self.waiting()} messages, {self.counts}")

    def sweep(self) -> None:
        """Trigger each Item that can be synced, as the safety net under lost webhooks does."""
        for item_id in self.items:
            if self.watch.is_registered(item_id) and not self.watch.is_removed(item_id):
                body = json.dumps({"item_id": item_id, "cause": "sweep"})
                self.send(body, item_id)
        self._drain()

    def close(self) -> None:
        """Leave nothing behind for the next schedule."""
        self.abandon()
        for url in (self._queue, self._dead_letters):
            self.bench.client("sqs").purge_queue(QueueUrl=url)
        self.watch.wipe([link.item_id for link in self.links])
        self.plaid.stop()
        self.time.close()
