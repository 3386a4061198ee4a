"""What becomes of received messages: their visibility changes, or they are dead-lettered, of any size."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from plaid_sync.aws.sqs import SqsReceivedMessages

from tests.fakes.aws import MAX_MESSAGE_BYTES, Queue

REASON = "malformed: the body is not JSON"
ROOM = MAX_MESSAGE_BYTES - len("reason" + "String" + REASON)
"""Bytes that SQS leaves for a body beside the reason."""


def dead_lettered(body: str, reason: str = REASON) -> tuple[str, str]:
    queue = Queue()
    messages = SqsReceivedMessages(queue, "sync", "dead")  # type: ignore[arg-type] # an edge
    messages.dead_letter(body, "group", "message", reason, {})
    (letter,) = queue.sent
    return letter["MessageBody"], letter["MessageAttributes"]["reason"]["StringValue"]


@pytest.mark.parametrize("body", ["x", "x" * ROOM, "\u00e9" * (ROOM // 2)])
def test_a_body_that_leaves_room_for_the_reason_is_dead_lettered_whole(body: str) -> None:
    assert dead_lettered(body) == (body, REASON)


@pytest.mark.parametrize("padding", range(4))
@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u20ac", "\U0001f600"])
@pytest.mark.parametrize("limit", [MAX_MESSAGE_BYTES, ROOM + 4])
def test_a_body_that_leaves_no_room_is_cut_between_two_characters_and_the_reason_says_so(
    letter: str, padding: int, limit: int
) -> None:
    body = "x" * padding + letter * ((limit - padding) // len(letter.encode()))
    kept, reason = dead_lettered(body)
    size = len(kept.encode())
    assert body.startswith(kept)
    assert reason == f"{REASON} (body cut to {size} bytes)"
    room = ROOM - len(f" (body cut to {size} bytes)")
    assert room - len(letter.encode()) < size <= room


def test_message_attributes_are_copied_and_take_their_room() -> None:
    queue, attributes = Queue(), {"correlation_id": "JKJaXmPLvHcESHA=", "another": "2026-03-01T12:00:00.000Z"}
    messages = SqsReceivedMessages(queue, "sync", "dead")  # type: ignore[arg-type] # an edge
    messages.dead_letter("x" * ROOM, "group", "message", REASON, attributes)
    (letter,) = queue.sent
    values = {name: attribute["StringValue"] for name, attribute in letter["MessageAttributes"].items()}
    assert values == {**attributes, "reason": f"{REASON} (body cut to {len(letter['MessageBody'])} bytes)"}
    size = len(letter["MessageBody"]) + sum(len(name) + len("String") + len(value) for name, value in values.items())
    assert MAX_MESSAGE_BYTES - len("9") <= size <= MAX_MESSAGE_BYTES


def changed(response: dict[str, Any] | Exception) -> tuple[list[str], Any]:
    """Change the visibility of two messages; return those for which that failed, and the request."""
    seen: dict[str, Any] = {}

    class Client:
        def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:
            seen.update(request)
            if isinstance(response, Exception):
                raise response
            return response

    messages = SqsReceivedMessages(Client(), "sync", "dead")  # type: ignore[arg-type] # an edge
    return messages.change_visibility(("first", "second"), 60), seen


def test_the_messages_whose_visibility_could_not_be_changed_are_named() -> None:
    refused = {"Id": "1", "SenderFault": False, "Code": "InternalError", "Message": "try again"}
    failed, request = changed({"Successful": [{"Id": "0"}], "Failed": [refused]})
    assert failed == ["second"]
    assert [(entry["ReceiptHandle"], entry["VisibilityTimeout"]) for entry in request["Entries"]] == [
        ("first", 60),
        ("second", 60),
    ]
    assert changed({"Successful": [{"Id": "0"}, {"Id": "1"}]})[0] == []
    assert changed(EndpointConnectionError(endpoint_url="local"))[0] == ["first", "second"]
