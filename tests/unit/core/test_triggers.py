from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plaid_sync.core.error_codes import FailureClass
from plaid_sync.core.items import Cursor, Item, ItemId, ItemStatus, Standing
from plaid_sync.core.sync.batch import PARK_UNREGISTERED_AFTER, backoff
from plaid_sync.core.sync.coalescing import CLOCK_MARGIN, covers
from plaid_sync.core.triggers import Cause, MalformedTriggerError, SyncTrigger, parse_record, parse_trigger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_trigger_survives_the_queue() -> None:
    trigger = SyncTrigger(ItemId("item"), Cause.WEBHOOK, {"webhook_code": "SYNC_UPDATES_AVAILABLE"})
    assert parse_trigger(trigger.to_json()) == trigger
    assert parse_trigger(SyncTrigger(ItemId("item"), Cause.LINKED).to_json()).webhook is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ('{"cause":"sweep"}', "item_id"),
        ('{"item_id":"","cause":"sweep"}', "item_id"),
        ('{"item_id":"a b","cause":"sweep"}', "item_id"),
        ('{"item_id":"' + "a" * 129 + '","cause":"sweep"}', "item_id"),
        ('{"item_id":"a","cause":"whim"}', "cause"),
        ('{"item_id":"a","cause":["sweep"]}', "cause"),
        ('{"item_id":"a","cause":"sweep","webhook":[]}', "webhook"),
    ],
)
def test_a_malformed_message_is_refused_with_its_reason(body: str, reason: str) -> None:
    with pytest.raises(MalformedTriggerError, match=reason):
        parse_trigger(body)


def test_a_record_tells_when_it_was_sent_and_how_often_received() -> None:
    record: dict[str, Any] = {
        "messageId": "m",
        "receiptHandle": "r",
        "body": '{"item_id":"a","cause":"sweep"}',
        "attributes": {"SentTimestamp": "1772366400123", "ApproximateReceiveCount": "3"},
    }
    received = parse_record(record)
    assert received.sent_at == NOON + timedelta(milliseconds=123)
    assert received.receive_count == 3


def with_attributes(**attributes: Any) -> dict[str, Any]:
    return {
        "messageId": "m",
        "receiptHandle": "r",
        "body": '{"item_id":"a","cause":"sweep"}',
        "attributes": {"SentTimestamp": "1772366400123", "ApproximateReceiveCount": "3"},
        "messageAttributes": attributes,
    }


def test_a_copy_remembers_when_the_first_was_sent_and_what_led_to_it() -> None:
    copy = with_attributes(
        since={"stringValue": "2026-03-01T08:00:00.000Z", "dataType": "String"},
        correlation_id={"stringValue": "JKJaXmPLvHcESHA=", "dataType": "String"},
    )
    received = parse_record(copy)
    assert received.since == NOON - timedelta(hours=4)
    assert received.attributes == {"since": "2026-03-01T08:00:00.000Z", "correlation_id": "JKJaXmPLvHcESHA="}


@pytest.mark.parametrize("attribute", [None, [], {}, {"stringValue": None}, {"stringValue": "half \ud800"}, "text"])
def test_an_attribute_that_cannot_be_read_costs_the_trigger_nothing(attribute: object) -> None:
    received = parse_record(with_attributes(since=attribute, correlation_id=attribute))
    assert (received.since, received.correlation_id) == (received.sent_at, "")


def item(**fields: Any) -> Item:
    known: dict[str, Any] = {"standing": Standing(ItemStatus.ACTIVE), "cursor": Cursor("c"), "pull_began_at": NOON}
    return Item(item_id=ItemId("a"), access_token=b"", generation=1, **(known | fields))


def test_a_committed_pull_covers_what_was_surely_sent_before_it_began() -> None:
    assert covers(item(), NOON - CLOCK_MARGIN - timedelta(seconds=1))
    assert not covers(item(), NOON - CLOCK_MARGIN)
    assert not covers(item(), NOON + timedelta(seconds=1))


@pytest.mark.parametrize(
    "fields",
    [
        {"pull_began_at": None},
        *({"standing": Standing(status)} for status in ItemStatus if status is not ItemStatus.ACTIVE),
        {"reconcile": True},
        {"writing_since": 1},
    ],
)
def test_an_item_that_still_owes_something_covers_nothing(fields: dict[str, Any]) -> None:
    assert not covers(item(**fields), NOON - timedelta(days=1))


def test_retries_back_off_by_receive_count_up_to_a_limit() -> None:
    assert [backoff(FailureClass.RETRY, attempt) for attempt in (1, 2, 3, 8, 20)] == [5, 10, 20, 640, 900]
    assert backoff(FailureClass.INSTITUTION_DOWN, 1) > backoff(FailureClass.RETRY, 1)
    assert backoff(FailureClass.INSTITUTION_DOWN, 40) <= 43_200  # most that SQS takes
    waited = sum(backoff(FailureClass.RETRY, attempt) for attempt in range(1, PARK_UNREGISTERED_AFTER))
    assert 300 < waited < 1200  # an unregistered Item's webhook waits some minutes for its link
