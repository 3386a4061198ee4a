"""What the adapters' clients reach: a queue that refuses what SQS refuses, and Plaid's key endpoint."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import urllib3
from botocore.exceptions import ClientError
from plaid_sync.adapters.dynamodb.expressions import deserialize

from local.plaid import PlaidError
from tests.fuzz.documents import hostile, mutated

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plaid.keys import KeyRing
    from tests.fuzz.choices import Choices

LARGEST_MESSAGE: Final = 1_048_576
"""Bytes of a message's body and attributes together: the default of a queue's MaximumMessageSize."""
LARGEST_ITEM: Final = 400 * 1024
"""Bytes of a DynamoDB item, attribute names included."""
_ALLOWED: Final = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
_CREDENTIALS: Final = {"client_id": "client", "secret": "secret"}


@dataclass(slots=True)
class Queue:
    """An SQS client's calls on one queue or two; what is not accepted is refused with AWS's error.

    Attributes:
        sent: the arguments of every accepted `send_message`.
        out_of_order: the queue fails for reasons of its own.
    """

    sent: list[dict[str, Any]] = field(default_factory=list)
    out_of_order: bool = False

    def send_message(self, **message: Any) -> None:
        """Accept a message (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html)."""
        attributes: dict[str, dict[str, str]] = message.get("MessageAttributes", {})
        texts = [message["MessageBody"], *(value["StringValue"] for value in attributes.values())]
        if self.out_of_order:
            _refuse("InternalError")
        if not all(_ALLOWED.fullmatch(text) for text in texts):
            _refuse("InvalidMessageContents")
        names = [part for name, value in attributes.items() for part in (name, value["DataType"])]
        if sum(len(text.encode()) for text in texts + names) > LARGEST_MESSAGE:
            _refuse("InvalidParameterValue")
        for name in ("MessageGroupId", "MessageDeduplicationId"):
            if not 0 < len(message[name]) <= 128 or not all("!" <= letter <= "~" for letter in message[name]):
                _refuse("InvalidParameterValue")
        self.sent.append(message)

    def change_message_visibility_batch(self, **_request: Any) -> None:
        """Accept."""


@dataclass(slots=True)
class Table:
    """A DynamoDB client's `put_item`; what DynamoDB does not take is refused with AWS's error.

    Attributes:
        stored: the attributes of every accepted item, as plain values.
        out_of_order: the table fails for reasons of its own.
    """

    stored: list[dict[str, Any]] = field(default_factory=list)
    out_of_order: bool = False

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:  # noqa: ARG002, N803 - AWS's
        """Accept an item."""
        if self.out_of_order:
            _refuse("InternalServerError")
        if not is_storable(Item):
            _refuse("ValidationException")
        self.stored.append(deserialize(Item))


def is_storable(attributes: dict[str, Any]) -> bool:
    """Tell whether DynamoDB takes an item with these attributes, given in wire form (400 KB, UTF-8 texts)."""
    try:
        size = sum(len(name.encode()) + _size_of(value) for name, value in attributes.items())
    except UnicodeEncodeError:
        return False
    return size <= LARGEST_ITEM


def _size_of(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind in {"S", "N"}:
        return len(content.encode())
    if kind in {"L", "SS"}:
        return sum(len(one.encode()) if kind == "SS" else _size_of(one) for one in content)
    if kind == "M":
        return sum(len(name.encode()) + _size_of(one) for name, one in content.items())
    return len(content) if kind == "B" else 1


def deliverable(text: str) -> bool:
    """Tell whether SQS could ever have delivered a message with this body."""
    return _ALLOWED.fullmatch(text) is not None and len(text.encode()) <= LARGEST_MESSAGE


def _refuse(code: str) -> None:
    raise ClientError({"Error": {"Code": code, "Message": ""}}, "SendMessage")


def secrets_client() -> Any:
    """Return a Secrets Manager client that knows one secret."""
    text = json.dumps(_CREDENTIALS)
    return SimpleNamespace(get_secret_value=lambda SecretId: {"SecretString": text, "Name": SecretId})  # noqa: N803


@dataclass(slots=True)
class KeyEndpoint:
    """Plaid's /webhook_verification_key/get, in the place of urllib3's pool.

    Attributes:
        answering: how it answers from now on; None: as Plaid does.
    """

    ring: KeyRing
    answering: Callable[[dict[str, Any]], tuple[int, bytes]] | None = None

    def request(self, _method: str, _url: str, *, body: bytes, **_more: Any) -> Any:
        """Answer a call."""
        asked = json.loads(body)
        status, answer = (self.answering or self._plain)(asked)
        return SimpleNamespace(status=status, data=answer)

    def _plain(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        try:
            return 200, json.dumps({"key": self.ring.public(asked["key_id"]), "request_id": "r"}).encode()
        except PlaidError as error:
            return error.status, json.dumps(error.body("r")).encode()

    def break_down(self, choices: Choices) -> None:
        """Answer wrongly from now on, in one of many ways."""
        kind = choices.below(5)
        if kind == 0:
            self.answering = _time_out
            return
        if kind == 1:
            answer = (choices.pick((500, 429, 400, 302, 200)), choices.rest()[:200])
        elif kind == 2:
            answer = (choices.pick((400, 500)), mutated({"error_code": "INTERNAL_SERVER_ERROR"}, choices))
        elif kind == 3:
            answer = (200, f'{{"key":{hostile(choices)}}}'.encode("utf-8", "surrogatepass"))
        else:
            key = mutated(self.ring.public(self.ring.current.kid), choices)
            answer = (200, b'{"key":' + key + b"}")
        self.answering = lambda _asked: answer


def _time_out(_asked: dict[str, Any]) -> tuple[int, bytes]:
    raise urllib3.exceptions.ReadTimeoutError(urllib3.HTTPConnectionPool("127.0.0.1"), "/", "made to fail")
