"""Messages on the sync queue: each says that an Item may have changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.errors import PlaidSyncError
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.text import is_printable_ascii, printable_or_empty

CORRELATION_ID: Final = "correlation_id"
"""Message attribute: API Gateway's id of the request that led to the message, or Lambda's of the sweep's run."""
ITEM_WEBHOOK_TYPE: Final = "ITEM"
_MAX_GROUP_ID_LENGTH: Final = 128
_PRINTABLE_ASCII: Final = frozenset(map(chr, range(0x21, 0x7F)))


class Cause(StrEnum):
    """What requests a sync."""

    WEBHOOK = "webhook"
    STALE_WEBHOOK = "stale_webhook"
    REFUSED_WEBHOOK = "refused_webhook"
    """The queue refused the message of a webhook, which left a request; the sweep sends this one."""
    LINKED = "linked"
    REQUEST = "request"
    ACCOUNTS = "accounts"
    """A request that the accounts are compared, too. A check in the message supersedes no attempt that runs."""
    SWEEP = "sweep"


class MalformedMessageError(PlaidSyncError):
    """A message that no retry makes readable.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a sync message: {reason}")
        self.reason = reason


_SWEPT_CLASSES: Final = (CallClass.RETRY, CallClass.ROUTINE)


@dataclass(frozen=True, slots=True)
class SyncMessage:
    """The body of a message.

    Attributes:
        cause: a `Cause`, or a word of a newer version.
        webhook: Plaid's webhook, where one is the cause.
        call_class: what the calls of its attempt are for; other messages are as urgent as a webhook's.
    """

    item_id: ItemId
    cause: str
    webhook: dict[str, Any] | None = None
    call_class: CallClass = CallClass.WEBHOOK

    def to_json(self) -> str:
        """Return the message body."""
        body: dict[str, Any] = {"item_id": self.item_id, "cause": str(self.cause)}
        if self.webhook is not None:
            body["webhook"] = self.webhook
        if self.call_class is not CallClass.WEBHOOK:
            body["call_class"] = str(self.call_class)
        # SQS rejects lone surrogates and U+FFFE; JSON's escapes can hold them.
        return exact_json.dumps(body, ascii_only=True)


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message as received from the queue.

    Attributes:
        message: the parsed body.
        body: the body as received.
        sent_at: when the queue accepted it, by the queue's clock.
        receive_count: how often it was received, this time included.
        correlation_id: id of the request that led to it; empty where it is unknown.
    """

    message: SyncMessage
    body: str
    message_id: str
    receipt_handle: str
    sent_at: datetime
    receive_count: int
    correlation_id: str = ""

    @property
    def attributes(self) -> dict[str, str]:
        """The message attributes of a copy of it."""
        return {CORRELATION_ID: self.correlation_id} if self.correlation_id else {}


def is_item_id(value: object) -> bool:
    """Return whether a value can be an item_id: it has to serve as a message group."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_GROUP_ID_LENGTH
        and all(character in _PRINTABLE_ASCII for character in value)
    )


def parse_message(body: str) -> SyncMessage:
    """Parse a message body; unknown fields are ignored, unknown causes are kept, and unknown classes are a webhook's.

    Raises:
        MalformedMessageError: it is not `{"item_id", "cause", "webhook"?, "call_class"?}`.
    """
    try:
        message = exact_json.loads(body)
    except exact_json.InvalidJsonError as error:
        raise MalformedMessageError("the body is not JSON") from error
    if not isinstance(message, dict):
        raise MalformedMessageError("the body is not an object")
    item_id, cause, webhook = message.get("item_id"), message.get("cause"), message.get("webhook")
    if not is_item_id(item_id):
        raise MalformedMessageError("item_id must be 1 to 128 printable ASCII characters")
    if not is_printable_ascii(cause):
        raise MalformedMessageError(f"cause must be a word, such as {', '.join(Cause)}")
    if webhook is not None and not isinstance(webhook, dict):
        raise MalformedMessageError("webhook must be an object")
    return SyncMessage(ItemId(str(item_id)), cause, webhook, _call_class_of(message.get("call_class")))


def _call_class_of(value: object) -> CallClass:
    """Return the class that the sweep sends; every other message is as urgent as a webhook's."""
    return next((call_class for call_class in _SWEPT_CLASSES if call_class == value), CallClass.WEBHOOK)


def parse_record(record: dict[str, Any]) -> ReceivedMessage:
    """Parse a record of an SQS event (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).

    Raises:
        MalformedMessageError: the body is not a message of ours, or not one of its message group.
    """
    attributes = record["attributes"]
    message = parse_message(record["body"])
    if attributes.get("MessageGroupId", message.item_id) != message.item_id:
        # Hidden while its worker runs, it would block the Item of that group.
        raise MalformedMessageError("the message group must be the item_id")
    if _misses_account(message.webhook or {}):
        # Ignored, the account's rows would stay.
        raise MalformedMessageError("webhook.account_id must name the account that was withdrawn")
    return ReceivedMessage(
        message=message,
        body=record["body"],
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        correlation_id=attribute_of(record, CORRELATION_ID),
    )


def _misses_account(webhook: dict[str, Any]) -> bool:
    withdrawn = (webhook.get("webhook_type"), webhook.get("webhook_code")) == ("ITEM", "USER_ACCOUNT_REVOKED")
    return withdrawn and not is_printable_ascii(webhook.get("account_id"))


def attribute_of(record: dict[str, Any], name: str) -> str:
    """Return a message attribute of a record; empty where it is absent, or not printable."""
    attributes = record.get("messageAttributes")
    attribute = attributes.get(name) if isinstance(attributes, dict) else None
    return printable_or_empty(attribute.get("stringValue") if isinstance(attribute, dict) else None)
