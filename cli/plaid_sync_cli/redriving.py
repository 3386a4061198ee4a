"""Dead letters go back: one by one, those that are wanted, or all of them by SQS's own redrive."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from plaid_sync.adapters.aws import error_code

from plaid_sync_cli.dead_letters import REASON
from plaid_sync_cli.errors import REFUSED, CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plaid_sync_cli.dead_letters import DeadLetter, DeadLetterQueue

_UNKNOWN: Final = frozenset({"InvalidAction", "UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"})
"""SQS's codes for what it can't do, as in the emulator."""


@dataclass(slots=True)
class Replay:
    """What became of a replay.

    Attributes:
        sent: went back to the sync queue.
        kept: were not meant, or would only come back: malformed ones.
        undeleted: went back, and may go back once more, for they could not be deleted here.
    """

    sent: list[DeadLetter]
    kept: list[DeadLetter]
    undeleted: list[DeadLetter]


def replay(
    queue: DeadLetterQueue,
    wanted: Callable[[DeadLetter], bool],
    most: int | None,
    told: Callable[[DeadLetter], None],
) -> Replay:
    """Send dead letters back until none is left that is wanted and can be reached.

    Args:
        queue: where they are.
        wanted: which of them.
        most: how many, None for all.
        told: is told of each that went back.
    """
    result = Replay([], [], [])
    while most is None or len(result.sent) < most:
        before = len(result.sent)
        result.kept.clear()
        with queue.received() as letters:
            for letter in letters:
                if letter.malformed or not wanted(letter):
                    result.kept.append(letter)
                    continue
                if most is not None and len(result.sent) >= most:
                    break
                if not queue.send_back(letter):
                    result.undeleted.append(letter)
                result.sent.append(letter)
                told(letter)
        # Others of the same Items were behind them.
        if len(result.sent) == before or result.undeleted:
            break
    return result


def movable(letters: Sequence[DeadLetter], total: int) -> bool:
    """Tell whether SQS's own redrive does the same: it would move malformed ones, too, and keep old reasons.

    Args:
        letters: those that could be read.
        total: how many there are; nobody knows what the others are.
    """
    return len(letters) >= total and not any(letter.malformed or REASON in letter.attributes for letter in letters)


def move_all(
    queue: DeadLetterQueue, told: Callable[[int], None], pause: Callable[[float], None] = time.sleep
) -> int | None:
    """Have SQS move all messages back; return how many, or None where it can't, or the caller may not.

    Args:
        queue: the dead-letter queue.
        told: is told how many more were moved.
        pause: waits so many seconds.

    Raises:
        CommandError: SQS has stopped, or was left to itself by Ctrl-C.
    """
    sqs = queue.sqs
    source, target = (_arn(sqs, url) for url in (queue.url, queue.sync_queue_url))
    try:
        sqs.start_message_move_task(SourceArn=source, DestinationArn=target)
    except ClientError as error:
        if error_code(error) in _UNKNOWN | REFUSED:
            return None
        raise
    try:
        return _watched(sqs, source, told, pause)
    except KeyboardInterrupt:
        raise CommandError(
            "SQS goes on moving dead letters without being watched",
            "plaid-sync watch shows both queues; aws sqs cancel-message-move-task stops it.",
            ExitCode.INTERRUPTED,
        ) from None


def _watched(sqs: Any, source: str, told: Callable[[int], None], pause: Callable[[float], None]) -> int:  # noqa: ANN401
    """Look every second how far SQS is, until it has ended; return how many it has moved."""
    done = 0
    while True:
        task = sqs.list_message_move_tasks(SourceArn=source, MaxResults=1)["Results"][0]
        moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
        told(moved - done)
        done = moved
        if task["Status"] == "COMPLETED":
            return done
        if task["Status"] != "RUNNING":
            raise CommandError(
                f"SQS stopped moving after {done:,}: {task['Status']} {task.get('FailureReason', '')}",
                "Nothing is lost: run it again. With --limit they are sent one by one.",
            )
        pause(1)


def _arn(sqs: Any, url: str) -> str:  # noqa: ANN401 - a boto3 client
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
