"""What the event bus is told, and that what it does not take is told again: of one record after the other."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.adapters.dynamodb.history_table import entry_put
from plaid_sync.adapters.event_bus import EventBridgeBus
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.lifecycle.announcing import BusEvent
from plaid_sync.core.lifecycle.states import Announcement

from local.builds.imports import ENVIRONMENT
from tests.fuzz.webhook import lambda_context

from .conftest import ITEM, NOON

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TAKEN: dict[str, Any] = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
REFUSED: dict[str, Any] = {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, {"ErrorCode": "ThrottlingException"}]}


@pytest.fixture
def events(aws: None) -> Iterator[tuple[Stubber, EventBridgeBus]]:  # noqa: ARG001 - the mock has to be up first
    client = boto3.client("events")
    with Stubber(client) as stub:
        yield stub, EventBridgeBus(client, "bus")


def test_each_event_is_told_by_its_name_with_its_detail(events: tuple[Stubber, EventBridgeBus]) -> None:
    told = [BusEvent("ItemActive", {"item_id": "item"}), BusEvent("ItemLinked", {"code": "ITEM_LOCKED"})]
    of_ours = {"EventBusName": "bus", "Source": "plaid-sync-engine"}
    entries = [
        of_ours | {"DetailType": "ItemActive", "Detail": '{"item_id":"item"}'},
        of_ours | {"DetailType": "ItemLinked", "Detail": '{"code":"ITEM_LOCKED"}'},
    ]
    stub, bus = events
    stub.add_response("put_events", TAKEN, {"Entries": entries})
    bus.tell(told)
    bus.tell([])
    stub.assert_no_pending_responses()


def test_events_that_are_not_all_taken_are_told_again(events: tuple[Stubber, EventBridgeBus]) -> None:
    stub, bus = events
    stub.add_response("put_events", REFUSED)
    with pytest.raises(RetryableError, match="ThrottlingException"):
        bus.tell([BusEvent("ItemActive", {})])
    stub.add_client_error("put_events", "InternalException")
    with pytest.raises(RetryableError, match="InternalException"):
        bus.tell([BusEvent("ItemActive", {})])


class Bus:
    """A bus that takes so many events."""

    def __init__(self, takes: int) -> None:
        self.takes, self.told = takes, list[tuple[str, Any]]()

    def tell(self, events: Sequence[BusEvent]) -> None:
        for event in events:
            if len(self.told) == self.takes:
                raise RetryableError("not_taken")
            self.told.append((event.name, event.detail["outcome"]))


def record(number: int, *announcements: Announcement) -> dict[str, Any]:
    """Return a record of the History table's stream."""
    entry = HistoryEntry(ITEM, NOON, f"g{number}", EntryKind.SYNC, f"sync {number}", {}, announcements)
    image = entry_put("history", entry)["Put"]["Item"]
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": image}}


def handle(bus: Bus, *records: dict[str, Any]) -> list[str]:
    """Let the function tell of the records; return the sequence numbers from which Lambda comes again."""
    with patch.dict(os.environ, ENVIRONMENT):
        app = import_module("functions.changes.app")
    with patch.object(app, "bus", bus):
        answer = app.lambda_handler({"Records": list(records)}, lambda_context())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_every_record_of_a_batch_is_told_in_order() -> None:
    bus = Bus(takes=10)
    records = record(1, Announcement.NEEDS_USER), record(2), record(3, Announcement.NEW_ACCOUNTS, Announcement.ACTIVE)
    assert handle(bus, *records, {"dynamodb": {"SequenceNumber": "4"}}) == []
    assert bus.told == [("ItemNeedsUser", "sync 1"), ("NewAccountsAvailable", "sync 3"), ("ItemActive", "sync 3")]


def test_from_the_first_record_that_is_not_taken_lambda_comes_again() -> None:
    """Later ones are not told before it: an application must not hear of a repair before the trouble."""
    bus = Bus(takes=1)
    records = [record(number, Announcement.ACTIVE) for number in (1, 2, 3)]
    assert handle(bus, *records) == ["2"]
    assert bus.told == [("ItemActive", "sync 1")]
    bus.takes = 10
    assert handle(bus, *records[1:]) == []
    assert bus.told == [("ItemActive", f"sync {number}") for number in (1, 2, 3)]
