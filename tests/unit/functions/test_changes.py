"""The function that publishes events: one record after the other, from the first that was not published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import ItemId

from tests.fakes.clock import NOON
from tests.fakes.functions import import_app, lambda_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plaid_sync.events import BusEvent


@dataclass(slots=True)
class Bus:
    """A bus that accepts so many events."""

    room: int
    published: list[tuple[str, Any]] = field(default_factory=list)

    def publish(self, events: Sequence[BusEvent]) -> None:
        for event in events:
            if len(self.published) == self.room:
                raise TransientError("put_events_failed")
            self.published.append((event.detail_type, event.detail["outcome"]))


def record(number: int, *published_events: DetailType) -> dict[str, Any]:
    entry = HistoryEntry(ItemId("item"), NOON, f"g{number}", EntryKind.SYNC, f"sync {number}", {}, published_events)
    image = entry_put("history", entry).request["Put"]["Item"]
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": image}}


def handle(bus: Bus, *records: dict[str, Any]) -> list[str]:
    """Let the function publish the records; return the sequence numbers from which Lambda retries."""
    app = import_app("changes")
    with patch.object(app, "bus", bus):
        response = app.lambda_handler({"Records": list(records)}, lambda_context())
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def test_the_events_of_every_record_are_published_in_order() -> None:
    bus = Bus(room=10)
    records = record(1, DetailType.NEEDS_USER), record(2), record(3, DetailType.NEW_ACCOUNTS, DetailType.ACTIVE)
    assert handle(bus, *records, {"dynamodb": {"SequenceNumber": "4"}}) == []
    assert bus.published == [("ItemNeedsUser", "sync 1"), ("NewAccountsAvailable", "sync 3"), ("ItemActive", "sync 3")]


def test_lambda_retries_from_the_first_record_that_was_not_published() -> None:
    """Later ones are not published before it: an application must not see a repair before the trouble."""
    bus = Bus(room=1)
    records = [record(number, DetailType.ACTIVE) for number in (1, 2, 3)]
    assert handle(bus, *records) == ["2"]
    assert bus.published == [("ItemActive", "sync 1")]
    bus.room = 10
    assert handle(bus, *records[1:]) == []
    assert bus.published == [("ItemActive", f"sync {number}") for number in (1, 2, 3)]
