"""The sync queue and its dead-letter queue, both FIFO with one message group per Item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.adapters.aws import aws_errors

if TYPE_CHECKING:
    from collections.abc import Collection

    from mypy_boto3_sqs import SQSClient

    from plaid_sync.core.triggers import SyncTrigger

_LARGEST_MESSAGE: Final = 1_048_576
"""Bytes of a message's body and attributes (names, types and values) together."""
_REASON: Final = "reason"
_TEXT: Final = "String"


@dataclass(frozen=True, slots=True)
class SqsSyncQueue:
    """Sends triggers; fulfils `SyncQueue`."""

    client: SQSClient
    queue_url: str

    def send(self, trigger: SyncTrigger, deduplication_id: str) -> None:
        """See `ports.common.SyncQueue`. The SDK's own repeats carry the same id: that is what it is for."""
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.queue_url,
                MessageBody=trigger.to_json(),
                MessageGroupId=trigger.item_id,
                MessageDeduplicationId=deduplication_id,
            )


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

    def renew(self, body: str, group_id: str, message_id: str) -> None:
        """See `ports.sync.ReceivedMessages`. The message id deduplicates: renewing twice renews once."""
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.queue_url,
                MessageBody=body,
                MessageGroupId=group_id,
                MessageDeduplicationId=message_id,
            )

    def park(self, body: str, group_id: str, message_id: str, reason: str) -> None:
        """See `ports.sync.ReceivedMessages`. The message id deduplicates: parking twice parks once."""
        body, reason = _fitting(body, reason)
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.dead_letter_queue_url,
                MessageBody=body,
                MessageGroupId=group_id,
                MessageDeduplicationId=message_id,
                MessageAttributes={_REASON: {"DataType": _TEXT, "StringValue": reason}},
            )


def _fitting(body: str, reason: str) -> tuple[str, str]:
    """Return body and reason; a body that leaves no room for the reason is cut at its end, and the reason says so.

    Refused, the message would come back and hold up its message group until its receives run out.
    """
    whole = body.encode()
    if len(whole) <= _room_beside(reason):
        return body, reason
    room = _room_beside(_cut(reason, _LARGEST_MESSAGE))  # as wide as the number can be
    kept = whole[:room].decode(errors="ignore")  # of half a character at its end
    return kept, _cut(reason, len(kept.encode()))


def _cut(reason: str, size: int) -> str:
    return f"{reason} (body cut to {size} bytes)"


def _room_beside(reason: str) -> int:
    """Return the bytes that are left for the body."""
    return _LARGEST_MESSAGE - sum(len(text.encode()) for text in (_REASON, _TEXT, reason))
