"""What becomes of the messages of an Item that Plaid has no time for, or whose code nobody knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.core.error_codes import FailureClass
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.items import Cursor, ItemId
from plaid_sync.core.lifecycle.health import ItemHealth
from plaid_sync.core.sync.batch import RENEW_AFTER, BatchProcessor
from plaid_sync.core.sync.pages import Page, parse_page
from plaid_sync.core.triggers import Cause, SyncTrigger

from tests.fuzz.tables import Tables, new_item
from tests.unit.core.test_pages import answer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from plaid_sync.core.sync.batch_result import BatchResult

ITEM = ItemId("item")
RECEIVES = 20
"""After so many receives the queue moves a message to the dead-letter queue (template.yaml)."""


@dataclass(frozen=True, slots=True)
class Plaid:
    """Plaid, which refuses to sync with a code; "" for none."""

    code: str

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        if self.code:
            raise PlaidError(self.code)
        return parse_page(answer())

    def health(self, access_token: str) -> ItemHealth:  # noqa: ARG002 - the port's
        return ItemHealth()

    def remove(self, access_token: str) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class Messages:
    """What the queue was told.

    Attributes:
        out_of_order: it accepts no copy.
    """

    out_of_order: bool = False
    postponed: dict[str, int] = field(default_factory=dict)
    renewed: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)

    def postpone(self, receipt_handles: Collection[str], seconds: int) -> None:
        self.postponed |= dict.fromkeys(receipt_handles, seconds)

    def renew(self, body: str, group_id: str, message_id: str, attributes: Mapping[str, str]) -> None:
        if self.out_of_order:
            raise RetryableError("InternalError")
        self.renewed.append((body, group_id, message_id, dict(attributes)))

    def park(self, body: str, group_id: str, message_id: str, reason: str, attributes: Mapping[str, str]) -> None:
        raise NotImplementedError


def record(number: int, received: int) -> dict[str, Any]:
    attributes = {"SentTimestamp": "1772366400123", "ApproximateReceiveCount": str(received), "MessageGroupId": ITEM}
    body = SyncTrigger(ITEM, Cause.WEBHOOK, {"number": number}).to_json()
    return {"messageId": f"m{number}", "receiptHandle": f"r{number}", "body": body, "attributes": attributes}


def process(code: str, *received: int, messages: Messages | None = None) -> tuple[BatchResult, Messages]:
    messages = messages or Messages()
    processor = BatchProcessor(Tables.of(new_item(ITEM)).engine(Plaid(code)), messages, lambda: 1.0)
    records = [record(number, count) for number, count in enumerate(received)]
    return processor.process(records, lambda: 900.0), messages


def test_a_message_that_plaids_limits_hold_up_for_long_is_replaced_by_a_copy_before_the_queue_gives_it_up() -> None:
    result, messages = process("TRANSACTIONS_SYNC_LIMIT", RENEW_AFTER, 1)
    worn = record(0, RENEW_AFTER)
    sent = {"since": "2026-03-01T12:00:00.123Z"}
    assert messages.renewed == [(worn["body"], ITEM, "m0", sent)]
    assert (result.failed_message_ids, result.renewed) == (["m1"], 1)
    assert messages.postponed.keys() == {"r1"}
    assert RENEW_AFTER < RECEIVES


def test_a_throttle_of_any_length_takes_no_message_to_the_dead_letter_queue() -> None:
    received = 0
    for _ in range(100):
        received += 1
        result, _ = process("RATE_LIMIT_EXCEEDED", received)
        received = received if result.failed_message_ids else 0
        assert received < RECEIVES


def test_a_copy_that_the_queue_does_not_accept_costs_nothing() -> None:
    result, messages = process("TRANSACTIONS_SYNC_LIMIT", RENEW_AFTER, messages=Messages(out_of_order=True))
    assert (result.failed_message_ids, result.renewed) == (["m0"], 0)
    assert messages.postponed.keys() == {"r0"}
    assert [(failure.failure_class, failure.code) for failure in result.failures] == [
        (FailureClass.THROTTLED, "InternalError")
    ]


@pytest.mark.parametrize("code", ["INTERNAL_SERVER_ERROR", "INVALID_API_KEYS", "A_CODE_OF_NEXT_YEAR"])
def test_only_a_message_that_must_not_be_given_up_is_replaced(code: str) -> None:
    result, messages = process(code, RECEIVES - 1)
    assert (messages.renewed, result.renewed, result.failed_message_ids) == ([], 0, ["m0"])


def test_a_bank_that_is_down_for_a_weekend_makes_no_dead_letter() -> None:
    result, messages = process("INSTITUTION_DOWN", RENEW_AFTER)
    assert (len(messages.renewed), result.renewed, result.failed_message_ids) == (1, 1, [])


def test_a_throttled_item_is_tried_again_within_minutes() -> None:
    waits = [process("TRANSACTIONS_SYNC_LIMIT", received)[1].postponed["r0"] for received in range(1, RENEW_AFTER)]
    assert waits == sorted(waits)
    assert 10 <= waits[0] <= 60
    assert waits[-1] <= 600


@pytest.mark.parametrize(
    ("code", "unknown"), [("A_CODE_OF_NEXT_YEAR", True), ("INTERNAL_SERVER_ERROR", False), ("ITEM_GET_LIMIT", False)]
)
def test_a_code_that_is_in_no_table_is_told_of_so_that_it_can_be_counted(code: str, *, unknown: bool) -> None:
    result, _ = process(code, 1)
    assert [(failure.code, failure.unknown) for failure in result.failures] == [(code, unknown)]
