"""Hostile webhooks: no request, key endpoint or queue makes the function accept a body that Plaid did not sign."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.aws.dynamodb.history import HistoryTable
from plaid_sync.aws.sqs import SqsSyncQueue
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.history import NO_ITEM
from plaid_sync.domain.messages import Cause, parse_message
from plaid_sync.plaid.verification_keys import PlaidVerificationKeyApi
from plaid_sync.webhook.keys import VerificationKeys
from plaid_sync.webhook.receiver import WebhookReceiver

from local.plaid import PlaidSimulator
from local.plaid.webhooks import ITEM_CODES, TRANSACTIONS_CODES, payload
from local.plaid.wire import encode
from tests.fakes.attempts import FakeAttempts
from tests.fakes.aws import Queue, Table, secret_of_plaid
from tests.fakes.clock import NOON
from tests.fakes.functions import import_app, lambda_context
from tests.fakes.links import FakeLinkSessions
from tests.fakes.shared import FakeSharedState
from tests.unit.properties.hostile_json import HOSTILE_BYTES, is_deep, is_short_ascii, mutated, one_in, pick, read
from tests.unit.properties.signing import (
    MAX_CACHED,
    MAX_CACHED_WHILE_UNREACHABLE,
    TOKENS,
    KeyEndpoint,
    Signer,
    other_root,
)

if TYPE_CHECKING:
    from local.plaid.items import Item
    from tests.unit.properties.hostile_json import Draw

CODES: Final = (
    *(("TRANSACTIONS", code) for code in TRANSACTIONS_CODES),
    *(("ITEM", code) for code in ITEM_CODES),
    ("HOLDINGS", "DEFAULT_UPDATE"),
)
ACKNOWLEDGMENT: Final = ("ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED")
NEED_A_SYNC: Final = frozenset(
    {("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")} | {("ITEM", code) for code in ITEM_CODES if code != ACKNOWLEDGMENT[1]}
)
QUEUED, PUBLISHED, UNPROCESSABLE = "queued", "published", "unprocessable"
HEADER_NAMES: Final = ("plaid-verification", "Plaid-Verification", "PLAID-VERIFICATION", "pLaId-VeRiFiCaTiOn")
OTHER_HEADERS: Final = {
    "x-plaid-verification": "a.b.c",
    "plaid-verification-2": "a.b.c",
    "": "",
    "content-type": "text/html",
}
DAY: Final = 86_400
MAX_BODY_BYTES: Final = 64 * 1024
STEPS: Final = (0, 1, 90, 121, 299, 300, 301, 3_600)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to the webhook.

    Attributes:
        event: what the function gets.
        body: the bytes that the event delivers; None where it delivers none (broken Base64).
        token: what the event's header says.
        must_be_accepted: the token is genuine, and the event delivers the body that Plaid signed.
    """

    event: dict[str, Any]
    body: bytes | None
    token: str | None
    must_be_accepted: bool


@cache
def plaid_item() -> Item:
    plaid = PlaidSimulator(seed=7, clock=lambda: NOON)
    return plaid.item(plaid.link_item().item_id)


def draw_body(draw: Draw) -> bytes:
    document = payload(plaid_item(), *pick(draw, *CODES), NOON)
    kind = pick(draw, "genuine", "genuine", "mutated", "mutated", "mutated", "hostile", "bytes")
    if kind == "genuine":
        return encode(document)
    if kind == "mutated":
        return mutated(draw, document)
    return draw(HOSTILE_BYTES) if kind == "hostile" else draw(st.binary(max_size=300))


