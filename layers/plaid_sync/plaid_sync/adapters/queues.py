"""The sync queue and its dead-letter queue, both FIFO with one message group per Item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.adapters.aws import aws_errors

if TYPE_CHECKING:
    from collections.abc import Collection

    from mypy_boto3_sqs import SQSClient

    from plaid_sync.core.triggers import SyncTrigger


@dataclass(frozen=True, slots=True)
class SqsSyncQueue:
    """Sends triggers; fulfils `SyncQueue`."""

    client: SQSClient
    queue_url: str

    def send(self, trigger: SyncTrigger, deduplication_id: str) -> None:
        """See `ports.SyncQueue`. The SDK's own repeats carry the same id: that is what it is for."""
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
        """See `ports.ReceivedMessages`."""
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
            for number, handle in enumerate(receipt_handles)
        ]
        with aws_errors():
            self.client.change_message_visibility_batch(QueueUrl=self.queue_url, Entries=entries)  # type: ignore[arg-type] # a list of the TypedDict's shape

    def park(self, body: str, group_id: str, message_id: str, reason: str) -> None:
        """See `ports.ReceivedMessages`. The message id deduplicates: parking twice parks once."""
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.dead_letter_queue_url,
                MessageBody=body,
                MessageGroupId=group_id,
                MessageDeduplicationId=message_id,
                MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
            )
