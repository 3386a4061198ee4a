"""The event bus: each event by its detail-type, and all of them or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.aws.eventbridge import EventBridgeBus
from plaid_sync.domain.errors import TransientError
from plaid_sync.events import BusEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCEPTED: dict[str, Any] = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
REFUSED: dict[str, Any] = {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, {"ErrorCode": "ThrottlingException"}]}


@pytest.fixture
def events(aws: None) -> Iterator[tuple[Stubber, EventBridgeBus]]:  # noqa: ARG001 - the mock has to be up first
    client = boto3.client("events")
    with Stubber(client) as stub:
        yield stub, EventBridgeBus(client, "bus")


def test_each_event_is_published_with_its_detail_type_and_its_detail(events: tuple[Stubber, EventBridgeBus]) -> None:
    published = [BusEvent("ItemActive", {"item_id": "item"}), BusEvent("ItemLinked", {"code": "ITEM_LOCKED"})]
    common = {"EventBusName": "bus", "Source": "plaid-sync-engine"}
    entries = [
        common | {"DetailType": "ItemActive", "Detail": '{"item_id":"item"}'},
        common | {"DetailType": "ItemLinked", "Detail": '{"code":"ITEM_LOCKED"}'},
    ]
    stub, bus = events
    stub.add_response("put_events", ACCEPTED, {"Entries": entries})
    bus.publish(published)
    bus.publish([])
    stub.assert_no_pending_responses()


def test_events_that_are_not_all_accepted_are_a_transient_error(events: tuple[Stubber, EventBridgeBus]) -> None:
    stub, bus = events
    stub.add_response("put_events", REFUSED)
    with pytest.raises(TransientError, match="ThrottlingException"):
        bus.publish([BusEvent("ItemActive", {})])
    stub.add_client_error("put_events", "InternalException")
    with pytest.raises(TransientError, match="InternalException"):
        bus.publish([BusEvent("ItemActive", {})])
