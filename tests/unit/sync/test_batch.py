"""The retry policy: what becomes of the messages of an Item whose sync fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.item import ItemId, ItemState
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.sync.batch import (
    DEAD_LETTER_UNREGISTERED_AFTER,
    REQUEUE_AFTER,
    UNREGISTERED,
    BatchProcessor,
    backoff,
)
from plaid_sync.sync.job import Outcome

from tests.fakes.clock import PLENTY
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid
from tests.fakes.queue import Copied, FakeReceivedMessages
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from plaid_sync.sync.batch import BatchResult

ITEM = ItemId("item")
MAX_RECEIVES = 20
"""The receive limit of the sync queue (template.yaml)."""


def record(number: int, received: int, item_id: ItemId = ITEM) -> dict[str, Any]:
    attributes = {"SentTimestamp": "1780315200123", "ApproximateReceiveCount": str(received), "MessageGroupId": item_id}
    body = SyncMessage(item_id, Cause.WEBHOOK, {"number": number}).to_json()
    return {"messageId": f"m{number}", "receiptHandle": f"r{number}", "body": body, "attributes": attributes}


def process(
    code: str, *received: int, messages: FakeReceivedMessages | None = None, item_id: ItemId = ITEM
) -> tuple[BatchResult, FakeReceivedMessages]:
    """Process messages that were received so often, while Plaid refuses with a code ("": it does not)."""
    messages = messages or FakeReceivedMessages()
    plaid = FakePlaid(refusals={"sync": code} if code else {})
    processor = BatchProcessor(Tables.of(new_item(ITEM)).engine(plaid), messages, lambda: 1.0)
    records = [record(number, count, item_id) for number, count in enumerate(received)]
    return processor.process(records, PLENTY), messages


@pytest.mark.parametrize("code", ["TRANSACTIONS_SYNC_LIMIT", "INSTITUTION_DOWN"])
def test_a_message_that_waits_for_plaid_or_a_bank_is_requeued_before_the_receive_limit(code: str) -> None:
    result, messages = process(code, REQUEUE_AFTER, 1)
    original = record(0, REQUEUE_AFTER)
    assert messages.requeued == [Copied(original["body"], ITEM, "m0", {"since": "2026-06-01T12:00:00.123Z"})]
    assert (result.failed_message_ids, result.requeued) == (["m1"], 1)
    assert messages.hidden.keys() == {"r1"}
    assert REQUEUE_AFTER < MAX_RECEIVES


def test_a_throttle_of_any_length_dead_letters_no_message() -> None:
    received = 0
    for _ in range(100):
        received += 1
        result, _ = process("RATE_LIMIT_EXCEEDED", received)
        received = received if result.failed_message_ids else 0
        assert received < MAX_RECEIVES


def test_a_message_whose_copy_the_queue_does_not_accept_is_retried() -> None:
    result, messages = process("TRANSACTIONS_SYNC_LIMIT", REQUEUE_AFTER, messages=FakeReceivedMessages(failing=True))
    assert (result.failed_message_ids, result.requeued) == (["m0"], 0)
    assert messages.hidden.keys() == {"r0"}
    (failure,) = result.failures
    assert (failure.failure_class, failure.code) == (FailureClass.THROTTLED, "InternalError")


@pytest.mark.parametrize("code", ["INTERNAL_SERVER_ERROR", "INVALID_API_KEYS", "A_CODE_OF_NEXT_YEAR"])
def test_any_other_message_is_left_to_the_receive_limit(code: str) -> None:
    result, messages = process(code, MAX_RECEIVES - 1)
    assert (messages.requeued, result.requeued, result.failed_message_ids) == ([], 0, ["m0"])


def test_a_throttled_item_is_retried_within_minutes() -> None:
    delays = [process("TRANSACTIONS_SYNC_LIMIT", received)[1].hidden["r0"] for received in range(1, REQUEUE_AFTER)]
    assert delays == sorted(delays)
    assert 10 <= delays[0] <= 60
    assert delays[-1] <= 600


@pytest.mark.parametrize(
    ("code", "unknown"), [("A_CODE_OF_NEXT_YEAR", True), ("INTERNAL_SERVER_ERROR", False), ("ITEM_GET_LIMIT", False)]
)
def test_an_unknown_code_is_reported_so_that_it_is_counted(code: str, *, unknown: bool) -> None:
    result, _ = process(code, 1)
    assert [(failure.code, failure.unknown) for failure in result.failures] == [(code, unknown)]


def test_messages_of_an_unregistered_item_are_retried_for_minutes_and_then_dead_lettered() -> None:
    result, messages = process("", 1, DEAD_LETTER_UNREGISTERED_AFTER, item_id=ItemId("unknown"))
    assert (result.failed_message_ids, result.dead_lettered) == (["m0"], {"m1": UNREGISTERED})
    assert [(copy.message_id, copy.reason) for copy in messages.dead_lettered] == [("m1", UNREGISTERED)]
    waited = sum(backoff(FailureClass.TRANSIENT, receives) for receives in range(1, DEAD_LETTER_UNREGISTERED_AFTER))
    assert 300 < waited < 1200


def test_one_sync_serves_all_messages_of_its_item() -> None:
    result, messages = process("", 1, 1, 2)
    assert (result.failed_message_ids, result.coalesced, messages.hidden) == ([], 2, {})
    assert (len(result.reports), len(result.waits)) == (1, 2)


def test_the_backoff_is_exponential_up_to_a_limit() -> None:
    assert [backoff(FailureClass.TRANSIENT, receives) for receives in (1, 2, 3, 8, 20)] == [5, 10, 20, 640, 900]
    assert backoff(FailureClass.INSTITUTION_DOWN, 1) > backoff(FailureClass.TRANSIENT, 1)
    assert backoff(FailureClass.INSTITUTION_DOWN, 40) <= 43_200  # the longest delay of SQS


@pytest.mark.parametrize(
    ("webhook", "kept"), [({"webhook_type": "ITEM", "webhook_code": "PENDING_EXPIRATION"}, True), ({}, False)]
)
def test_an_item_webhook_waits_for_a_version_that_knows_the_items_state(webhook: dict[str, Any], *, kept: bool) -> None:
    messages = FakeReceivedMessages()
    item = new_item(ITEM, state=ItemState("frozen"))
    processor = BatchProcessor(Tables.of(item).engine(FakePlaid()), messages, lambda: 1.0)
    records = [record(number, count) for number, count in enumerate((1, REQUEUE_AFTER))]
    for each in records:
        each["body"] = SyncMessage(ITEM, Cause.WEBHOOK, webhook).to_json()
    result = processor.process(records, PLENTY)
    assert result.reports[ITEM].outcome is Outcome.UNKNOWN_STATE
    assert result.failed_message_ids == (["m0"] if kept else [])
    assert [copied.message_id for copied in messages.requeued] == (["m1"] if kept else [])
    assert messages.dead_lettered == []
