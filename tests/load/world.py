"""The stack under load: deployed once, with so many Items linked and synced, and what its functions log."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from local.comparison import Verdict, compare
from local.demo.application import Application
from local.demo.logs import LogTail
from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from local.plaid.items import Phase
from local.snapshot import tables_of, truth_of
from local.stack import LocalStack
from local.stack.stack import plaid_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINKERS: Final = 4
_POLL_SECONDS: Final = 0.1
_SAY_SECONDS: Final = 10.0
_HISTORY: Final = 5
"""Transactions of an Item before the load."""
PATIENCE_SECONDS: Final = 900.0


class StuckError(Exception):
    """The queue is not worked off in time."""


@dataclass(frozen=True, slots=True)
class World:
    """The deployed stack, the local Plaid and the linked Items."""

    plaid: PlaidSimulator
    stack: LocalStack
    progress: Callable[[str], None]
    items: list[str] = field(default_factory=list)

    def link(self, number: int) -> None:
        """Link so many Items through the Items API, and let them sync."""
        application = Application.create(self.stack)
        with ThreadPoolExecutor(_LINKERS) as pool:
            for done, item_id in enumerate(pool.map(lambda _: self._link(application), range(number)), start=1):
                self.items.append(item_id)
                if done % 100 == 0:
                    self.progress(f"{done:,} of {number:,} Items linked")
        self.settle()

    def _link(self, application: Application) -> str:
        token = self.plaid.create_public_token(self.stack.webhook_url, _HISTORY)
        item_id = str(application.call("POST", "/items", {"public_token": token})["item_id"])
        while self.plaid.advance_phase(item_id) < Phase.HISTORICAL:
            pass
        return item_id

    def settle(self) -> None:
        """Wait until no webhook is on its way and no message is in the queue."""
        began = said_at = time.monotonic()
        while self.plaid.scheduler.pending() or self._depth() or self.plaid.scheduler.pending():
            now = time.monotonic()
            if now - began > PATIENCE_SECONDS:
                raise StuckError(f"{self._depth()} messages are left after {PATIENCE_SECONDS:.0f} s")
            if now - said_at > _SAY_SECONDS:
                said_at = now
                self.progress(f"{self.plaid.scheduler.pending():,} webhooks to send, {self._depth():,} messages left")
            time.sleep(_POLL_SECONDS)

    def _depth(self) -> int:
        queue = {"QueueUrl": self.stack.sync_queue_url, "AttributeNames": ["All"]}
        attributes = self.stack.client("sqs").get_queue_attributes(**queue)["Attributes"]
        return sum(int(attributes[f"ApproximateNumberOfMessages{state}"]) for state in ("", "NotVisible"))

    def verdict(self) -> Verdict:
        """Compare every row of every Item with Plaid."""
        return compare(truth_of(self.plaid), tables_of(self.stack))

    def tail(self, function: str) -> LogTail:
        """Return what a function logs from now on."""
        path = self.stack.emulator.logs / f"{function}.log"
        return LogTail(path, path.stat().st_size if path.exists() else 0)

    @contextmanager
    def queue_paused(self) -> Iterator[None]:
        """Let no message be received for the time of the `with` block."""
        functions = self.stack.client("lambda")
        (mapping,) = (
            each["UUID"]
            for each in functions.list_event_source_mappings()["EventSourceMappings"]
            if each["EventSourceArn"].endswith(".fifo")
        )
        functions.update_event_source_mapping(UUID=mapping, Enabled=False)
        yield
        functions.update_event_source_mapping(UUID=mapping, Enabled=True)


@contextmanager
def loaded_world(progress: Callable[[str], None]) -> Iterator[World]:
    """Deploy the stack beside a Plaid that sends one webhook for each change."""
    behavior: dict[str, Any] = {"initial_seconds": None, "historical_seconds": None, "legacy_webhooks": False}
    plaid = PlaidSimulator(1, utc_now, *plaid_credentials(), Behavior(rate_limits=False, **behavior))
    with PlaidServer(plaid) as server, LocalStack.start(server.base_url, progress=progress) as stack:
        yield World(plaid, stack, progress)
