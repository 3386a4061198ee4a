"""Deliveries to the webhook function, as API Gateway hands them over."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import boto3
from plaid_sync.adapters.dynamodb.history_table import HistoryTable
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.verification_key_api import PlaidVerificationKeyApi
from plaid_sync.adapters.queues import SqsSyncQueue
from plaid_sync.core.triggers import Cause, parse_trigger
from plaid_sync.core.webhooks.receiver import WebhookReceiver
from plaid_sync.core.webhooks.verification_keys import VerificationKeys

from local.plaid import PlaidSimulator
from local.plaid.webhooks import ITEM_CODES, TRANSACTIONS_CODES, payload
from local.plaid.wire import encode
from tests.fuzz.choices import Choices
from tests.fuzz.documents import CERTAIN_DEPTH, depth_of, hostile, mutated, read
from tests.fuzz.edges import KeyEndpoint, Queue, Table, secrets_client
from tests.fuzz.signing import KEPT_UNASKED, KEPT_WHILE_UNREACHABLE, NOON, Signer, Token
from tests.fuzz.tally import RUNS, require

if TYPE_CHECKING:
    from local.plaid.items import Item

ENVIRONMENT: Final = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "PLAID_ENV": "sandbox",
    "PLAID_SECRET_ID": "secret",
    "SYNC_QUEUE_URL": "https://sqs.invalid/sync.fifo",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.invalid/dead.fifo",
    "ITEMS_TABLE": "items",
    "QUARANTINE_TABLE": "quarantine",
    "TRANSACTIONS_TABLE": "transactions",
    "HISTORY_TABLE": "history",
    "LINKS_TABLE": "links",
    "LINK_CLIENT_NAME": "Application",
    "TOKEN_KEY_ID": "key",
    "POWERTOOLS_SERVICE_NAME": "plaid-sync",
    "POWERTOOLS_METRICS_NAMESPACE": "PlaidSync",
}
CODES: Final = (
    *(("TRANSACTIONS", code) for code in TRANSACTIONS_CODES),
    *(("ITEM", code) for code in ITEM_CODES),
    ("HOLDINGS", "DEFAULT_UPDATE"),
)
NEED_A_SYNC: Final = frozenset(
    {("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")}
    | {("ITEM", code) for code in ITEM_CODES if code != "WEBHOOK_UPDATE_ACKNOWLEDGED"}
)
QUEUED, IGNORED, UNUSABLE = "queued", "ignored", "unusable"
PROVEN, FAILED, FORGED = "genuinely signed", "5xx that nobody provoked", "queued without proof"
_HEADER_NAMES: Final = ("plaid-verification", "Plaid-Verification", "PLAID-VERIFICATION", "pLaId-VeRiFiCaTiOn")
_STEPS: Final = (0, 1, 90, 121, 299, 300, 301, 3_600)


def import_app(name: str) -> Any:
    """Return a function's module, imported with an environment of its own."""
    with patch.dict(os.environ, ENVIRONMENT), patch.object(boto3, "DEFAULT_SESSION", None):
        return import_module(f"functions.{name}.app")


