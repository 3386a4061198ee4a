"""One run of the demo: the local Plaid, the deployed stack, an application, and what the steps need of them."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from plaid_sync.domain.clock import format_timestamp

from local.demo.application import Application, DemoError
from local.demo.logs import LogTail, Totals
from local.plaid import Behavior, OffsetClock, PlaidServer, PlaidSimulator, utc_now
from local.snapshot import stored_cursor
from local.stack import LocalStack
from local.stack.stack import plaid_credentials

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from local.demo.logs import LogRecord

LAG = timedelta(seconds=200)
"""Plaid's clock starts so far behind that it can be put forward to the next retry of a webhook, which Plaid makes after
30 and 120 s. A signature is valid for five minutes, so the lag harms none."""
_POLL_SECONDS = 0.05
_FAILURES = {
    "INTERNAL_SERVER_ERROR": "internal error at Plaid",
    "TRANSACTIONS_SYNC_LIMIT": "rate limit at Plaid",
}


@dataclass(slots=True)
class Run:
    """What the steps act on.

    Attributes:
        names: Names of Items that are gone before the end, by id.
        exact_rows: Rows whose amounts the report shows: Item and transaction.
    """

    options: argparse.Namespace
    plaid: PlaidSimulator
    clock: OffsetClock
    stack: LocalStack
    application: Application
    say: Callable[[str], None]
    rng: Random
    tails: tuple[LogTail, ...]
    totals: Totals = field(default_factory=Totals)
    items: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    exact_rows: list[tuple[str, str]] = field(default_factory=list)

    def name(self, item_id: str) -> str:
        """Return an Item's name: its number, once it is linked."""
        if item_id in self.items:
            return f"Item {self.items.index(item_id) + 1}"
        return self.names.get(item_id, "a new Item")

    def expect(self, expectation: str, *, met: bool) -> None:
        """Note an expectation that is not met: the run goes on, and fails at the end."""
        if not met:
            self.broken.append(expectation)
            self.say(f"NOT AS EXPECTED: {expectation}")

    def look(self) -> Totals:
        """Read what the functions have logged meanwhile, say what is out of the ordinary, and return the totals."""
        for tail in self.tails:
            for record in tail.records():
                self.totals.add(record)
                if line := self._describe(record):
                    self.say(f"  {line}")
        return self.totals

    def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait until something has happened, at Plaid or in the functions' logs."""
        deadline = time.monotonic() + self.options.patience
        while not happened():
            if time.monotonic() > deadline:
                raise DemoError(
                    f"This did not happen within {self.options.patience:.0f} s: {what}. Failed syncs so far: "
                    f"{dict(self.totals.failures)}. On a slow machine, raise --patience."
                )
            time.sleep(_POLL_SECONDS)
            self.look()

    def settle(self) -> Totals:
        """Wait until no webhook is on its way and no message is in the queue."""
        self.wait_until(self._is_settled, "all webhooks delivered and the sync queue empty")
        return self.look()

    def _is_settled(self) -> bool:
        # In this order: a webhook that Plaid has delivered is in the queue; a message that has left the queue is done.
        if not (self.plaid.scheduler.pending() or self.queue_depth() or self.plaid.scheduler.pending()):
            return not self._is_failing()
        self._skip_to_next_retry()
        return False

    def _is_failing(self) -> bool:
        """Return whether any Item is to be attempted again; the emulator runs no schedule, so sweep when one is due."""
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(TableName=self.stack.items_table)
        failing = [row for page in pages for row in page["Items"] if "failing_since" in row]
        if any(row["next_attempt_at"]["S"] <= format_timestamp(utc_now()) for row in failing):
            self.stack.invoke("sweep", {})
        return bool(failing)

    def queue_depth(self) -> int:
        """Return how many messages are in the sync queue, those in flight included."""
        queue = {"QueueUrl": self.stack.sync_queue_url, "AttributeNames": ["All"]}
        attributes = self.stack.client("sqs").get_queue_attributes(**queue)["Attributes"]
        return sum(int(attributes[f"ApproximateNumberOfMessages{state}"]) for state in ("", "NotVisible", "Delayed"))

    def _skip_to_next_retry(self) -> None:
        """Put Plaid's clock forward where all that it waits for is the time to retry a webhook."""
        undelivered = [delivery for delivery in self.plaid.webhooks() if delivery.next_at is not None]
        due = min((delivery.next_at for delivery in undelivered if delivery.next_at), default=None)
        if due is None or any(not delivery.attempts for delivery in undelivered):
            return
        wait = due - self.clock()
        if timedelta(seconds=1) < wait and self.clock() + wait < utc_now():
            self.say(f"Plaid would retry a failed webhook in {wait.total_seconds():.0f} s: its clock is put forward")
            self.clock.advance(wait)

    def missing_changes(self, item_id: str) -> int:
        """Return how many of an Item's changes at Plaid the tables do not have yet."""
        synced = self.plaid.final_cursors(item_id).get(stored_cursor(self.stack, item_id), 0)
        return self.plaid.item(item_id).log.head - synced

    def rows_at_plaid(self, item_id: str) -> int:
        return len(self.plaid.item(item_id).log.live)

    def _describe(self, record: LogRecord) -> str | None:
        """Return a log line in plain words, if it is out of the ordinary."""
        code, found = str(record.get("code")), None
        match record.get("message"):
            case "webhook not accepted":
                return f"webhook: 503 ({record.get('reason')}), Plaid retries"
            case "message dead-lettered":
                return f"sync: message dead-lettered: {record.get('reason')}"
            case "sync failed":
                found = f"{_FAILURES.get(code, code)}, attempted again at {str(record.get('next_attempt_at'))[11:19]}"
            case "item synced" if record.get("outcome") == "unregistered":
                found = "not linked yet, the message is deleted"
            case "item synced" if record.get("outcome") == "needs_user":
                found = "the user has to log in at the bank again, and the Item's state says so"
            case "item synced" if record.get("FullResyncs"):
                found = "full resync"
            case "item synced" if record.get("PaginationRestarts"):
                found = "data changed between two pages, pull restarted from the stored cursor"
        return f"sync: {self.name(str(record['item_id']))}: {found}" if found else None


@contextmanager
def start_run(options: argparse.Namespace, say: Callable[[str], None]) -> Iterator[Run]:
    say("== Deploy template.yaml onto an emulated AWS, beside a local Plaid")
    clock = OffsetClock(lambda: utc_now() - LAG)
    behavior = Behavior(initial_seconds=None, historical_seconds=None)
    plaid = PlaidSimulator(options.seed, clock, *plaid_credentials(), behavior)
    with PlaidServer(plaid) as server, LocalStack.start(server.base_url, progress=say) as stack:
        say(f"{len(stack.functions)} functions deployed; each calls AWS with its own role, and IAM is enforced")
        rng = Random(f"{options.seed}:demo")  # noqa: S311 # nosec B311 - reproducible on purpose
        tails = tuple(LogTail(stack.emulator.logs / f"{name}.log") for name in ("webhook", "sync"))
        yield Run(options, plaid, clock, stack, Application.create(stack), say, rng, tails)
