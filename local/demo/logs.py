"""What the deployed functions log, added up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LogRecord = Mapping[str, Any]
_RESULTS = {"webhook rejected": "rejected", "webhook unprocessable": "unusable", "webhook not accepted": "failed"}


@dataclass(slots=True)
class LogTail:
    """Reads what was appended to a log since the last time."""

    path: Path
    offset: int = 0

    def records(self) -> Iterator[LogRecord]:
        """Yield the new lines that are JSON objects; an incomplete line comes the next time."""
        if not self.path.exists():
            return
        with self.path.open("rb") as log:
            log.seek(self.offset)
            text = log.read()
        complete = text[: text.rfind(b"\n") + 1]
        self.offset += len(complete)
        for line in complete.splitlines():
            if line.startswith(b"{"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


@dataclass(slots=True)
class Totals:
    """The sums of everything logged so far."""

    webhooks: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    committed: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)

    def add(self, record: LogRecord) -> None:
        message = str(record.get("message"))
        if "_aws" in record:
            self.messages += int(sum(record.get("MessagesReceived", ())))
        elif message == "webhook accepted" or message in _RESULTS:
            result = _RESULTS.get(message) or str(record.get("result"))
            self.webhooks[result] += 1
            if result == "rejected":
                self.rejections[str(record.get("reason"))] += 1
        elif message == "sync failed":
            self.failures[str(record.get("code"))] += 1
        elif message == "item synced":
            self.outcomes[str(record.get("outcome"))] += 1
            self.restarts += int(record.get("PaginationRestarts", 0))
            if record.get("outcome") == "committed":
                self.committed[record["item_id"]] += 1
                changes = ("TransactionsAdded", "TransactionsModified", "TransactionsRemoved")
                self.written[record["item_id"]] += sum(record.get(change, 0) for change in changes)
