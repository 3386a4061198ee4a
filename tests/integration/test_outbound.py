"""From the event bus to a receiver over real HTTP: through the deployed rule, queue, secret and dead-letter queue."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from plaid_sync.outbound.delivery import RETRY_DELAYS
from plaid_sync_cli.endpoints import new_secret

from tests.fakes.outbound import Receiver
from tests.integration.command_line import CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.harness import World

LAST_TRY: Final = len(RETRY_DELAYS) + 1
PATIENCE_SECONDS: Final = 30.0


def feed_event(name: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{name}/0000000001.0000001",
        "type": "TransactionAdded.v1",
        "data": {"item_id": name, "transaction": {"amount": "12.50", "name": "Café ☕"}},
    }


class Outbound:
    """The deployed queue, whose messages the test hands to the function, as Lambda does."""

    def __init__(self, world: World, cli: CommandLine, receiver: Receiver) -> None:
        self.world, self.cli, self.receiver = world, cli, receiver
        self.sqs = world.stack.client("sqs")
        self.queue = world.stack.resources.id("OutboundQueue")
        self.hidden: list[str] = []

    def publish(self, event: dict[str, Any], detail_type: str = "TransactionAdded") -> None:
        """Put an event on the bus, and let the function expand it."""
        entry = {"EventBusName": self.world.stack.resources.id("EventBus"), "Source": "plaid-sync-engine"}
        entry |= {"DetailType": detail_type, "Detail": json.dumps(event)}
        self.world.stack.client("events").put_events(Entries=[entry])
        (message,) = self._received()
        self._process(message, 1)

    def deliver(self, tries: int = 1) -> None:
        """Process all deliveries that are there, and those that a failed try has hidden, as if their time had come."""
        for handle in self.hidden:
            self.sqs.change_message_visibility(QueueUrl=self.queue, ReceiptHandle=handle, VisibilityTimeout=0)
        self.hidden.clear()
        for message in self._received():
            self._process(message, tries)

    def _process(self, message: dict[str, Any], tries: int) -> None:
        answer = self.world.invoke("outbound", {"Records": [record(message, tries)]})
        if answer["batchItemFailures"]:
            self.hidden.append(message["ReceiptHandle"])
        else:
            self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    def _received(self) -> list[dict[str, Any]]:
        """Wait for messages, which the bus delivers in the background."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self.sqs.receive_message(
                QueueUrl=self.queue,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            messages: list[dict[str, Any]] = answer.get("Messages", [])
            if messages:
                return messages
        raise AssertionError("no message came")


