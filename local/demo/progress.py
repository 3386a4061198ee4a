"""What the functions have done so far, added up from the lines that they log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LogRecord = Mapping[str, Any]


@dataclass(slots=True)
class ItemProgress:
    """What has happened to one Item.

    Attributes:
        webhooks: its webhooks that were accepted.
        syncs: syncs that committed.
        written: rows written by them.
        rows: live rows in the table, as last counted.
        state: how its last sync ended, in a few words.
    """

    webhooks: int = 0
    syncs: int = 0
    written: int = 0
    rows: int = 0
    state: str = ""


@dataclass(slots=True)
class Progress:
    """What has happened in all.

    Attributes:
        webhooks: answers to webhooks: `queued`, `ignored`, `rejected`, `unusable`, `failed`.
        rejections: rejected webhooks by reason.
        triggers: messages that the sync function received.
        coalesced: those of them that another one's sync covered.
        outcomes: syncs by how they ended.
        failures: failed syncs by code.
        restarts: pulls that started again because the data changed under them.
        processes: processes of the webhook function.
        queue: messages in the queue, hidden ones included.
        dead_letters: messages in the dead-letter queue.
    """

    webhooks: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    triggers: int = 0
    coalesced: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    processes: int = 0
    queue: int = 0
    dead_letters: int = 0
    items: dict[str, ItemProgress] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Webhooks that were answered 200."""
        return self.webhooks["queued"] + self.webhooks["ignored"]

    def item(self, item_id: str) -> ItemProgress:
        """Return an Item's part."""
        return self.items.setdefault(item_id, ItemProgress())

    def add(self, record: LogRecord) -> None:
        """Add one line of a function's log."""
        self.triggers += _metric(record, "TriggersReceived")
        self.coalesced += _metric(record, "TriggersCoalesced")
        step = _STEPS.get(str(record.get("message")))
        if step:
            step(self, record)

    def _add_answer(self, record: LogRecord) -> None:
        answer = _ANSWERS.get(record["message"]) or str(record.get("result"))
        self.webhooks[answer] += 1
        self.processes += bool(record.get("cold_start"))
        if answer == "rejected":
            self.rejections[str(record.get("reason"))] += 1
        elif record.get("item_id"):
            self.item(str(record["item_id"])).webhooks += 1

    def _add_sync(self, record: LogRecord) -> None:
        outcome, item = str(record.get("outcome")), self.item(str(record["item_id"]))
        self.outcomes[outcome] += 1
        self.restarts += int(record.get("PaginationRestarts", 0))
        item.state = outcome.replace("_", " ")
        if outcome == "committed":
            added, modified, removed = (int(record[f"Transactions{kind}"]) for kind in ("Added", "Modified", "Removed"))
            item.syncs += 1
            item.written += added + modified + removed
            item.state = f"+{added} ~{modified} -{removed}"

    def _add_failure(self, record: LogRecord) -> None:
        self.failures[str(record.get("code"))] += 1
        self.item(str(record["item_id"])).state = f"again in {record.get('retry_in_seconds')} s"


_ANSWERS = {"webhook rejected": "rejected", "webhook unusable": "unusable", "webhook not accepted": "failed"}
_STEPS = {
    "webhook accepted": Progress._add_answer,  # noqa: SLF001 - the class's own
    "webhook rejected": Progress._add_answer,  # noqa: SLF001
    "webhook unusable": Progress._add_answer,  # noqa: SLF001
    "webhook not accepted": Progress._add_answer,  # noqa: SLF001
    "item synced": Progress._add_sync,  # noqa: SLF001
    "sync failed": Progress._add_failure,  # noqa: SLF001
}


def _metric(record: LogRecord, name: str) -> int:
    """Return the sum of a metric in a line of CloudWatch's embedded metric format."""
    values = record.get(name)
    return int(sum(values)) if "_aws" in record and isinstance(values, list) else 0