def lambda_context() -> Any:
    """Return a context with all the time in the world."""
    return SimpleNamespace(
        function_name="function",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:function:live",
        aws_request_id="request",
        get_remaining_time_in_millis=lambda: 300_000,
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to the webhook.

    Attributes:
        event: what the function gets.
        body: the bytes that the event delivers; None where it delivers none (broken base64).
        token: what the event's header says.
        whole: the event says what was made, by its documented names.
    """

    event: dict[str, Any]
    body: bytes | None
    token: Token
    whole: bool


class WebhookTarget:
    """The webhook function with Plaid's key endpoint and the queue replaced; see `tally.Target`."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter(dict.fromkeys((RUNS, PROVEN, QUEUED, FAILED, FORGED), 0))
        self._app = import_app("webhook")
        self._context = lambda_context()
        self._signer = Signer()
        plaid = PlaidSimulator(seed=7, clock=lambda: NOON)
        self._item: Item = plaid.item(plaid.link_item().item_id)
        self._secret = PlaidSecret(secrets_client, "secret", lambda: NOON)

    def seeds(self) -> list[bytes]:
        """See `tally.Target`."""
        codes = [bytes([0, 0, kind, code]) for code in range(len(CODES)) for kind in (0, 1)]
        return [*codes, *(bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, kind]) for kind in range(16))]

    def run(self, case: bytes) -> None:
        """See `tally.Target`."""
        choices = Choices(case)
        self._signer.begin()
        endpoint, queue, table = KeyEndpoint(self._signer.ring), Queue(), Table()
        api = PlaidVerificationKeyApi("http://plaid.invalid", self._secret, endpoint)  # type: ignore[arg-type] # an edge
        self._app.receiver = WebhookReceiver(
            VerificationKeys(api),
            SqsSyncQueue(queue, "https://sqs.invalid/sync.fifo", str),  # type: ignore[arg-type] # an edge
            HistoryTable(table, "history"),  # type: ignore[arg-type] # an edge
            self._signer.now,
        )
        delivery = None
        for number in range(1 + choices.below(8) // 6):
            if delivery is not None:
                self._signer.now.time += timedelta(seconds=choices.pick(_STEPS))
            repeated = delivery is not None and choices.one_in(2)
            if delivery is None or not repeated:
                delivery = self._delivery(choices)
            if choices.one_in(16):
                endpoint.break_down(choices)
            queue.out_of_order = choices.one_in(32)
            table.out_of_order = choices.one_in(32)
            self._deliver(delivery, endpoint, queue, table, first=number == 0)

    # ---- inputs

    def _delivery(self, choices: Choices) -> Delivery:
        body = self._body(choices)
        token = self._signer.token(body, choices)
        if choices.one_in(16):
            token.genuine, body = False, body + choices.pick((b" ", b"\n", b"\0"))
        if choices.one_in(32):
            token.genuine, body = False, self._body(choices)
        event, delivered = _as_event(body, choices)
        headers = {choices.pick(_HEADER_NAMES): token.text} if token.text is not None else None
        decoys = {"x-plaid-verification": "a.b.c", "plaid-verification-2": "a.b.c", "": "", "content-type": "text/html"}
        if choices.one_in(8):
            headers = decoys | (headers or {})
        if headers is not None or choices.one_in(2):
            event["headers"] = headers
        return Delivery(event, delivered, token, whole=delivered == body)

    def _body(self, choices: Choices) -> bytes:
        kind = choices.below(8)
        webhook_type, webhook_code = choices.pick(CODES)
        document = payload(self._item, webhook_type, webhook_code, "sandbox", NOON)
        if kind < 2:
            return encode(document)
        if kind < 6:
            return mutated(document, choices)
        if kind == 6:
            return hostile(choices).encode("utf-8", "surrogatepass")
        return choices.take(choices.below(300))

    # ---- what becomes of them

    def _deliver(self, delivery: Delivery, endpoint: KeyEndpoint, queue: Queue, table: Table, *, first: bool) -> None:
        before, recorded_before = len(queue.sent), len(table.stored)
        answer = self._app.lambda_handler(delivery.event, self._context)
        status, answered = answer["statusCode"], json.loads(answer["body"].encode())
        sent, recorded = queue.sent[before:], table.stored[recorded_before:]
        kept = KEPT_UNASKED if endpoint.answering is None else KEPT_WHILE_UNREACHABLE
        proven = delivery.body is not None and self._signer.proves(delivery.token.text, delivery.body, kept=kept)
        self.tally[RUNS] += 1
        made_to_fail = endpoint.answering is not None or queue.out_of_order
        provoked = status == 503 and made_to_fail
        self.tally[PROVEN] += proven
        self.tally[QUEUED] += len(sent)
        self.tally[FORGED] += bool(sent) and not proven
        self.tally[FAILED] += status >= 500 and not provoked
        outcome = answered.get("error") or answered["result"]
        self.tally["503 as Plaid or the queue was made to fail" if provoked else f"{status} {outcome}"] += 1

        require(holds=status in {200, 400, 401} or provoked, what=f"answered {status}", shown=delivery)
        require(holds=not sent or proven, what="queued without proof", shown=delivery)
        require(holds=not recorded or proven, what="recorded without proof", shown=delivery)
        require(holds=proven or status in {401, 503}, what="answered as if it were proven", shown=delivery)
        require(
            holds=len(sent) == (answered.get("result") == QUEUED), what="queued otherwise than told", shown=delivery
        )
        if delivery.body is not None and proven and status in {200, 400}:
            self._judge_proven(delivery, delivery.body, status, answered, sent)
            if status == 200:
                self._judge_recorded(delivery, delivery.body, answered["result"], recorded, table)
        # Later ones may be too old, their key may have expired, and what was asked for is remembered.
        if first and not made_to_fail and delivery.token.genuine and delivery.whole:
            require(holds=status in {200, 400}, what=f"genuine, but answered {status}", shown=delivery)

    def _judge_proven(
        self, delivery: Delivery, body: bytes, status: int, answered: dict[str, str], sent: list[dict[str, Any]]
    ) -> None:
        result, item_id = meaning(body)
        told = UNUSABLE if status == 400 else answered["result"]
        if depth_of(body) <= CERTAIN_DEPTH:
            require(holds=told == result, what=f"is to be {result}, was {told}", shown=delivery)
        for message in sent:
            trigger = parse_trigger(message["MessageBody"])
            named = (trigger.item_id, message["MessageGroupId"])
            require(holds=trigger.cause is Cause.WEBHOOK, what="queued with another cause", shown=message)
            require(holds=named == (item_id, item_id), what="queued for another Item", shown=(delivery, message))

    def _judge_recorded(
        self, delivery: Delivery, body: bytes, result: str, recorded: list[dict[str, Any]], table: Table
    ) -> None:
        """Require that the Item's history has the webhook and what became of it, if it names an Item."""
        if depth_of(body) > CERTAIN_DEPTH:
            return
        item_id = read(body).get("item_id")
        wanted = [(item_id, result)] if is_short_ascii(item_id, first="!") and not table.out_of_order else []
        told = [(entry["item_id"], entry["outcome"]) for entry in recorded]
        require(holds=told == wanted, what="recorded otherwise", shown=(delivery, recorded))
        self.tally["recorded"] += len(recorded)


def meaning(body: bytes) -> tuple[str, str | None]:
    """Return what must become of a proven body, and for which Item."""
    try:
        document = read(body)
    except ValueError:
        return UNUSABLE, None
    names = [document.get(name) for name in ("webhook_type", "webhook_code")] if isinstance(document, dict) else [None]
    if not all(is_short_ascii(name, first=" ") for name in names):
        return UNUSABLE, None
    if tuple(names) not in NEED_A_SYNC:
        return IGNORED, None
    item_id = document.get("item_id")
    return (QUEUED, item_id) if is_short_ascii(item_id, first="!") else (UNUSABLE, None)


def is_short_ascii(value: object, *, first: str, longest: int = 128) -> bool:
    """Tell whether a value is a text of 1 to `longest` ASCII characters from `first` to the last printable one."""
    return isinstance(value, str) and 1 <= len(value) <= longest and all(first <= letter <= "~" for letter in value)


def _as_event(body: bytes, choices: Choices) -> tuple[dict[str, Any], bytes | None]:
    """Return an event with the body, and the bytes that it really delivers."""
    form = choices.below(16)
    if form == 15:
        return {"body": None, "isBase64Encoded": choices.one_in(2)}, b""
    if form == 14:
        return {"isBase64Encoded": False}, b""
    if form == 13 and body:
        encoded = base64.b64encode(body).decode()
        return {"body": encoded[1:] + choices.pick(("", "!", "\u00e9", "==")), "isBase64Encoded": True}, None
    if form == 12:
        text = body.decode("latin-1")
        return {"body": text, "isBase64Encoded": False}, text.encode()
    try:
        text = body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        form = 11
    if form > 8:
        return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}, body
    return {"body": text, "isBase64Encoded": False}, body
