"""Dead-lettered messages: parsed, grouped by cause, and redriven by SQS."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync_cli.dead_letters import (
    DeadLetter,
    DeadLetterQueue,
    can_redrive,
    group_by_cause,
    parse_dead_letter,
    redrive,
)
from plaid_sync_cli.errors import CommandError


def letter(body: str, group: str, reason: str | None = None, sent: int = 1_000) -> DeadLetter:
    attributes = {} if reason is None else {"reason": {"DataType": "String", "StringValue": reason}}
    message: dict[str, Any] = {
        "MessageId": f"{group}-{sent}",
        "ReceiptHandle": "handle",
        "Body": body,
        "Attributes": {"MessageGroupId": group, "SentTimestamp": str(sent), "ApproximateReceiveCount": "1"},
        "MessageAttributes": attributes,
    }
    return parse_dead_letter(message, 20)


def body(item_id: str) -> str:
    return json.dumps({"item_id": item_id, "cause": "sweep"})


def test_groups_have_counts_items_and_the_oldest_and_the_largest_is_first() -> None:
    first, second = group_by_cause(
        [
            letter(body("a"), "a", "unregistered", 3_000),
            letter(body("b"), "b", None, 5_000),
            letter(body("a"), "a", None, 2_000),
            letter(body("a"), "a", None, 4_000),
        ]
    )
    assert (first.cause, first.count, first.items) == ("exceeded maxReceiveCount (20)", 3, ("a", "b"))
    assert first.oldest.timestamp() == 2
    assert (second.cause, second.count) == ("unregistered", 1)


@pytest.mark.parametrize(
    ("dead_letter", "malformed", "item_id"),
    [
        (letter(body("a"), "a"), False, "a"),
        (letter(body("a"), "b"), True, "a"),  # in the message group of another Item
        (letter("{", "a"), True, None),
        (letter("[", "a", "malformed: the body is not JSON (body cut to 1048000 bytes)"), True, None),
    ],
)
def test_a_message_that_the_sync_function_would_reject_is_malformed(
    dead_letter: DeadLetter, *, malformed: bool, item_id: str | None
) -> None:
    assert (dead_letter.malformed, dead_letter.item_id) == (malformed, item_id)
    assert "(body cut" not in dead_letter.cause


def test_sqs_redrives_only_messages_that_it_dead_lettered_itself() -> None:
    own = letter(body("a"), "a")
    assert can_redrive([own], 1)
    assert not can_redrive([own, letter(body("a"), "a", "unregistered")], 2)
    assert not can_redrive([own, letter("{", "a")], 2)
    assert not can_redrive([own], 2)  # the other one is unknown


def stubbed(*tasks: dict[str, Any]) -> tuple[DeadLetterQueue, Stubber]:
    """Return a queue whose SQS has message move tasks: no emulator has them for FIFO queues."""
    sqs = boto3.client("sqs", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
    stubber = Stubber(sqs)
    for name in ("dead", "sync"):
        arn = {"Attributes": {"QueueArn": f"arn:{name}"}}
        stubber.add_response("get_queue_attributes", arn, {"QueueUrl": name, "AttributeNames": ["QueueArn"]})
    if not tasks:
        stubber.add_client_error("start_message_move_task", "InvalidAction")
    else:
        expected = {"SourceArn": "arn:dead", "DestinationArn": "arn:sync"}
        stubber.add_response("start_message_move_task", {"TaskHandle": "task"}, expected)
    for task in tasks:
        expected_list = {"SourceArn": "arn:dead", "MaxResults": 1}
        stubber.add_response("list_message_move_tasks", {"Results": [task]}, expected_list)
    return DeadLetterQueue(sqs, "dead", "sync", 20), stubber


def test_messages_that_sqs_fails_to_make_visible_are_retried_and_deleted_ones_are_not() -> None:
    queue = DeadLetterQueue(boto3.client("sqs", region_name="us-east-1"), "dead", "sync", 20)
    entries = [{"Id": name, "ReceiptHandle": "handle", "VisibilityTimeout": 0} for name in "012"]
    failed = [
        {"Id": "0", "SenderFault": True, "Code": "ReceiptHandleIsInvalid"},
        {"Id": "2", "SenderFault": False, "Code": "InternalError"},
    ]
    with Stubber(queue.sqs) as stubber:
        for sent, refused in ((entries, failed), (entries[2:], [])):
            response = {"Successful": [], "Failed": refused}
            expected = {"QueueUrl": "dead", "Entries": sent}
            stubber.add_response("change_message_visibility_batch", response, expected)
        queue._release([letter(body(name), name) for name in "abc"])  # noqa: SLF001 - its one caller is a generator
        stubber.assert_no_pending_responses()


def test_a_redrive_reports_its_progress() -> None:
    moved = "ApproximateNumberOfMessagesMoved"
    queue, stubber = stubbed({"Status": "RUNNING", moved: 3}, {"Status": "COMPLETED", moved: 5})
    progress: list[int] = []
    with stubber:
        assert redrive(queue, progress.append, lambda _: None) == 5
    assert progress == [3, 2]
    stubber.assert_no_pending_responses()


def test_an_unsupported_redrive_is_none() -> None:
    queue, stubber = stubbed()
    with stubber:
        assert redrive(queue, lambda _: None, lambda _: None) is None


def interrupt(_: float) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("task", "text", "exit_code"),
    [
        ({"Status": "FAILED", "FailureReason": "AccessDenied"}, "AccessDenied.*--limit", 1),
        ({"Status": "RUNNING"}, "continues to move", 130),
    ],
)
def test_a_redrive_that_fails_or_is_interrupted_says_how_to_continue(
    task: dict[str, Any], text: str, exit_code: int
) -> None:
    queue, stubber = stubbed(task)
    with stubber, pytest.raises(CommandError, match=text) as error:
        redrive(queue, lambda _: None, interrupt)
    assert error.value.exit_code == exit_code