def draw_event(draw: Draw, body: bytes) -> tuple[dict[str, Any], bytes | None]:
    """Draw an event with a body, and the bytes that it really delivers."""
    form = pick(draw, *["text"] * 8, "base64", "base64", "none", "null", "broken base64", "latin")
    if form in {"none", "null"}:
        return {"isBase64Encoded": False} | ({"body": None} if form == "null" else {}), b""
    if form == "latin":
        text = body.decode("latin-1")
        return {"body": text, "isBase64Encoded": False}, text.encode()
    encoded = base64.b64encode(body).decode()
    if form == "broken base64" and body:
        return {"body": encoded[1:] + pick(draw, "", "!", "\u00e9", "=="), "isBase64Encoded": True}, None
    try:
        text = body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        form = "base64"
    if form != "text":
        return {"body": encoded, "isBase64Encoded": True}, body
    return {"body": text, "isBase64Encoded": False}, body


def draw_delivery(draw: Draw, signer: Signer, kind: str) -> Delivery:
    body = draw_body(draw)
    token, genuine = signer.token(draw, body, kind)
    if one_in(draw, 12):  # not the body that was signed
        genuine, body = False, pick(draw, body + pick(draw, b" ", b"\n", b"\0"), draw_body(draw))
    event, delivered = draw_event(draw, body)
    headers = {pick(draw, *HEADER_NAMES): token} if token is not None else {}
    headers |= OTHER_HEADERS if one_in(draw, 8) else {}
    if headers or one_in(draw, 2):
        event["headers"] = headers or None
    return Delivery(event, delivered, token, genuine and delivered == body and len(body) <= MAX_BODY_BYTES)


def result_of(body: bytes) -> tuple[str, str | None]:
    try:
        document = read(body)
    except ValueError:
        return UNPROCESSABLE, None
    names = [document.get(name) for name in ("webhook_type", "webhook_code")] if isinstance(document, dict) else [None]
    if not all(is_short_ascii(name, first=" ") for name in names):
        return UNPROCESSABLE, None
    item_id = document.get("item_id")
    has_item = is_short_ascii(item_id, first="!")
    if tuple(names) in NEED_A_SYNC:
        return (QUEUED, item_id) if has_item else (UNPROCESSABLE, None)
    is_hint = names[0] == "ITEM" and tuple(names) != ACKNOWLEDGMENT
    return (QUEUED, item_id) if is_hint and has_item else (PUBLISHED, None)


@pytest.mark.parametrize("kind", TOKENS)
@given(data=st.data())
def test_no_webhook_causes_a_5xx_and_only_proven_ones_are_queued_and_recorded(data: st.DataObject, kind: str) -> None:
    draw, webhook, app = data.draw, Webhook(), import_app("webhook")
    app.receiver, signer = webhook.receiver, webhook.signer
    delivery = draw_delivery(draw, signer, kind)
    for number in range(pick(draw, 1, 1, 1, 2)):
        if number:
            signer.clock.time += timedelta(seconds=pick(draw, *STEPS))
            delivery = pick(draw, delivery, draw_delivery(draw, signer, kind))
        if one_in(draw, 16):
            webhook.endpoint.fail(draw)
        webhook.queue.failing, webhook.history.failing = one_in(draw, 32), one_in(draw, 32)
        deliver(webhook, app, delivery, first=number == 0)


