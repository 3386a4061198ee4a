"""Hostile webhooks: what the fuzzer does (`tests/fuzz`), for a few seconds, and what it has found."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_sync.adapters.dynamodb.history_table import HistoryTable
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.verification_key_api import PlaidVerificationKeyApi
from plaid_sync.adapters.queues import SqsSyncQueue
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.triggers import parse_trigger
from plaid_sync.core.webhooks.receiver import UnusableError, WebhookReceiver
from plaid_sync.core.webhooks.verification import RejectedError, key_id_of
from plaid_sync.core.webhooks.verification_keys import VerificationKeys

from tests.fuzz.choices import Choices
from tests.fuzz.documents import read
from tests.fuzz.edges import KeyEndpoint, Queue, Table, secrets_client
from tests.fuzz.signing import NOON, Signer
from tests.fuzz.targets import make
from tests.fuzz.webhook import FAILED, FORGED, PROVEN

CASES = st.binary(max_size=400)


@cache
def target() -> Any:
    return make("webhook")


@settings(max_examples=600, deadline=None)
@given(CASES)
def test_no_webhook_whatever_gives_a_5xx_and_none_is_queued_without_proof(case: bytes) -> None:
    target().run(case)


def test_every_seed_of_the_fuzzer_is_judged_and_some_are_queued() -> None:
    fresh = make("webhook")
    for case in fresh.seeds():
        fresh.run(case)
    assert fresh.tally[PROVEN] > 0
    assert fresh.tally["200 queued"] > 0
    assert (fresh.tally[FAILED], fresh.tally[FORGED]) == (0, 0)


class Webhook:
    """The receiver with Plaid's real keys, and a queue and a table that refuse what SQS and DynamoDB refuse."""

    def __init__(self) -> None:
        self.signer, self.queue, self.history = Signer(), Queue(), Table()
        self.endpoint = KeyEndpoint(self.signer.ring)
        secret = PlaidSecret(secrets_client, "secret", lambda: NOON)
        self.api = PlaidVerificationKeyApi("http://plaid.invalid", secret, self.endpoint)  # type: ignore[arg-type] # an edge
        queue = SqsSyncQueue(self.queue, "https://sqs.invalid/sync.fifo", str)  # type: ignore[arg-type] # an edge
        history = HistoryTable(self.history, "history")  # type: ignore[arg-type] # an edge
        self.receiver = WebhookReceiver(VerificationKeys(self.api), queue, history, self.signer.now)

    def receive(self, body: bytes) -> dict[str, Any]:
        """Receive a genuine webhook and return the message that it leads to."""
        self.receiver.receive(body, self.signer.ring.sign(body))
        message: dict[str, Any] = self.queue.sent[-1]
        return message


def named(**fields: str) -> bytes:
    """Return a body whose other members are given as JSON texts."""
    members = {"webhook_type": '"ITEM"', "webhook_code": '"ERROR"', "item_id": '"item"'} | fields
    return ("{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}").encode()


@pytest.mark.parametrize("key_id", ["\ud800", "\u00e9", "a\0b", "\n"])
def test_a_key_id_that_can_not_be_asked_for_is_refused_without_a_call(key_id: str) -> None:
    webhook = Webhook()
    header = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": key_id}).encode()).rstrip(b"=").decode()
    with pytest.raises(RejectedError, match="malformed_token"):
        webhook.receiver.receive(b"{}", f"{header}.e30.{'A' * 86}")


def test_a_token_has_one_spelling() -> None:
    webhook = Webhook()
    token = webhook.signer.ring.sign(b"{}")
    assert key_id_of(token) == webhook.signer.ring.current.kid
    for padding in ("=", "=="):
        with pytest.raises(RejectedError, match="malformed_token"):
            key_id_of(token + padding)


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\ufffe"', '"\uffff"', '{"\\udfff":[]}', '"\\u0000\u007f"'])
def test_a_webhook_with_characters_that_sqs_refuses_is_queued_whole(text: str) -> None:
    body = named(extra=text)
    message = Webhook().receive(body)
    assert read(message["MessageBody"])["webhook"] == read(body)


