"""Each event reaches each endpoint that wants it, signed, at least once, or becomes a dead letter."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import pytest
from plaid_sync.outbound.delivery import RETRY_DELAYS, Deliverer, Delivery, Fate, OutboundMessage
from plaid_sync.outbound.endpoints import Endpoint
from plaid_sync.outbound.event import MalformedEventError, parse_event, signed_headers
from standardwebhooks import Webhook, WebhookVerificationError

from tests.fakes.outbound import FixedEndpoints, OutboundQueueInMemory, Receiver, ReceivingPoster


def secret_of(byte: int) -> str:
    return "whsec_" + base64.b64encode(bytes([byte]) * 32).decode()


OLD: Final = secret_of(1)
NEW: Final = secret_of(2)
FEED: Final = {
    "specversion": "1.0",
    "id": "item-1/0000000003.0000002",
    "type": "TransactionAdded.v1",
    "subject": "item-1",
    "data": {"item_id": "item-1", "transaction": {"amount": "12.50", "name": "Café"}},
}
SIGNAL: Final = {"item_id": "item-1", "at": "2026-03-01T12:00:00.000Z", "state": "needs_user"}


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def bus_message(detail_type: str, detail: dict[str, Any], receives: int = 1) -> OutboundMessage:
    envelope = {"id": f"bus-{next(_NUMBERS)}", "source": "plaid-sync-engine", "detail-type": detail_type}
    return OutboundMessage("handle", json.dumps(envelope | {"detail": detail}), None, receives)


_NUMBERS = count()


def delivery_message(name: str, receives: int = 1, detail: dict[str, Any] = FEED) -> OutboundMessage:
    event = parse_event(bus_message("TransactionAdded", detail).body)
    return OutboundMessage("handle", event.body, Delivery(name, event), receives)


class Stack:
    """A deliverer with an endpoint `books` that has a receiver, and others without."""

    def __init__(self, *others: Endpoint, secrets: tuple[str, ...] = (NEW,), enabled: bool = True) -> None:
        self.receiver = Receiver(NEW)
        books = Endpoint("books", "https://books.example/events", secrets, enabled=enabled)
        self.endpoints = FixedEndpoints((books, *others))
        self.queue = OutboundQueueInMemory()
        poster = ReceivingPoster({books.url: self.receiver})
        self.deliverer = Deliverer(self.endpoints, poster, self.queue, RealClock(), lambda: 1.0)

    def fates(self, *messages: OutboundMessage) -> list[Fate]:
        return [self.deliverer.process(message).fate for message in messages]


def test_an_event_becomes_a_delivery_for_each_endpoint_that_wants_it() -> None:
    alerts = Endpoint("alerts", "https://alerts.example", (OLD,), types=("ItemNeedsUser",))
    stack = Stack(alerts, replace(alerts, name="off", enabled=False))
    assert stack.fates(bus_message("ItemNeedsUser", SIGNAL), bus_message("ItemActive", SIGNAL)) == [Fate.EXPANDED] * 2
    assert [(sent.endpoint, sent.event.detail_type) for sent in stack.queue.sent] == [
        ("books", "ItemNeedsUser"),
        ("alerts", "ItemNeedsUser"),
        ("books", "ItemActive"),
    ]


def test_without_an_endpoint_that_wants_it_an_event_is_dropped() -> None:
    assert Stack(enabled=False).fates(bus_message("ItemActive", SIGNAL)) == [Fate.DROPPED]


def test_a_crash_between_two_deliveries_repeats_the_first_with_the_same_id() -> None:
    stack = Stack(Endpoint("other", "https://other.example", (OLD,)))
    stack.queue.sends_left = 1
    message = bus_message("ItemNeedsUser", SIGNAL)
    assert stack.fates(message, message) == [Fate.RETRIED, Fate.EXPANDED]
    assert [sent.endpoint for sent in stack.queue.sent] == ["books", "books", "other"]
    assert len({sent.event.event_id for sent in stack.queue.sent}) == 1


def test_a_feed_event_is_posted_as_it_is_and_verifies() -> None:
    stack = Stack()
    assert stack.fates(delivery_message("books")) == [Fate.DELIVERED]
    assert stack.receiver.events == [FEED]
    assert stack.receiver.ids == [FEED["id"]]


def test_a_signal_becomes_a_cloud_event_whose_id_does_not_depend_on_the_bus() -> None:
    first, second = (parse_event(bus_message("ItemNeedsUser", SIGNAL).body) for _ in range(2))
    other = parse_event(bus_message("ItemActive", SIGNAL).body)
    assert first == second
    assert other.event_id != first.event_id
    event = json.loads(first.body)
    found = (event["type"], event["subject"], event["time"], event["data"], event["id"])
    assert found == ("ItemNeedsUser.v1", "item-1", SIGNAL["at"], SIGNAL, first.event_id)


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        '{"detail-type": "A"}',
        '{"detail-type": "A", "detail": []}',
        '{"detail-type": 1, "detail": {}}',
        '{"detail-type": "A", "detail": {"specversion": "1.0"}}',
    ],
)
def test_what_is_no_event_is_dead_lettered_at_once(body: str) -> None:
    with pytest.raises(MalformedEventError):
        parse_event(body)
    stack = Stack()
    assert stack.fates(OutboundMessage("handle", body, None, 1)) == [Fate.DEAD_LETTERED]
    assert [(message.body, reason) for message, reason in stack.queue.dead] == [(body, "malformed")]


def test_tries_have_one_id_and_go_on_for_a_day() -> None:
    stack = Stack()
    tries = len(RETRY_DELAYS) + 1
    stack.receiver.answers.extend([503] * tries)
    fates = stack.fates(*(delivery_message("books", receives) for receives in range(1, tries + 1)))
    assert fates == [Fate.RETRIED] * len(RETRY_DELAYS) + [Fate.DEAD_LETTERED]
    assert stack.receiver.ids == [FEED["id"]] * tries
    assert stack.queue.hidden == sorted(delay.total_seconds() for delay in RETRY_DELAYS)
    assert timedelta(hours=23) < sum(RETRY_DELAYS, timedelta()) < timedelta(hours=25)
    assert [reason for _, reason in stack.queue.dead] == ["HTTP_503"]


@pytest.mark.parametrize(
    ("retry_after", "receives", "waited"),
    [(None, 1, 5), (60, 1, 60), (1, 2, 300), (900_000, 1, 42_900)],
    ids=["nothing", "more than the schedule", "less than the schedule", "more than SQS can"],
)
def test_an_endpoint_can_ask_for_a_longer_wait(retry_after: int | None, receives: int, waited: int) -> None:
    stack = Stack()
    stack.receiver.answers.append(429)
    stack.receiver.headers |= {} if retry_after is None else {"retry-after": str(retry_after)}
    assert stack.fates(delivery_message("books", receives)) == [Fate.RETRIED]
    assert stack.queue.hidden == [waited]


@pytest.mark.parametrize("spread", [0.8, 1.2])
def test_no_wait_is_longer_than_sqs_hides_a_message(spread: float) -> None:
    stack = Stack()
    deliverer = replace(stack.deliverer, spread=lambda: spread)
    stack.receiver.answers.extend([500] * len(RETRY_DELAYS))
    for receives in range(1, len(RETRY_DELAYS) + 1):
        deliverer.process(delivery_message("books", receives))
    assert stack.queue.hidden == [round(delay.total_seconds() * spread) for delay in RETRY_DELAYS]
    assert max(stack.queue.hidden) < 12 * 3600


@pytest.mark.parametrize(("status", "fate"), [(200, Fate.DELIVERED), (301, Fate.RETRIED), (404, Fate.RETRIED)])
def test_only_2xx_is_a_delivery(status: int, fate: Fate) -> None:
    stack = Stack()
    stack.receiver.answers.append(status)
    assert stack.fates(delivery_message("books")) == [fate]


def test_gone_and_disabled_are_dead_lettered_without_a_retry_and_removed_is_dropped() -> None:
    stack = Stack()
    stack.receiver.answers.append(410)
    assert stack.fates(delivery_message("books"), delivery_message("removed")) == [Fate.DEAD_LETTERED, Fate.DROPPED]
    disabled = Stack(enabled=False)
    assert disabled.fates(delivery_message("books")) == [Fate.DEAD_LETTERED]
    reasons = [reason for _, reason in (*stack.queue.dead, *disabled.queue.dead)]
    assert (reasons, disabled.receiver.ids) == (["HTTP_410", "endpoint_disabled"], [])


def test_an_unreadable_secret_loses_nothing() -> None:
    stack = Stack()
    stack.endpoints.failing = True
    message = bus_message("ItemNeedsUser", SIGNAL)
    assert stack.fates(message, replace(message, receives=len(RETRY_DELAYS) + 1)) == [Fate.RETRIED, Fate.DEAD_LETTERED]
    assert [dead.body for dead, _ in stack.queue.dead] == [message.body]


@pytest.mark.parametrize("known", [OLD, NEW])
def test_during_a_rotation_either_secret_verifies(known: str) -> None:
    stack = Stack(secrets=(NEW, OLD))
    stack.receiver.secret = known
    assert stack.fates(delivery_message("books")) == [Fate.DELIVERED]


def test_a_receiver_refuses_another_secret_another_body_and_an_old_signature() -> None:
    event, now = parse_event(bus_message("TransactionAdded", FEED).body), datetime.now(UTC)
    endpoint = Endpoint("books", "https://books.example", (OLD,))
    headers, old = signed_headers(event, endpoint, now), signed_headers(event, endpoint, now - timedelta(minutes=6))
    assert Webhook(OLD).verify(event.body, headers) == FEED
    for secret, body, given in [
        (NEW, event.body, headers),
        (OLD, event.body.replace("12.50", "12.51"), headers),
        (OLD, event.body, old),
        (OLD, event.body, headers | {"webhook-id": "another"}),
    ]:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, given)
