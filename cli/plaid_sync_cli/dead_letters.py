"""The dead-letter queue: read without harm, and each message sent back without loss."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import simplejson
from plaid_sync.core.sync.batch import MALFORMED
from plaid_sync.core.triggers import MalformedTriggerError, parse_record, parse_trigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plaid_sync_cli.deployment import Deployment

REASON: Final = "reason"
"""The message attribute by which the sync function says why it has parked a message."""
_HIDDEN_SECONDS: Final = 60
_BATCH: Final = 10
_EMPTY_RECEIVES: Final = 2
"""A receive can be empty though the queue is not: so many in a row are taken for its end."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of the dead-letter queue.

    Attributes:
        reason: why it is there, in full.
        cause: the reason without its particulars: what messages are grouped by.
        item_id: of which Item; None where that can't be read.
        malformed: it could not be worked on if it were sent back.
        sent_at: when the queue that it is in, or was in before, accepted it.
        attributes: its message attributes as SQS gives them.
    """

    message_id: str
    receipt_handle: str
    body: str
    group_id: str
    reason: str
    item_id: str | None
    malformed: bool
    sent_at: datetime
    attributes: dict[str, Any]

    @property
    def cause(self) -> str:
        """What messages are grouped by."""
        return self.reason.split(" (body cut")[0]


@dataclass(frozen=True, slots=True)
class Group:
    """The dead letters of one cause."""

    cause: str
    count: int
    oldest: datetime
    items: tuple[str, ...]
    malformed: int


def read_letter(message: dict[str, Any], most_receives: int) -> DeadLetter:
    """Read a message as SQS gives it.

    Args:
        message: with all of its attributes.
        most_receives: after how many SQS itself gives a message up.
    """
    attributes: dict[str, Any] = message.get("MessageAttributes", {})
    told = attributes.get(REASON, {}).get("StringValue")
    item_id, malformed = _item_of(message)
    return DeadLetter(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        group_id=message["Attributes"]["MessageGroupId"],
        reason=told or f"given up after {most_receives} receives",
        item_id=item_id,
        malformed=malformed or (told or "").startswith(MALFORMED),
        sent_at=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
        attributes=attributes,
    )


def _item_of(message: dict[str, Any]) -> tuple[str | None, bool]:
    """Return the Item, and whether the sync function would refuse the message."""
    record = {
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
    }
    try:
        return parse_record(record).trigger.item_id, False
    except MalformedTriggerError:
        pass
    try:
        return parse_trigger(message["Body"]).item_id, True
    except MalformedTriggerError:
        return None, True


def grouped(letters: Iterable[DeadLetter]) -> list[Group]:
    """Group dead letters by cause, the largest group first."""
    groups: dict[str, list[DeadLetter]] = {}
    for letter in letters:
        groups.setdefault(letter.cause, []).append(letter)
    made = [
        Group(
            cause=cause,
            count=len(members),
            oldest=min(member.sent_at for member in members),
            items=tuple(sorted({member.item_id for member in members if member.item_id is not None})),
            malformed=sum(member.malformed for member in members),
        )
        for cause, members in groups.items()
    ]
    return sorted(made, key=lambda group: (-group.count, group.cause))


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """Reads dead letters, and sends them back.

    Attributes:
        url: the dead-letter queue's.
        sync_queue_url: where they came from, and go back to.
        most_receives: after how many SQS gives a message up.
    """

    sqs: Any
    url: str
    sync_queue_url: str
    most_receives: int

    @classmethod
    def of(cls, deployment: Deployment) -> DeadLetterQueue:
        """Return a deployment's."""
        sqs, queue = deployment.client("sqs"), deployment.output("SyncQueueUrl")
        answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])
        policy = simplejson.loads(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
        return cls(sqs, deployment.output("DeadLetterQueueUrl"), queue, int(policy.get("maxReceiveCount", 0)))

    @contextmanager
    def received(self) -> Iterator[Iterator[DeadLetter]]:
        """Receive what can be received; whatever is left at the end is visible again at once.

        The dead-letter queue gives nothing up, so that no receive is one too many. Of one Item at most ten messages
        come at a time: the others are behind them.
        """
        held: list[DeadLetter] = []

        def receive() -> Iterator[DeadLetter]:
            empty, seen = 0, set[str]()
            while empty < _EMPTY_RECEIVES:
                letters = [read_letter(message, self.most_receives) for message in self._receive()]
                held.extend(letters)
                # In a large queue the first ones are visible again before the last one is read.
                new = [letter for letter in letters if letter.message_id not in seen]
                empty = 0 if new else empty + 1
                seen.update(letter.message_id for letter in new)
                yield from new

        try:
            yield receive()
        finally:
            self._release(held)

    def peek(self, most: int = 1_000) -> list[DeadLetter]:
        """Read what can be read, up to so many, and change nothing."""
        with self.received() as letters:
            return list(islice(letters, most))

    def send_back(self, letter: DeadLetter) -> bool:
        """Send a message to the sync queue, and only then delete it here; tell whether it is deleted.

        A crash between the two leaves it here, to be sent once more: one sync too many, and none too few. Its own id
        deduplicates, so that twice within five minutes is once. What it says of why it was parked stays behind.
        """
        attributes = {name: value for name, value in letter.attributes.items() if name != REASON}
        self.sqs.send_message(
            QueueUrl=self.sync_queue_url,
            MessageBody=letter.body,
            MessageGroupId=letter.group_id,
            MessageDeduplicationId=f"replay-{letter.message_id}",
            MessageAttributes=attributes,
        )
        try:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=letter.receipt_handle)
        except (self.sqs.exceptions.ReceiptHandleIsInvalid, self.sqs.exceptions.InvalidIdFormat):
            return False
        return True

    def _receive(self) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=_BATCH,
            VisibilityTimeout=_HIDDEN_SECONDS,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _release(self, letters: list[DeadLetter]) -> None:
        """Make messages visible again; those that are deleted, or visible already, are none of it."""
        for start in range(0, len(letters), _BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": letter.receipt_handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(letters[start : start + _BATCH])
            ]
            self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
