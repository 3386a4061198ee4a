"""Triggers: the messages on the queue that say that an Item may have changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import PlaidSyncError
from plaid_sync.core.items import ItemId
from plaid_sync.core.plain_text import is_plain, moment_or_none, moment_text, plain_or_empty

_MAXIMUM_GROUP_ID: Final = 128
CORRELATION_ID: Final = "correlation_id"
"""Attribute of a message: API Gateway's id of the request that led to it, or Lambda's of the sweep."""
SINCE: Final = "since"
"""Attribute of a message that has taken another one's place: when that one was sent."""
_PRINTABLE_ASCII: Final = frozenset(map(chr, range(0x21, 0x7F)))


class Cause(StrEnum):
    """Who asks for a sync."""

    WEBHOOK = "webhook"
    LINKED = "linked"
    REQUEST = "request"
    SWEEP = "sweep"


class MalformedTriggerError(PlaidSyncError):
    """A message that no retry will make readable.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a sync trigger: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SyncTrigger:
    """The body of a queue message.

    Attributes:
        webhook: Plaid's webhook, where one is the cause.
    """

    item_id: ItemId
    cause: Cause
    webhook: dict[str, Any] | None = None

    def to_json(self) -> str:
        """Return the message body."""
        body: dict[str, Any] = {"item_id": self.item_id, "cause": self.cause.value}
        if self.webhook is not None:
            body["webhook"] = self.webhook
        # SQS takes no lone surrogate and no U+FFFE; JSON's escapes can hold them.
        return exact_json.dumps(body, ascii_only=True)


@dataclass(frozen=True, slots=True)
class ReceivedTrigger:
    """A trigger as it came from the queue.

    Attributes:
        body: the message body as received.
        sent_at: when the queue accepted it, by the queue's clock.
        receive_count: how often it was received, this time included.
        first_sent_at: when the message was sent in whose place it has come, if it is such a copy.
        correlation_id: what marks the request that led to it; empty where that is not known.
    """

    trigger: SyncTrigger
    body: str
    message_id: str
    receipt_handle: str
    sent_at: datetime
    receive_count: int
    first_sent_at: datetime | None = None
    correlation_id: str = ""

    @property
    def since(self) -> datetime:
        """When the trigger was first queued."""
        return self.first_sent_at or self.sent_at

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of a message that takes this one's place."""
        known = {CORRELATION_ID: self.correlation_id, SINCE: moment_text(self.since)}
        return {name: value for name, value in known.items() if value}


def is_item_id(value: object) -> bool:
    """Tell whether a value can be an item_id: it has to serve as a message group."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _MAXIMUM_GROUP_ID
        and all(character in _PRINTABLE_ASCII for character in value)
    )


def parse_trigger(body: str) -> SyncTrigger:
    """Parse a message body.

    Raises:
        MalformedTriggerError: it is not `{"item_id", "cause", "webhook"?}`.
    """
    try:
        message = exact_json.loads(body)
    except exact_json.InvalidJsonError as error:
        raise MalformedTriggerError("the body is not JSON") from error
    if not isinstance(message, dict):
        raise MalformedTriggerError("the body is not an object")
    item_id, cause, webhook = message.get("item_id"), message.get("cause"), message.get("webhook")
    if not is_item_id(item_id):
        raise MalformedTriggerError("item_id must be 1 to 128 printable ASCII characters")
    if not isinstance(cause, str) or cause not in set(Cause):
        raise MalformedTriggerError(f"cause must be one of {', '.join(Cause)}")
    if webhook is not None and not isinstance(webhook, dict):
        raise MalformedTriggerError("webhook must be an object")
    return SyncTrigger(ItemId(str(item_id)), Cause(cause), webhook)


def _names_no_account(webhook: dict[str, Any]) -> bool:
    withdrawn = (webhook.get("webhook_type"), webhook.get("webhook_code")) == ("ITEM", "USER_ACCOUNT_REVOKED")
    return withdrawn and not is_plain(webhook.get("account_id"))


def parse_record(record: dict[str, Any]) -> ReceivedTrigger:
    """Parse a record of an SQS event (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).

    Raises:
        MalformedTriggerError: the body is not a trigger, or not one of its message group.
    """
    attributes = record["attributes"]
    trigger = parse_trigger(record["body"])
    if attributes.get("MessageGroupId", trigger.item_id) != trigger.item_id:
        # While it waited, whether for its Item or for a retry, it would hold up the Item of that group.
        raise MalformedTriggerError("the message group must be the item_id")
    if _names_no_account(trigger.webhook or {}):
        # Passed over, the account's rows would stay.
        raise MalformedTriggerError("webhook.account_id must name the account that was withdrawn")
    return ReceivedTrigger(
        trigger=trigger,
        body=record["body"],
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        first_sent_at=moment_or_none(attribute_of(record, SINCE)),
        correlation_id=attribute_of(record, CORRELATION_ID),
    )


def attribute_of(record: dict[str, Any], name: str) -> str:
    """Return an attribute of a record's message; empty where there is none, or none that can be logged."""
    attributes = record.get("messageAttributes")
    attribute = attributes.get(name) if isinstance(attributes, dict) else None
    return plain_or_empty(attribute.get("stringValue") if isinstance(attribute, dict) else None)
