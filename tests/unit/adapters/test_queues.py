"""What is parked arrives in the dead-letter queue, however large it is."""

from __future__ import annotations

import pytest
from plaid_sync.adapters.queues import SqsReceivedMessages

from tests.fuzz.edges import LARGEST_MESSAGE, Queue

REASON = "malformed: the body is not JSON"
ROOM = LARGEST_MESSAGE - len("reason" + "String" + REASON)
"""Bytes that SQS leaves for a body beside the reason."""


def parked(body: str, reason: str = REASON) -> tuple[str, str]:
    queue = Queue()
    messages = SqsReceivedMessages(queue, "sync", "dead")  # type: ignore[arg-type] # an edge
    messages.park(body, "group", "message", reason, {})
    (letter,) = queue.sent
    return letter["MessageBody"], letter["MessageAttributes"]["reason"]["StringValue"]


@pytest.mark.parametrize("body", ["x", "x" * ROOM, "\u00e9" * (ROOM // 2)])
def test_a_body_that_leaves_room_for_the_reason_is_parked_whole(body: str) -> None:
    assert parked(body) == (body, REASON)


@pytest.mark.parametrize("padding", range(4))
@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u20ac", "\U0001f600"])
def test_a_body_that_leaves_none_is_cut_between_two_characters_and_the_reason_says_so(
    letter: str, padding: int
) -> None:
    body = "x" * padding + letter * ((LARGEST_MESSAGE - padding) // len(letter.encode()))
    kept, reason = parked(body)
    size = len(kept.encode())
    assert body.startswith(kept)
    assert reason == f"{REASON} (body cut to {size} bytes)"
    room = ROOM - len(f" (body cut to {size} bytes)")
    assert room - len(letter.encode()) < size <= room


def test_what_marks_the_request_goes_along_and_takes_its_room() -> None:
    queue, marks = Queue(), {"correlation_id": "JKJaXmPLvHcESHA=", "since": "2026-03-01T12:00:00.000Z"}
    messages = SqsReceivedMessages(queue, "sync", "dead")  # type: ignore[arg-type] # an edge
    messages.park("x" * ROOM, "group", "message", REASON, marks)
    (letter,) = queue.sent
    values = {name: attribute["StringValue"] for name, attribute in letter["MessageAttributes"].items()}
    assert values == {**marks, "reason": f"{REASON} (body cut to {len(letter['MessageBody'])} bytes)"}
    size = len(letter["MessageBody"]) + sum(len(name) + len("String") + len(value) for name, value in values.items())
    assert LARGEST_MESSAGE - len("9") <= size <= LARGEST_MESSAGE


def test_one_byte_too_many_is_enough() -> None:
    kept, reason = parked("x" * (ROOM + 1))
    assert len(kept) < ROOM
    assert reason.endswith(f" (body cut to {len(kept)} bytes)")
