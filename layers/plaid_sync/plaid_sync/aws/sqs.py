"""The sync queue and its dead-letter queue, both FIFO with one message group per Item; and the failed-events queue."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.messages import CORRELATION_ID, SyncMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mypy_boto3_sqs import SQSClient

    from plaid_sync.events import UnpublishedEvent

_MAX_MESSAGE_BYTES: Final = 1_048_576
"""Bytes of a message's body and attributes (names, types and values) together."""
REASON: Final = "reason"
"""Message attribute of a dead-lettered message: why it cannot be processed."""
_TEXT: Final = "String"


@dataclass(frozen=True, slots=True)
class SqsSyncQueue:
    """Sends messages; implements `SyncQueue`.

    Attributes:
        correlation_id: returns the id of the current request; empty where there is none.
    """

    client: SQSClient
    queue_url: str
    correlation_id: Callable[[], str]

    def send(self, message: SyncMessage, deduplication_id: str | None = None) -> None:
        """See `SyncQueue`. The SDK's own retries carry the same deduplication id, so that they are idempotent."""
        correlation_id = self.correlation_id()
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.queue_url,
                MessageBody=message.to_json(),
                MessageGroupId=message.item_id,
                MessageDeduplicationId=deduplication_id or str(uuid.uuid4()),
                MessageAttributes=message_attributes({CORRELATION_ID: correlation_id} if correlation_id else {}),
            )


@dataclass(frozen=True, slots=True)
class SqsReceivedMessages:
    """Hides, deletes and dead-letters received messages; implements `ReceivedMessages`."""

    client: SQSClient
    queue_url: str
    dead_letter_queue_url: str

    def change_visibility(self, receipt_handles: Collection[str], seconds: int) -> list[str]:
        """See `ReceivedMessages`."""
        return self._batch(self.client.change_message_visibility_batch, receipt_handles, VisibilityTimeout=seconds)

    def delete(self, receipt_handles: Collection[str]) -> list[str]:
        """See `ReceivedMessages`."""
        return self._batch(self.client.delete_message_batch, receipt_handles)

    def _batch(self, call: Callable[..., Any], receipt_handles: Collection[str], **fields: int) -> list[str]:
        """Call SQS for messages, ten at most, as many as a batch of the sync function has; return those that failed.

        A response can say that some entries failed.
        """
        handles = list(receipt_handles)
        entries = [{"Id": str(number), "ReceiptHandle": handle, **fields} for number, handle in enumerate(handles)]
        try:
            with aws_errors():
                response = call(QueueUrl=self.queue_url, Entries=entries)
        except TransientError:
            return handles
        return [handles[int(failed["Id"])] for failed in response.get("Failed", ())]

    def dead_letter(
        self, body: str, group_id: str, message_id: str, reason: str, attributes: Mapping[str, str]
    ) -> None:
        """See `ReceivedMessages`. The message id deduplicates: idempotent."""
        body, reason = _fitting(body, reason, attributes)
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.dead_letter_queue_url,
                MessageBody=body,
                MessageGroupId=group_id,
                MessageDeduplicationId=message_id,
                MessageAttributes=message_attributes({**attributes, REASON: reason}),
            )


@dataclass(frozen=True, slots=True)
class SqsFailedEvents:
    """Keeps events that were not published, in a standard queue; implements `FailedEvents`."""

    client: SQSClient
    queue_url: str

    def keep(self, failed: UnpublishedEvent) -> None:
        """See `FailedEvents`. Repeated, it keeps a copy."""
        event = {"detail-type": failed.event.detail_type, "detail": dict(failed.event.detail)}
        with aws_errors():
            self.client.send_message(
                QueueUrl=self.queue_url,
                MessageBody=exact_json.dumps(event, ascii_only=True),
                MessageAttributes=message_attributes({REASON: failed.code}),
            )


def message_attributes(values: Mapping[str, str]) -> Any:  # noqa: ANN401 - a TypedDict of the stubs, or a dict
    """Return attributes of a message in SQS's form."""
    return {name: {"DataType": _TEXT, "StringValue": value} for name, value in values.items()}


def _fitting(body: str, reason: str, attributes: Mapping[str, str]) -> tuple[str, str]:
    """Return body and reason; a body that leaves no room for the rest is cut at its end, and the reason says so.

    Rejected, the message would return and block its message group until its receives run out.
    """
    encoded = body.encode()
    if len(encoded) <= _room_beside({**attributes, REASON: reason}):
        return body, reason
    room = _room_beside({**attributes, REASON: _cut(reason, _MAX_MESSAGE_BYTES)})  # as wide as the number can be
    kept = encoded[:room].decode(errors="ignore")  # without half a character at its end
    return kept, _cut(reason, len(kept.encode()))


def _cut(reason: str, size: int) -> str:
    return f"{reason} (body cut to {size} bytes)"


def _room_beside(attributes: Mapping[str, str]) -> int:
    """Return the bytes that are left for the body."""
    taken = (len(text.encode()) for name, value in attributes.items() for text in (name, _TEXT, value))
    return _MAX_MESSAGE_BYTES - sum(taken)
