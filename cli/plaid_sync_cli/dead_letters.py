"""The dead-letter queue: lists dead-lettered messages, and moves them back to the sync queue without loss."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import simplejson
from botocore.exceptions import ClientError
from plaid_sync.aws.clients import error_code
from plaid_sync.aws.sqs import REASON
from plaid_sync.domain.messages import MalformedMessageError, parse_message, parse_record
from plaid_sync.sync.batch import MALFORMED

from plaid_sync_cli.errors import ACCESS_DENIED, CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from plaid_sync_cli.deployment import Deployment

_VISIBILITY_TIMEOUT: Final = 60
_BATCH: Final = 10
_MAX_RELEASES: Final = 3
_MAX_EMPTY_RECEIVES: Final = 2
"""A receive can be empty although the queue is not: so many in a row count as its end."""
_UNSUPPORTED: Final = frozenset(
    {"InvalidAction", "UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"}
)
"""SQS's codes for an unsupported operation, as in the emulator."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead-lettered message.

    Attributes:
        reason: why it was dead-lettered.
        item_id: its Item; None if unreadable.
        malformed: the sync function would reject it again.
        sent_at: when SQS accepted it.
        attributes: its message attributes, as SQS returns them.
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
        """The reason without its details: the key by which messages are grouped."""
        return self.reason.split(" (body cut")[0]


@dataclass(frozen=True, slots=True)
class Group:
    """The dead-lettered messages with one cause."""

    cause: str
    count: int
    oldest: datetime
    items: tuple[str, ...]
    malformed: int


def parse_dead_letter(message: dict[str, Any], max_receives: int) -> DeadLetter:
    """Parse a message as SQS returns it.

    Args:
        message: with all of its attributes.
        max_receives: the maxReceiveCount of the sync queue.
    """
    attributes: dict[str, Any] = message.get("MessageAttributes", {})
    reason = attributes.get(REASON, {}).get("StringValue")
    item_id, malformed = _parse_item_id(message)
    return DeadLetter(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        group_id=message["Attributes"]["MessageGroupId"],
        reason=reason or f"exceeded maxReceiveCount ({max_receives})",
        item_id=item_id,
        malformed=malformed or (reason or "").startswith(MALFORMED),
        sent_at=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
        attributes=attributes,
    )


def _parse_item_id(message: dict[str, Any]) -> tuple[str | None, bool]:
    """Return the Item, and whether the sync function would reject the message."""
    record = {
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
    }
    try:
        return parse_record(record).message.item_id, False
    except MalformedMessageError:
        pass
    try:
        return parse_message(message["Body"]).item_id, True
    except MalformedMessageError:
        return None, True


def group_by_cause(letters: Iterable[DeadLetter]) -> list[Group]:
    """Group messages by cause, the largest group first."""
    by_cause: dict[str, list[DeadLetter]] = {}
    for letter in letters:
        by_cause.setdefault(letter.cause, []).append(letter)
    groups = [
        Group(
            cause=cause,
            count=len(members),
            oldest=min(member.sent_at for member in members),
            items=tuple(sorted({member.item_id for member in members if member.item_id is not None})),
            malformed=sum(member.malformed for member in members),
        )
        for cause, members in by_cause.items()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.cause))


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """Reads dead-lettered messages, and sends them back.

    Attributes:
        url: the URL of the dead-letter queue.
        sync_queue_url: its source queue; that of the outbound webhooks is no FIFO queue.
        max_receives: the maxReceiveCount of the source queue.
        parse: reads a message as SQS returns it, with the maxReceiveCount.
    """

    sqs: Any
    url: str
    sync_queue_url: str
    max_receives: int
    parse: Callable[[dict[str, Any], int], DeadLetter] = parse_dead_letter

    @classmethod
    def of(cls, deployment: Deployment) -> DeadLetterQueue:
        """Return the dead-letter queue of a deployment."""
        sqs, queue = deployment.client("sqs"), deployment.output("SyncQueueUrl")
        response = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])
        policy = simplejson.loads(response.get("Attributes", {}).get("RedrivePolicy", "{}"))
        return cls(sqs, deployment.output("DeadLetterQueueUrl"), queue, int(policy.get("maxReceiveCount", 0)))

    @contextmanager
    def received(self) -> Iterator[Iterator[DeadLetter]]:
        """Receive all messages that are available; at the end those not deleted become visible again.

        The dead-letter queue has no redrive policy, so that receives do no harm. SQS returns at most ten messages of
        an Item at a time; its later messages are blocked behind them.
        """
        held: list[DeadLetter] = []

        def receive() -> Iterator[DeadLetter]:
            empty, seen = 0, set[str]()
            while empty < _MAX_EMPTY_RECEIVES:
                letters = [self.parse(message, self.max_receives) for message in self._receive()]
                held.extend(letters)
                # In a large queue the first messages are visible again before the last one is read.
                new = [letter for letter in letters if letter.message_id not in seen]
                empty = 0 if new else empty + 1
                seen.update(letter.message_id for letter in new)
                yield from new

        try:
            yield receive()
        finally:
            self._release(held)

    def peek(self, limit: int = 1_000) -> list[DeadLetter]:
        """Read the available messages, up to a limit, and change nothing."""
        with self.received() as letters:
            return list(islice(letters, limit))

    def send_back(self, letter: DeadLetter) -> bool:
        """Send a message to the sync queue, then delete it here; return whether it is deleted.

        Idempotent: after a crash between the two the message is still here and is sent again, which costs one sync.
        The deduplication id drops a second copy within five minutes. The attribute `reason` is removed.
        """
        attributes = {name: value for name, value in letter.attributes.items() if name != REASON}
        fields = {"MessageGroupId": letter.group_id} if letter.group_id else {}
        if self.sync_queue_url.endswith(".fifo"):
            fields["MessageDeduplicationId"] = f"replay-{letter.message_id}"
        self.sqs.send_message(
            QueueUrl=self.sync_queue_url, MessageBody=letter.body, MessageAttributes=attributes, **fields
        )
        try:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=letter.receipt_handle)
        except (self.sqs.exceptions.ReceiptHandleIsInvalid, self.sqs.exceptions.InvalidIdFormat):
            return False
        return True

    def _receive(self) -> list[dict[str, Any]]:
        response = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=_BATCH,
            VisibilityTimeout=_VISIBILITY_TIMEOUT,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = response.get("Messages", [])
        return messages

    def _release(self, letters: list[DeadLetter]) -> None:
        """Make messages visible again; SQS refuses those that are deleted or visible, as the sender's fault.

        What SQS itself fails to change is retried; after that it is visible when its visibility timeout ends.
        """
        for start in range(0, len(letters), _BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": letter.receipt_handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(letters[start : start + _BATCH])
            ]
            for _ in range(_MAX_RELEASES):
                response = self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
                failed = {entry["Id"] for entry in response.get("Failed", ()) if not entry["SenderFault"]}
                entries = [entry for entry in entries if entry["Id"] in failed]
                if not entries:
                    break


