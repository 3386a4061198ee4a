"""What happens to an Item reaches the event bus: through the history's stream and the deployed changes function."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from pyrage import x25519

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import LocalStack
    from tests.integration.harness import World

RECIPIENT: Final = str(x25519.Identity.generate().to_public())
PATIENCE_SECONDS: Final = 30.0


@contextmanager
def publishing(stack: LocalStack) -> Iterator[None]:
    """Let the stream of the history be read, as it is on AWS."""
    functions = stack.client("lambda")
    mappings = functions.list_event_source_mappings()["EventSourceMappings"]
    (mapping,) = [mapping["UUID"] for mapping in mappings if "/stream/" in mapping["EventSourceArn"]]
    functions.update_event_source_mapping(UUID=mapping, Enabled=True)
    yield
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)


def received(stack: LocalStack, url: str, item_id: str | None, last: str) -> list[dict[str, Any]]:
    """Return the events about an Item, or about none, up to the last one that is waited for."""
    sqs, found, deadline = stack.client("sqs"), list[dict[str, Any]](), time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and last not in {event["detail-type"] for event in found}:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            event = json.loads(message["Body"])
            found += [event] if event["detail"].get("item_id") == item_id else []
    return found


def test_each_change_of_an_item_is_published_on_the_bus(world: World, application: str) -> None:
    with publishing(world.stack):
        item_id = world.synced(transactions=3)
        world.plaid.set_item_error(item_id, "ITEM_LOGIN_REQUIRED", notify=False)
        world.sync(item_id)
        world.plaid.set_item_error(item_id, None, notify=False)
        world.sync(item_id)
        world.request("POST", f"/access-tokens/{item_id}/export", {"recipient": RECIPIENT})
        world.request("DELETE", f"/items/{item_id}")
        world.drain()
        events = received(world.stack, application, item_id, "ItemRemoved")
    names = [event["detail-type"] for event in events]
    assert list(dict.fromkeys(names)) == [
        *("ItemLinked", "ItemNeedsUser", "ItemActive", "AccessTokenExported", "ItemRemoved")
    ]
    exported = next(event["detail"] for event in events if event["detail-type"] == "AccessTokenExported")
    assert exported["recipient"] == RECIPIENT
    needs_user = next(event["detail"] for event in events if event["detail-type"] == "ItemNeedsUser")
    found = (needs_user["state_before"], needs_user["state"], needs_user["code"], needs_user["causes"])
    assert found == ("active", "needs_user", "ITEM_LOGIN_REQUIRED", ["request"])


@pytest.mark.parametrize("item_id", ["item-of-the-webhook", None])
def test_a_webhook_that_the_stack_does_not_act_on_is_published_without_its_tokens(
    world: World, application: str, item_id: str | None
) -> None:
    document = {
        "webhook_type": "AUTH",
        "webhook_code": "AUTOMATICALLY_VERIFIED",
        "item_id": item_id,
        "account_id": "account",
        "public_token": "public-sandbox-1f2e",
    }
    body = json.dumps(document, indent=2).encode()
    with publishing(world.stack):
        answer = world.post_webhook(body, world.plaid.sign(body))
        assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"result": "published"})
        (event,) = received(world.stack, application, item_id, "PlaidWebhook")
    detail = event["detail"]
    assert (detail["webhook_type"], detail["webhook_code"]) == ("AUTH", "AUTOMATICALLY_VERIFIED")
    assert detail["body"] == document | {"public_token": "[redacted]"}


def record(number: int, published_events: str) -> dict[str, Any]:
    values = {
        "item_id": "item",
        "entry_id": f"2026-03-01T12:00:00.{number:03}Z#g1",
        "published_events": published_events,
    }
    image = {name: {"S": value} for name, value in values.items()}
    return {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number), "NewImage": image}}


def test_events_that_fail_to_publish_are_retried_from_there(world: World) -> None:
    event = {"Records": [record(1, ""), record(2, "ItemActive"), record(3, "ItemRevoked")]}
    failed = {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert world.invoke("changes", event, EVENT_BUS_NAME="no-such-bus") == failed
    assert world.invoke("changes", event) == {"batchItemFailures": []}


def test_an_entry_with_more_events_than_a_call_takes_is_published(world: World, application: str) -> None:
    names = [f"Event{number}" for number in range(11)]
    assert world.invoke("changes", {"Records": [record(1, " ".join(names))]}) == {"batchItemFailures": []}
    events = received(world.stack, application, "item", "Event10")
    assert sorted(event["detail-type"] for event in events) == sorted(names)


def test_an_event_that_fails_for_an_hour_waits_in_the_failed_events_queue_and_later_ones_are_published(
    world: World,
) -> None:
    sqs, url = world.stack.client("sqs"), world.stack.resources.id("FailedEventsQueue")
    old = record(1, "ItemRevoked")
    old["dynamodb"]["ApproximateCreationDateTime"] = world.function_clock.now().timestamp() - 3601
    event = {"Records": [old, record(2, "ItemActive")]}
    failed = {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert world.invoke("changes", event, EVENT_BUS_NAME="no-such-bus") == failed
    (message,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    detail = {"item_id": "item", "entry_id": "2026-03-01T12:00:00.001Z#g1"}
    assert json.loads(message["Body"]) == {"detail-type": "ItemRevoked", "detail": detail}
    assert message["MessageAttributes"]["reason"]["StringValue"] == "AccessDeniedException"