@pytest.mark.parametrize(
    "text", ["[" * 300 + "]" * 300, '{"a":' * 900 + "1" + "}" * 900, '"' + "\u007f" * 70_000 + '"', "1e400"]
)
def test_of_a_webhook_that_nests_deeply_or_is_large_at_least_the_codes_are_queued(text: str) -> None:
    message = Webhook().receive(named(extra=text))
    trigger = parse_trigger(message["MessageBody"])
    assert trigger.item_id == message["MessageGroupId"] == "item"
    assert trigger.webhook is not None
    assert trigger.webhook["webhook_code"] == "ERROR"


@pytest.mark.parametrize("name", ['""', '"\\ud800"', '"\u00e9"', '"\\n"', f'"{"x" * 129}"', "null", "7"])
def test_a_type_or_code_that_no_log_can_hold_is_unusable(name: str) -> None:
    for field in ("webhook_type", "webhook_code"):
        with pytest.raises(UnusableError, match=field):
            Webhook().receive(named(**{field: name}))


def test_a_number_that_no_decimal_can_be_is_unusable() -> None:
    with pytest.raises(UnusableError, match="JSON"):
        Webhook().receive(named(extra="1e9999999999999999999"))


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (500, '{"error_code":["INVALID_FIELD"]}', "HTTP_500"),
        (500, '{"error_code":{}}', "HTTP_500"),
        (400, '{"error_code":"\\ud800"}', "HTTP_400"),
        (400, f'{{"error_code":"{"A" * 65}"}}', "HTTP_400"),
        (400, '{"error_code":"INTERNAL_SERVER_ERROR"}', "INTERNAL_SERVER_ERROR"),
        (400, "[]", "HTTP_400"),
        (200, '{"key":[]}', "malformed"),
        (200, "1e9999999999999999999", "InvalidJsonError"),
    ],
)
def test_a_key_endpoint_that_answers_nonsense_is_to_be_asked_again(status: int, answer: str, code: str) -> None:
    webhook = Webhook()
    webhook.endpoint.answering = lambda _: (status, answer.encode())
    with pytest.raises(RetryableError) as failed:
        webhook.api.fetch("key")
    assert failed.value.code == f"verification_key_{code}"


@pytest.mark.parametrize("expiry", ["1e999999999999999999", "1.5", '"1"', "[]", "9" * 400])
def test_a_key_that_expires_at_no_time_is_none(expiry: str) -> None:
    webhook = Webhook()
    key = json.dumps(webhook.signer.ring.public(webhook.signer.ring.current.kid) | {"expired_at": "?"})
    webhook.endpoint.answering = lambda _: (200, f'{{"key":{key.replace(json.dumps("?"), expiry)}}}'.encode())
    with pytest.raises(RetryableError, match="malformed"):
        webhook.api.fetch("key")


def test_what_proves_a_webhook_is_judged_without_the_code_under_test() -> None:
    signer = Signer()
    assert not signer.proves(signer.ring.sign(b"{}"), b"{}")  # not signed as a delivery of this case
    token = signer.token(b"{}", Choices(b"")).text
    assert token is not None
    assert signer.proves(token, b"{}")
    assert not signer.proves(token, b"{} ")
    assert not signer.proves(token + "=", b"{}")
    assert not signer.proves(token[:-1] + ("Q" if token.endswith("A") else "A"), b"{}")
    signer.now.time += timedelta(seconds=301)
    assert not signer.proves(token, b"{}")


def test_every_proven_webhook_about_an_item_is_in_its_history_whatever_became_of_it() -> None:
    webhook = Webhook()
    ignored = named(webhook_code='"WEBHOOK_UPDATE_ACKNOWLEDGED"')
    of_no_item = named(webhook_type='"LINK"', item_id="null")
    receipts = [
        webhook.receiver.receive(body, webhook.signer.ring.sign(body)) for body in (named(), ignored, of_no_item)
    ]
    assert [(receipt.queued, receipt.recorded) for receipt in receipts] == [(True, True), (False, True), (False, None)]
    stored = [(put["webhook_code"], put["outcome"], put["kind"]) for put in webhook.history.stored]
    assert stored == [("ERROR", "queued", "webhook"), ("WEBHOOK_UPDATE_ACKNOWLEDGED", "ignored", "webhook")]
    assert {put["item_id"] for put in webhook.history.stored} == {"item"}


def test_a_history_that_can_not_be_written_costs_no_webhook() -> None:
    webhook = Webhook()
    webhook.history.out_of_order = True
    receipt = webhook.receiver.receive(named(), webhook.signer.ring.sign(named()))
    assert (receipt.queued, receipt.recorded) == (True, False)
    assert len(webhook.queue.sent) == 1