@dataclass(slots=True)
class Replay:
    """The result of a replay.

    Attributes:
        sent: sent back to the sync queue.
        kept: not selected, or malformed.
        undeleted: sent back, but not deleted here; they may be sent again.
    """

    sent: list[DeadLetter]
    kept: list[DeadLetter]
    undeleted: list[DeadLetter]


def replay(
    queue: DeadLetterQueue,
    selects: Callable[[DeadLetter], bool],
    limit: int | None,
    on_sent: Callable[[DeadLetter], None],
) -> Replay:
    """Send selected messages back until none of them is available.

    Args:
        queue: the dead-letter queue.
        selects: returns whether to send a message back.
        limit: at most so many; None for all.
        on_sent: called with each message that was sent back.
    """
    result = Replay([], [], [])
    while limit is None or len(result.sent) < limit:
        before = len(result.sent)
        result.kept.clear()
        with queue.received() as letters:
            for letter in letters:
                if letter.malformed or not selects(letter):
                    result.kept.append(letter)
                    continue
                if limit is not None and len(result.sent) >= limit:
                    break
                if not queue.send_back(letter):
                    result.undeleted.append(letter)
                result.sent.append(letter)
                on_sent(letter)
        # Later messages of the same Items were blocked.
        if len(result.sent) == before or result.undeleted:
            break
    return result


def can_redrive(letters: Sequence[DeadLetter], total: int) -> bool:
    """Return whether SQS's own redrive is equivalent: it moves malformed messages too, and keeps `reason`.

    Args:
        letters: the messages that were read.
        total: how many there are.
    """
    return len(letters) >= total and not any(letter.malformed or REASON in letter.attributes for letter in letters)


def redrive(
    queue: DeadLetterQueue, on_moved: Callable[[int], None], sleep: Callable[[float], None] = time.sleep
) -> int | None:
    """Have SQS move all messages back; return how many, or None if it is unsupported or denied.

    Args:
        queue: the dead-letter queue.
        on_moved: called with the number of newly moved messages.
        sleep: waits so many seconds.

    Raises:
        CommandError: the task failed, or Ctrl-C ended the wait for it.
    """
    sqs = queue.sqs
    source, destination = (_queue_arn(sqs, url) for url in (queue.url, queue.sync_queue_url))
    try:
        sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)
    except ClientError as error:
        if error_code(error) in _UNSUPPORTED | ACCESS_DENIED:
            return None
        raise
    try:
        return _wait_for_task(sqs, source, on_moved, sleep)
    except KeyboardInterrupt:
        raise CommandError(
            "SQS continues to move messages in the background",
            "plaid-sync watch shows both queues; aws sqs cancel-message-move-task stops it.",
            ExitCode.INTERRUPTED,
        ) from None


def _wait_for_task(sqs: Any, source: str, on_moved: Callable[[int], None], sleep: Callable[[float], None]) -> int:  # noqa: ANN401
    """Poll the task every second until it ends; return how many messages it moved."""
    done = 0
    while True:
        task = sqs.list_message_move_tasks(SourceArn=source, MaxResults=1)["Results"][0]
        moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
        on_moved(moved - done)
        done = moved
        if task["Status"] == "COMPLETED":
            return done
        if task["Status"] != "RUNNING":
            raise CommandError(
                f"SQS stopped after {done:,} messages: {task['Status']} {task.get('FailureReason', '')}",
                "Nothing is lost: run it again. With --limit messages are sent one by one.",
            )
        sleep(1)


def _queue_arn(sqs: Any, url: str) -> str:  # noqa: ANN401 - a boto3 client
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
