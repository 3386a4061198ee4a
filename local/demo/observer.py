"""Watches the deployed stack while it works: its functions' logs, its queues, the rows in its table."""

from __future__ import annotations

import json
import threading
import time
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.demo.options import DemoError
from local.demo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from local.demo.progress import LogRecord
    from local.stack import LocalStack

_LOOK_EVERY_SECONDS = 0.1
_FUNCTIONS = ("webhook", "sync")


@dataclass(slots=True)
class LogTail:
    """Reads what was appended to a log since the last time."""

    path: Path
    offset: int = 0

    def records(self) -> Iterator[LogRecord]:
        """Yield the new lines that are JSON objects; what is not a whole line yet comes next time."""
        if not self.path.exists():
            return
        with self.path.open("rb") as log:
            log.seek(self.offset)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            if line.startswith(b"{"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


class Observer:
    """Looks at the stack several times a second, in the background, for as long as the `with` block lasts."""

    def __init__(self, stack: LocalStack, told: Callable[[LogRecord], None] = lambda _: None) -> None:
        self._stack = stack
        self._told = told
        self._tails = [LogTail(stack.emulator.logs / f"{name}.log") for name in _FUNCTIONS]
        self._sqs: Any = stack.client("sqs")
        self._dynamodb: Any = stack.client("dynamodb")
        self._progress = Progress()
        self._looked = threading.Condition()
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="demo-observer", daemon=True)

    def __enter__(self) -> Self:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def progress(self) -> Progress:
        """Return a copy of what was seen so far."""
        with self._looked:
            return deepcopy(self._progress)

    def look(self) -> Progress:
        """Look now, and return what was seen so far."""
        with self._looked:
            self._look()
        return self.progress()

    def wait_until(self, happened: Callable[[Progress], bool], what: str, patience: float) -> None:
        """Wait until something has been seen.

        Raises:
            DemoError: it does not happen; `what` says what it is.
        """
        deadline = time.monotonic() + patience
        with self._looked:
            while not happened(self._progress):
                if self._failure:
                    raise DemoError(f"The stack cannot be watched any more: {self._failure}") from self._failure
                if not self._looked.wait(timeout=deadline - time.monotonic()):
                    raise DemoError(f"Waited {patience:.0f} s in vain for this: {what}.")

    def queue_depth(self) -> int:
        """Return how many messages are in the sync queue now, those being worked on and postponed ones included."""
        return self._depth(self._stack.sync_queue_url)

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_SECONDS):
            try:
                with self._looked:
                    self._look()
                    self._looked.notify_all()
            except Exception as error:  # noqa: BLE001 - told to whoever waits
                with self._looked:
                    self._failure = error
                    self._looked.notify_all()
                return

    def _look(self) -> None:
        synced: set[str] = set()
        for tail in self._tails:
            for record in tail.records():
                self._progress.add(record)
                self._told(record)
                if record.get("outcome") == "committed":
                    synced.add(str(record["item_id"]))
        for item_id in synced:
            self._progress.item(item_id).rows = self._count_rows(item_id)
        self._progress.queue = self.queue_depth()
        self._progress.dead_letters = self._depth(self._stack.dead_letter_queue_url)

    def _depth(self, queue_url: str) -> int:
        attributes = self._sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
        names = ("", "NotVisible", "Delayed")
        return sum(int(attributes.get(f"ApproximateNumberOfMessages{name}", 0)) for name in names)

    def _count_rows(self, item_id: str) -> int:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._stack.transactions_table,
            Select="COUNT",
            KeyConditionExpression="item_id = :item_id",
            FilterExpression="attribute_not_exists(removed_at)",
            ExpressionAttributeValues={":item_id": {"S": item_id}},
        )
        return sum(int(page["Count"]) for page in pages)
