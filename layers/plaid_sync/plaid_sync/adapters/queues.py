"""The sync queue and its dead-letter queue, both FIFO with one message group per Item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.core.triggers import CORRELATION_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mypy_boto3_sqs import SQSClient

    from plaid_sync.core.triggers import SyncTrigger

_LARGEST_MESSAGE: Final = 1_048_576
"""Bytes of a message's body and attributes (names, types and values) together."""
REASON: Final = "reason"
"""Attribute of a parked message: why it can't be worked on."""
_TEXT: Final = "String"


@dataclass(frozen=True, slots=True)
class SqsSyncQueue:
    """Sends triggers; fulfils `SyncQueue`.

    Attributes:
        correlation_id: returns what marks the request that is answered now; empty where nothing does.
    """

    client: SQSClient
    queue_url: str
    correlation_id: Callable[[], str]

    def send(self, trigger: SyncTrigger, deduplication_id: str) -> None:
        """See `ports.common.SyncQueue`. The SDK's own repeats carry the same id: that is what it is for."""
        mark = self.correlation_id()
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.queue_url,
                MessageBody=trigger.to_json(),
                MessageGroupId=trigger.item_id,
                MessageDeduplicationId=deduplication_id,
                MessageAttributes=message_attributes({CORRELATION_ID: mark} if mark else {}),
            )


@dataclass(frozen=True, slots=True)
class WaitingMessages:
    """Tells how many messages can be received; fulfils `WaitingTriggers`. What waits for a retry is not among them."""

    client: SQSClient
    queue_url: str

    def __call__(self) -> int:
        """See `ports.lifecycle.WaitingTriggers`."""
        name: Final = "ApproximateNumberOfMessages"
        with aws_errors():
            answer = self.client.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=[name])
        return int(answer["Attributes"][name])


@dataclass(frozen=True, slots=True)
class SqsReceivedMessages:
    """Postpones and parks; fulfils `ReceivedMessages`."""

    client: SQSClient
    queue_url: str
    dead_letter_queue_url: str

    def postpone(self, receipt_handles: Collection[str], seconds: int) -> None:
        """See `ports.sync.ReceivedMessages`."""
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
            for number, handle in enumerate(receipt_handles)
        ]
        with aws_errors():
            self.client.change_message_visibility_batch(QueueUrl=self.queue_url, Entries=entries)  # type: ignore[arg-type] # a list of the TypedDict's shape

    def renew(self, body: str, group_id: str, message_id: str, attributes: Mapping[str, str]) -> None:
        """See `ports.sync.ReceivedMessages`. The message id deduplicates: renewing twice renews once."""
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.queue_url,
                MessageBody=body,
                MessageGroupId=group_id,
                MessageDeduplicationId=message_id,
                MessageAttributes=message_attributes(attributes),
            )

    def park(self, body: str, group_id: str, message_id: str, reason: str, attributes: Mapping[str, str]) -> None:
        """See `ports.sync.ReceivedMessages`. The message id deduplicates: parking twice parks once."""
        body, reason = _fitting(body, reason, attributes)
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.dead_letter_queue_url,
                MessageBody=body,
                MessageGroupId=group_id,
                MessageDeduplicationId=message_id,
                MessageAttributes=message_attributes({**attributes, REASON: reason}),
            )


def message_attributes(values: Mapping[str, str]) -> Any:  # noqa: ANN401 - a TypedDict of the stubs, or a dict
    """Return attributes of a message in SQS's form."""
    return {name: {"DataType": _TEXT, "StringValue": value} for name, value in values.items()}


def _fitting(body: str, reason: str, attributes: Mapping[str, str]) -> tuple[str, str]:
    """Return body and reason; a body that leaves no room for the rest is cut at its end, and the reason says so.

    Refused, the message would come back and hold up its message group until its receives run out.
    """
    whole = body.encode()
    if len(whole) <= _room_beside({**attributes, REASON: reason}):
        return body, reason
    room = _room_beside({**attributes, REASON: _cut(reason, _LARGEST_MESSAGE)})  # as wide as the number can be
    kept = whole[:room].decode(errors="ignore")  # of half a character at its end
    return kept, _cut(reason, len(kept.encode()))


def _cut(reason: str, size: int) -> str:
    return f"{reason} (body cut to {size} bytes)"


def _room_beside(attributes: Mapping[str, str]) -> int:
    """Return the bytes that are left for the body."""
    taken = (len(text.encode()) for name, value in attributes.items() for text in (name, _TEXT, value))
    return _LARGEST_MESSAGE - sum(taken)
