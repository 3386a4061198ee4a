"""The sync queue and its dead-letter queue, as the event source mapping and an operator use them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.integration.harness import received, stale_receipts_allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import LocalStack


class DeadLetter(NamedTuple):
    """A message in the dead-letter queue; the reason is empty where the queue moved it at the receive limit."""

    body: str
    group: str
    reason: str


@dataclass(frozen=True, slots=True)
class Queues:
    stack: LocalStack

    @property
    def _sqs(self) -> Any:
        return self.stack.client("sqs")

    def send(self, body: str, group: str) -> None:
        self._sqs.send_message(
            QueueUrl=self.stack.sync_queue_url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=str(uuid.uuid4()),
        )

    def receive(self, count: int) -> list[dict[str, Any]]:
        """Receive a batch, as the records of an event."""
        return received(self._sqs, self.stack.sync_queue_url, count)

    def acknowledge(self, records: list[dict[str, Any]], response: dict[str, Any] | None) -> None:
        """Delete what the handler did not report as failed. A worker that died has no response: nothing is deleted."""
        if response is None:
            return
        failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
        assert failed <= {record["messageId"] for record in records}
        for record in records:
            if record["messageId"] not in failed:
                with stale_receipts_allowed(self._sqs):
                    self._sqs.delete_message(QueueUrl=self.stack.sync_queue_url, ReceiptHandle=record["receiptHandle"])

    def size(self) -> int:
        """Return how many messages are on the sync queue, hidden ones included."""
        return sum(self._counts(self.stack.sync_queue_url))

    def in_flight(self) -> int:
        """Return how many messages are hidden."""
        return self._counts(self.stack.sync_queue_url)[1]

    def dead_letters(self) -> int:
        """Return how many messages are on the dead-letter queue."""
        return sum(self._counts(self.stack.dead_letter_queue_url))

    def _counts(self, url: str) -> tuple[int, int]:
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        visible, hidden = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
        return int(found["Attributes"][visible]), int(found["Attributes"][hidden])

    def redrive(self) -> int:
        """Return dead letters to the sync queue; return how many."""
        letters = list(self.take_dead_letters())
        for letter in letters:
            self.send(letter.body, letter.group)
        return len(letters)

    def take_dead_letters(self) -> Iterator[DeadLetter]:
        """Empty the dead-letter queue; drop malformed messages, which no retry makes readable."""
        url = self.stack.dead_letter_queue_url
        while letters := received(self._sqs, url, 10):
            for letter in letters:
                self._sqs.delete_message(QueueUrl=url, ReceiptHandle=letter["receiptHandle"])
                reason = letter["messageAttributes"].get("reason", {}).get("stringValue", "")
                if not reason.startswith("malformed"):
                    yield DeadLetter(letter["body"], letter["attributes"]["MessageGroupId"], reason)

    def purge(self) -> None:
        for url in (self.stack.sync_queue_url, self.stack.dead_letter_queue_url):
            self._sqs.purge_queue(QueueUrl=url)
