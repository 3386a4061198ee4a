"""AWS clients in memory, which refuse what the real services refuse."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError
from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.plaid.credentials import PlaidSecret

from tests.fakes.clock import FakeClock

MAX_MESSAGE_BYTES: Final = 1_048_576
"""Of a message's body and attributes together: the default of a queue's MaximumMessageSize."""
MAX_ITEM_BYTES: Final = 400 * 1024
"""Of a DynamoDB item, attribute names included."""
_ALLOWED: Final = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


@dataclass(slots=True)
class Queue:
    """An SQS client's calls.

    Attributes:
        sent: the arguments of each accepted `send_message`.
        failing: every `send_message` fails with an error of the service.
    """

    sent: list[dict[str, Any]] = field(default_factory=list)
    failing: bool = False

    def send_message(self, **message: Any) -> None:
        attributes: dict[str, dict[str, str]] = message.get("MessageAttributes", {})
        texts = [message["MessageBody"], *(value["StringValue"] for value in attributes.values())]
        if self.failing:
            _refuse("InternalError")
        if not all(_ALLOWED.fullmatch(text) for text in texts):
            _refuse("InvalidMessageContents")
        names = [part for name, value in attributes.items() for part in (name, value["DataType"])]
        if sum(len(text.encode()) for text in texts + names) > MAX_MESSAGE_BYTES:
            _refuse("InvalidParameterValue")
        for name in ("MessageGroupId", "MessageDeduplicationId"):
            if not 0 < len(message[name]) <= 128 or not all("!" <= letter <= "~" for letter in message[name]):
                _refuse("InvalidParameterValue")
        self.sent.append(message)

    def change_message_visibility_batch(self, **_request: Any) -> dict[str, Any]:
        if self.failing:
            _refuse("InternalError")
        return {}

    def delete_message_batch(self, **_request: Any) -> None:
        """Accept."""


@dataclass(slots=True)
class Table:
    """A DynamoDB client's `put_item`.

    Attributes:
        stored: the attributes of each accepted item, as plain values.
        failing: every `put_item` fails with an error of the service.
    """

    stored: list[dict[str, Any]] = field(default_factory=list)
    failing: bool = False

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:  # noqa: ARG002, N803 - AWS's
        if self.failing:
            _refuse("InternalServerError")
        if not is_storable(Item):
            _refuse("ValidationException")
        self.stored.append(deserialize(Item))


@dataclass(slots=True)
class Secrets:
    """A Secrets Manager client with one secret."""

    text: str = '{"client_id": "client", "secret": "local-secret"}'

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 - AWS's
        return {"SecretString": self.text, "Name": SecretId}


def secret_of_plaid() -> PlaidSecret:
    return PlaidSecret(Secrets, "secret", FakeClock())  # type: ignore[arg-type] # a fake


def is_storable(attributes: dict[str, Any]) -> bool:
    """Return whether DynamoDB accepts an item with these attributes, given in wire form (400 KB, UTF-8 texts)."""
    try:
        size = sum(len(name.encode()) + _size_of(value) for name, value in attributes.items())
    except UnicodeEncodeError:
        return False
    return size <= MAX_ITEM_BYTES


def is_deliverable(text: str) -> bool:
    return _ALLOWED.fullmatch(text) is not None and len(text.encode()) <= MAX_MESSAGE_BYTES


def _size_of(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind in {"S", "N"}:
        return len(content.encode())
    if kind in {"L", "SS"}:
        return sum(len(element.encode()) if kind == "SS" else _size_of(element) for element in content)
    if kind == "M":
        return sum(len(name.encode()) + _size_of(member) for name, member in content.items())
    return len(content) if kind == "B" else 1


def _refuse(code: str) -> None:
    raise ClientError({"Error": {"Code": code, "Message": ""}}, "Operation")