def deliver(webhook: Webhook, app: Any, delivery: Delivery, *, first: bool) -> None:
    webhook.queue.sent.clear()
    webhook.history.stored.clear()
    response = app.lambda_handler(delivery.event, lambda_context())
    status, document, sent = response["statusCode"], json.loads(response["body"].encode()), webhook.queue.sent
    unreachable = webhook.endpoint.failing is not None
    max_cached = MAX_CACHED_WHILE_UNREACHABLE if unreachable else MAX_CACHED
    body = delivery.body
    if len(body or b"") > MAX_BODY_BYTES:
        assert (status, document["error"], sent) == (401, "body_too_large", [])
        return
    proven = body is not None and webhook.signer.proves(delivery.token, body, max_cached=max_cached)
    made_to_fail = unreachable or webhook.queue.failing or webhook.history.failing
    assert status in {200, 400, 401} or (status == 503 and made_to_fail)
    assert proven or status in {401, 503}
    if document.get("error") == "stale":
        proven_once = body is not None and webhook.signer.proves(
            delivery.token, body, max_cached=max_cached, max_age=DAY
        )
        assert proven_once or not (sent or webhook.history.stored)
        assert all(json.loads(message["MessageBody"]).keys() == {"item_id", "cause"} for message in sent)
        return
    assert proven or not webhook.history.stored
    assert len(sent) == (document.get("result") == QUEUED)
    # Later deliveries can be too old, and their key may have expired.
    assert status in {200, 400} or not (first and not made_to_fail and delivery.must_be_accepted)
    if not proven or status not in {200, 400} or is_deep(body or b""):
        return
    result, item_id = result_of(body or b"")
    assert result == (UNPROCESSABLE if status == 400 else document["result"])
    for message in sent:
        parsed = parse_message(message["MessageBody"])
        assert parsed.cause == Cause.WEBHOOK
        assert parsed.item_id == message["MessageGroupId"] == item_id
    if status == 200:
        document = read(body or b"")
        item_id, kind = document.get("item_id"), (document["webhook_type"], document["webhook_code"])
        named = item_id if is_short_ascii(item_id, first="!") else NO_ITEM
        recorded = [(entry["item_id"], entry["outcome"], "body" in entry) for entry in webhook.history.stored]
        assert recorded == ([] if kind in NEED_A_SYNC else [(named, result, True)])


class Webhook:
    """The receiver with Plaid's real keys, and a queue and a table that refuse what SQS and DynamoDB refuse."""

    def __init__(self) -> None:
        self.signer, self.queue, self.history = Signer(), Queue(), Table()
        self.endpoint = KeyEndpoint(self.signer.ring)
        secret = secret_of_plaid()
        self.api = PlaidVerificationKeyApi("http://plaid.invalid", secret, self.endpoint)  # type: ignore[arg-type] # an edge
        queue = SqsSyncQueue(self.queue, "https://sqs.invalid/sync.fifo", str)  # type: ignore[arg-type] # an edge
        history = HistoryTable(self.history, "history")  # type: ignore[arg-type] # an edge
        shared, clock = FakeSharedState(), self.signer.clock
        keys, links = VerificationKeys(self.api, shared), FakeLinkSessions()
        self.receiver = WebhookReceiver(keys, queue, history, FakeAttempts(), shared, links, clock)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, "[]", "HTTP_400"),
        (200, '{"key":[]}', "malformed"),
        (200, "1e9999999999999999999", "InvalidJsonError"),
    ],
)
def test_an_unreadable_response_of_the_key_endpoint_is_a_transient_error(status: int, body: str, code: str) -> None:
    webhook = Webhook()
    webhook.endpoint.failing = lambda: (status, body.encode())
    with pytest.raises(TransientError) as failed:
        webhook.api.fetch("key")
    assert failed.value.code == f"verification_key_{code}"


def test_the_rules_of_proof_hold_without_the_code_under_test() -> None:
    signer = Signer()
    assert not signer.proves(signer.ring.sign(b"{}"), b"{}")  # not a delivery of this example
    token = signer.sign(b"{}")
    signing_input, _, signature = token.rpartition(".")
    other = base64.urlsafe_b64encode(other_root(base64.urlsafe_b64decode(f"{signature}=="))).rstrip(b"=").decode()
    assert signer.sign(b"{}") != token
    assert signer.proves(token, b"{}")
    assert signer.proves(f"{signing_input}.{other}", b"{}")
    assert not signer.proves(token, b"{} ")
    assert not signer.proves(token + "=", b"{}")
    assert not signer.proves(token[:-1] + ("Q" if token.endswith("A") else "A"), b"{}")
    signer.clock.time += timedelta(seconds=301)
    assert not signer.proves(token, b"{}")


def test_a_webhook_that_is_queued_needs_no_history() -> None:
    webhook = Webhook()
    webhook.history.failing = True
    body = encode(payload(plaid_item(), "ITEM", "ERROR", NOON))
    assert webhook.receiver.receive(body, webhook.signer.ring.sign(body)).queued
    assert len(webhook.queue.sent) == 1