def record(message: dict[str, Any], tries: int) -> dict[str, Any]:
    """Return a message as Lambda hands it to a function."""
    attributes = {
        name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
        for name, value in message.get("MessageAttributes", {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"] | {"ApproximateReceiveCount": str(tries)},
        "messageAttributes": attributes,
    }


@pytest.fixture
def outbound(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbound]:
    """The stack with empty queues, and an endpoint `books` whose receiver knows the secret that was shown."""
    monkeypatch.chdir(tmp_path)
    for name in ("OutboundQueue", "OutboundDeadLetterQueue"):
        world.stack.client("sqs").purge_queue(QueueUrl=world.stack.resources.id(name))
    cli = CommandLine.at(world, tmp_path)
    with Receiver(new_secret()).listening() as receiver:
        cli.run("endpoints", "remove", "books")  # of another test, if there is one
        receiver.secret = cli.json("endpoints", "set", "books", receiver.url)["secret"]
        yield Outbound(world, cli, receiver)
        cli.json("endpoints", "remove", "books")


def test_a_receiver_that_fails_twice_gets_the_event_once_with_one_id(outbound: Outbound) -> None:
    event = feed_event("twice")
    outbound.receiver.answers.extend([503, 500])
    outbound.publish(event)
    for tries in (1, 2, 3):
        outbound.deliver(tries)
    assert outbound.receiver.ids == [event["id"]] * 3
    assert (outbound.receiver.events, outbound.receiver.refused) == ([event], 0)


def test_an_event_that_the_bus_has_twice_comes_with_one_id(outbound: Outbound) -> None:
    event = feed_event("repeated")
    for _ in range(2):
        outbound.publish(event)
        outbound.deliver()
    assert outbound.receiver.deliveries == {event["id"]: 2}
    assert outbound.receiver.events == [event]


def test_an_event_that_is_refused_for_a_day_waits_for_its_resend(outbound: Outbound) -> None:
    event = feed_event("down")
    outbound.receiver.answers.append(503)
    outbound.publish(event)
    outbound.deliver(LAST_TRY)
    listed = outbound.cli.json("endpoints", "list", code=1)
    assert listed["undelivered"] == [{"endpoint": "books", "cause": "HTTP_503", "events": 1}]
    assert outbound.cli.json("endpoints", "resend", "--id", "another", code=1) == {"resent": [], "left": 1}
    would = outbound.cli.json("endpoints", "resend", "--dry-run")["would_resend"]
    resent = outbound.cli.json("endpoints", "resend", "books")
    assert resent == {"resent": would, "left": 0}
    assert would == [{"endpoint": "books", "event_id": event["id"], "cause": "HTTP_503"}]
    outbound.deliver()
    assert outbound.receiver.events == [event]
    assert outbound.cli.json("endpoints", "list")["undelivered"] == []


def test_a_rotation_has_no_moment_without_a_valid_signature(outbound: Outbound) -> None:
    old = outbound.receiver.secret
    new = outbound.cli.json("endpoints", "rotate", "books")["secret"]
    for secret in (old, new):
        outbound.receiver.secret = secret
        outbound.publish(feed_event(f"rotated-{secret == new}"))
        outbound.deliver()
    outbound.cli.json("endpoints", "rotate", "books", "--finish")
    outbound.receiver.secret = old
    outbound.publish(feed_event("finished"))
    outbound.deliver()
    assert (len(outbound.receiver.events), outbound.receiver.refused) == (2, 1)


def test_a_redirect_is_not_followed_and_a_disabled_endpoint_gets_nothing(outbound: Outbound) -> None:
    with Receiver(outbound.receiver.secret).listening() as target:
        outbound.receiver.answers.append(308)
        outbound.receiver.headers["location"] = target.url
        outbound.publish(feed_event("redirected"))
        outbound.deliver(LAST_TRY)
        outbound.cli.json("endpoints", "set", "books", "--disabled")
        outbound.publish(feed_event("disabled"))
        assert (target.ids, len(outbound.receiver.ids)) == ([], 1)
    outbound.cli.json("endpoints", "set", "books", "--enabled")
    outbound.cli.json("endpoints", "resend")
    outbound.deliver()
    assert [event["data"]["item_id"] for event in outbound.receiver.events] == ["redirected"]


def test_http_is_refused_where_receivers_are_public(outbound: Outbound) -> None:
    outbound.world.settings["OUTBOUND_TARGETS"] = "public"
    outbound.publish(feed_event("plain"))
    outbound.deliver(LAST_TRY)
    listed = outbound.cli.json("endpoints", "list", code=1)["undelivered"]
    assert [(entry["cause"], outbound.receiver.ids) for entry in listed] == [("url_not_https", [])]


def test_an_endpoint_is_tested_and_refuses_another_signature(outbound: Outbound) -> None:
    assert outbound.cli.json("endpoints", "test", "books")["status"] == 204
    outbound.receiver.answers.append(500)
    assert outbound.cli.json("endpoints", "test", "books", code=1)["status"] == 500
    outbound.receiver.secret = new_secret()
    assert outbound.cli.json("endpoints", "test", "books", code=1)["status"] == 401


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("set", "Books", "http://127.0.0.1:9/"), "name must be"),
        (("set", "new"), "URL is missing"),
        (("set", "books", "http://user@127.0.0.1:9/"), "no user"),
        (("set", "books", "--type", "A", "--all-types"), "--all-types"),
        (("remove", "new"), "no endpoint new"),
    ],
    ids=" ".join,
)
def test_bad_input_is_named_and_changes_nothing(outbound: Outbound, arguments: tuple[str, ...], named: str) -> None:
    before = outbound.cli.json("endpoints", "list")
    found = outbound.cli.run("endpoints", *arguments)
    assert (found.exit_code, named in found.output) == (2, True)
    assert outbound.cli.json("endpoints", "list") == before
