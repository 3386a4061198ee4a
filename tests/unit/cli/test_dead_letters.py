"""Dead letters read and grouped by cause."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync_cli.dead_letters import DeadLetterQueue, grouped, read_letter
from plaid_sync_cli.errors import CommandError
from plaid_sync_cli.redriving import movable, move_all


def message(body: str, group: str, reason: str | None = None, sent: int = 1_000) -> dict[str, Any]:
    told = {} if reason is None else {"reason": {"DataType": "String", "StringValue": reason}}
    return {
        "MessageId": f"{group}-{sent}",
        "ReceiptHandle": "handle",
        "Body": body,
        "Attributes": {"MessageGroupId": group, "SentTimestamp": str(sent), "ApproximateReceiveCount": "1"},
        "MessageAttributes": told,
    }


def trigger(item_id: str) -> str:
    return json.dumps({"item_id": item_id, "cause": "sweep"})


def test_groups_have_their_counts_items_and_oldest_and_the_largest_comes_first() -> None:
    messages = [
        message(trigger("a"), "a", "unregistered", 3_000),
        message(trigger("b"), "b", None, 5_000),
        message(trigger("a"), "a", None, 2_000),
        message(trigger("a"), "a", None, 4_000),
    ]
    first, second = grouped(read_letter(one, 20) for one in messages)
    assert (first.cause, first.count, first.items) == ("given up after 20 receives", 3, ("a", "b"))
    assert first.oldest.timestamp() == 2
    assert (second.cause, second.count) == ("unregistered", 1)


def test_what_the_sync_function_would_refuse_is_malformed() -> None:
    whole, foreign, broken, cut = (
        read_letter(one, 20)
        for one in (
            message(trigger("a"), "a"),
            message(trigger("a"), "b"),  # in the message group of another Item
            message("{", "a"),
            message("[", "a", "malformed: the body is not JSON (body cut to 1048000 bytes)"),
        )
    )
    assert [one.malformed for one in (whole, foreign, broken, cut)] == [False, True, True, True]
    assert [one.item_id for one in (whole, foreign, broken, cut)] == ["a", "a", None, None]
    assert cut.cause == "malformed: the body is not JSON"


def test_sqs_itself_moves_only_what_it_has_given_up_itself() -> None:
    given_up = read_letter(message(trigger("a"), "a"), 20)
    parked = read_letter(message(trigger("a"), "a", "unregistered"), 20)
    malformed = read_letter(message("{", "a"), 20)
    assert movable([given_up], 1)
    assert not movable([given_up, parked], 2)
    assert not movable([given_up, malformed], 2)
    assert not movable([given_up], 2)  # nobody knows what the other one is


def stubbed(*answers: dict[str, Any]) -> tuple[DeadLetterQueue, Stubber]:
    """Return a queue whose SQS starts a task and tells of it: no emulator has such tasks for FIFO queues."""
    sqs = boto3.client("sqs", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
    stubber = Stubber(sqs)
    for name in ("dead", "sync"):
        arn = {"Attributes": {"QueueArn": f"arn:{name}"}}
        stubber.add_response("get_queue_attributes", arn, {"QueueUrl": name, "AttributeNames": ["QueueArn"]})
    if not answers:
        stubber.add_client_error("start_message_move_task", "InvalidAction")
    else:
        wanted = {"SourceArn": "arn:dead", "DestinationArn": "arn:sync"}
        stubber.add_response("start_message_move_task", {"TaskHandle": "task"}, wanted)
    for answer in answers:
        stubber.add_response(
            "list_message_move_tasks", {"Results": [answer]}, {"SourceArn": "arn:dead", "MaxResults": 1}
        )
    return DeadLetterQueue(sqs, "dead", "sync", 20), stubber


def test_sqs_moves_and_its_progress_is_told() -> None:
    moved = "ApproximateNumberOfMessagesMoved"
    queue, stubber = stubbed({"Status": "RUNNING", moved: 3}, {"Status": "COMPLETED", moved: 5})
    told: list[int] = []
    with stubber:
        assert move_all(queue, told.append, lambda _: None) == 5
    assert told == [3, 2]
    stubber.assert_no_pending_responses()


def test_a_move_that_fails_says_how_to_go_on_and_one_that_there_is_not_is_none() -> None:
    queue, stubber = stubbed({"Status": "FAILED", "FailureReason": "AccessDenied"})
    with stubber, pytest.raises(CommandError, match="AccessDenied") as failed:
        move_all(queue, lambda _: None, lambda _: None)
    assert "--limit" in failed.value.fix
    queue, stubber = stubbed()
    with stubber:
        assert move_all(queue, lambda _: None, lambda _: None) is None


def test_a_move_that_nobody_watches_any_more_says_that_it_goes_on() -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    queue, stubber = stubbed({"Status": "RUNNING"})
    with stubber, pytest.raises(CommandError, match="goes on moving") as left:
        move_all(queue, lambda _: None, interrupt)
    assert left.value.exit_code == 130
