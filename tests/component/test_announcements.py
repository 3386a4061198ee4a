"""What happens to an Item reaches the event bus: through the history's stream and the deployed changes function."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from local.plaid import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import LocalStack
    from tests.component.world import World

PATIENCE_SECONDS: Final = 30.0


@contextmanager
def announcing(stack: LocalStack) -> Iterator[None]:
    """Let the stream of the history be read, as it is on AWS."""
    functions = stack.client("lambda")
    mappings = functions.list_event_source_mappings()["EventSourceMappings"]
    (mapping,) = [one["UUID"] for one in mappings if "/stream/" in one["EventSourceArn"]]
    functions.update_event_source_mapping(UUID=mapping, Enabled=True)
    yield
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)


@pytest.fixture
def application(stack: LocalStack) -> Iterator[str]:
    """An application's queue, with a rule that puts everything there that the engine announces."""
    sqs, events = stack.client("sqs"), stack.client("events")
    url = sqs.create_queue(QueueName="application")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = stack.resources.id("EventBus")
    pattern = json.dumps({"source": ["plaid-sync-engine"]})
    events.put_rule(Name="all", EventBusName=bus, EventPattern=pattern, State="ENABLED")
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    yield url
    events.remove_targets(Rule="all", EventBusName=bus, Ids=["queue"])
    events.delete_rule(Name="all", EventBusName=bus)
    sqs.delete_queue(QueueUrl=url)


def heard(stack: LocalStack, url: str, item_id: str, last: str) -> list[dict[str, Any]]:
    """Return the events about an Item, up to the last one that is waited for."""
    sqs, found, deadline = stack.client("sqs"), list[dict[str, Any]](), time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and last not in {event["detail-type"] for event in found}:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            event = json.loads(message["Body"])
            found += [event] if event["detail"]["item_id"] == item_id else []
    return found


def test_each_change_of_an_item_is_heard_on_the_bus(world: World, application: str) -> None:
    with announcing(world.stack):
        item_id = world.link(transactions=3)
        world.drain()
        world.plaid.set_item_error(item_id, "ITEM_LOGIN_REQUIRED", notify=False)
        world.trigger(item_id)
        world.drain()
        world.plaid.set_item_error(item_id, None, notify=False)
        world.trigger(item_id)
        world.drain()
        world.request("DELETE", f"/items/{item_id}")
        world.drain()
        events = heard(world.stack, application, item_id, "ItemRemoved")
    names = [event["detail-type"] for event in events]
    assert list(dict.fromkeys(names)) == ["ItemLinked", "ItemNeedsUser", "ItemActive", "ItemRemoved"]
    needs_user = next(event["detail"] for event in events if event["detail-type"] == "ItemNeedsUser")
    told = (needs_user["status_before"], needs_user["status"], needs_user["code"], needs_user["causes"])
    assert told == ("active", "needs_user", "ITEM_LOGIN_REQUIRED", ["request"])


def record(number: int, announcements: str) -> dict[str, Any]:
    values = {"item_id": "item", "entry_id": f"2026-03-01T12:00:00.{number:03}Z#g1", "announcements": announcements}
    image = {name: {"S": value} for name, value in values.items()}
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": image}}


def test_what_the_bus_does_not_take_comes_again_from_there(world: World) -> None:
    event = {"Records": [record(1, ""), record(2, "ItemActive"), record(3, "ItemRevoked")]}
    untold = {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert world.invoke("changes", event, EVENT_BUS_NAME="no-such-bus") == untold
    assert world.invoke("changes", event) == {"batchItemFailures": []}


def test_a_sync_that_changes_nothing_about_the_item_announces_nothing(world: World) -> None:
    item_id = world.link(transactions=3)
    world.drain()
    assert world.plaid.item(item_id).phase is Phase.HISTORICAL
    world.plaid.add(item_id, notify=False)
    world.trigger(item_id)
    world.drain()
    answer = world.request("GET", f"/items/{item_id}/history", query={"limit": "10"})
    entries = json.loads(answer["body"])["history"]
    announced = [(entry["kind"], entry.get("announcements")) for entry in entries]
    assert announced == [("sync", None), ("sync", None), ("request", ["ItemLinked"])]
