"""The function that publishes events: one record after the other; none holds up those behind it for long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import ItemId
from plaid_sync.events import MAX_RETRY_AGE, EventPublisher, UnpublishedEvent

from tests.fakes.clock import NOON, FakeClock
from tests.fakes.functions import import_app, lambda_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.events import BusEvent


@dataclass(slots=True)
class Bus:
    """A bus that accepts so many events, none of some detail-types, and the queue of those that fail."""

    room: int = 1000
    refused: frozenset[str] = frozenset()
    queue_is_up: bool = True
    published: list[tuple[str, Any]] = field(default_factory=list)
    failed: list[tuple[str, Any, str]] = field(default_factory=list)

    def publish(self, events: Sequence[BusEvent], _deadline: Deadline) -> list[UnpublishedEvent]:
        unpublished = []
        for event in events:
            if event.detail_type in self.refused:
                unpublished.append(UnpublishedEvent(event, "MalformedDetail", permanent=True))
            elif len(self.published) == self.room:
                unpublished.append(UnpublishedEvent(event, "InternalFailure", permanent=False))
            else:
                self.published.append((event.detail_type, event.detail["outcome"]))
        return unpublished

    def keep(self, failed: UnpublishedEvent) -> None:
        if not self.queue_is_up:
            raise TransientError("ServiceUnavailable")
        self.failed.append((failed.event.detail_type, failed.event.detail["outcome"], failed.code))


def record(number: int, *published_events: DetailType) -> dict[str, Any]:
    entry = HistoryEntry(ItemId("item"), NOON, f"g{number}", EntryKind.SYNC, f"sync {number}", {}, published_events)
    image = entry_put("history", entry).request["Put"]["Item"]
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": image}}


def handle(bus: Bus, *records: dict[str, Any]) -> list[str]:
    """Let the function publish the records; return the sequence numbers from which Lambda retries."""
    app = import_app("changes")
    with patch.object(app, "publisher", EventPublisher(bus, bus, FakeClock())):
        response = app.lambda_handler({"Records": list(records)}, lambda_context())
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def test_the_events_of_every_record_are_published_in_order() -> None:
    bus = Bus()
    records = record(1, DetailType.NEEDS_USER), record(2), record(3, DetailType.NEW_ACCOUNTS, DetailType.ACTIVE)
    assert handle(bus, *records, {"dynamodb": {"SequenceNumber": "4"}}) == []
    assert bus.published == [("ItemNeedsUser", "sync 1"), ("NewAccountsAvailable", "sync 3"), ("ItemActive", "sync 3")]


def test_lambda_retries_from_the_first_record_that_was_not_published() -> None:
    """Later ones are not published before it: an application must not see a repair before the trouble."""
    bus = Bus(room=1)
    records = [record(number, DetailType.ACTIVE) for number in (1, 2, 3)]
    assert handle(bus, *records) == ["2"]
    assert bus.published == [("ItemActive", "sync 1")]
    bus.room = 1000
    assert handle(bus, *records[1:]) == []
    assert bus.published == [("ItemActive", f"sync {number}") for number in (1, 2, 3)]


def test_an_event_that_is_never_accepted_is_kept_and_the_records_behind_it_are_published() -> None:
    bus = Bus(refused=frozenset({"ItemActive"}))
    records = record(1, DetailType.ACTIVE, DetailType.NEW_ACCOUNTS), record(2, DetailType.NEEDS_USER)
    assert handle(bus, *records) == []
    assert bus.published == [("NewAccountsAvailable", "sync 1"), ("ItemNeedsUser", "sync 2")]
    assert bus.failed == [("ItemActive", "sync 1", "MalformedDetail")]


@pytest.mark.parametrize(("seconds", "held"), [(-1.0, True), (0.0, False)])
def test_a_record_that_fails_again_and_again_holds_up_its_shard_for_a_limited_time(
    seconds: float, *, held: bool
) -> None:
    bus = Bus(room=0)
    old = record(1, DetailType.ACTIVE)
    old["dynamodb"]["ApproximateCreationDateTime"] = (NOON - MAX_RETRY_AGE).timestamp() - seconds
    assert handle(bus, old, record(2, DetailType.NEEDS_USER)) == ["1" if held else "2"]
    assert bus.failed == ([] if held else [("ItemActive", "sync 1", "InternalFailure")])


def test_an_event_that_is_neither_published_nor_kept_is_retried() -> None:
    bus = Bus(refused=frozenset({"ItemActive"}), queue_is_up=False)
    assert handle(bus, record(1, DetailType.ACTIVE)) == ["1"]
