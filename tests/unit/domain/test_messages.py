"""Messages on the sync queue: their format, and which of them are ours."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.messages import Cause, MalformedMessageError, SyncMessage, parse_message, parse_record

SENT_AT = datetime(2026, 3, 1, 12, 0, 0, 123_000, UTC)
BODY = '{"item_id":"a","cause":"sweep"}'


def record(body: str = BODY, group: str | None = None, **attributes: Any) -> dict[str, Any]:
    system = {"SentTimestamp": "1772366400123", "ApproximateReceiveCount": "3"}
    system |= {} if group is None else {"MessageGroupId": group}
    return {
        "messageId": "m",
        "receiptHandle": "r",
        "body": body,
        "attributes": system,
        "messageAttributes": attributes,
    }


@pytest.mark.parametrize(
    "message",
    [
        SyncMessage(ItemId("item"), Cause.WEBHOOK, {"webhook_code": "SYNC_UPDATES_AVAILABLE"}),
        SyncMessage(ItemId("item"), Cause.WEBHOOK, {"\ud800": "\ufffe\u00e9\U0001f600"}),
        SyncMessage(ItemId("item"), Cause.LINKED),
        SyncMessage(ItemId("item"), Cause.SWEEP, call_class=CallClass.ROUTINE),
    ],
    ids=["webhook", "characters that SQS rejects", "no webhook", "a class of calls"],
)
def test_a_message_survives_the_queue_as_ascii(message: SyncMessage) -> None:
    assert message.to_json().isascii()
    assert parse_message(message.to_json()) == message


@pytest.mark.parametrize("value", [None, "of_a_newer_version", "interactive", "audit", 7, ["routine"], {}])
def test_a_message_without_a_class_that_the_sweep_sends_is_as_urgent_as_a_webhook(value: object) -> None:
    body = json.dumps({"item_id": "a", "cause": "sweep", "call_class": value})
    assert parse_message(body).call_class is CallClass.WEBHOOK


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ('{"cause":"sweep"}', "item_id"),
        ('{"item_id":"","cause":"sweep"}', "item_id"),
        ('{"item_id":"a b","cause":"sweep"}', "item_id"),
        ('{"item_id":"' + "a" * 129 + '","cause":"sweep"}', "item_id"),
        ('{"item_id":"a"}', "cause"),
        ('{"item_id":"a","cause":""}', "cause"),
        ('{"item_id":"a","cause":["sweep"]}', "cause"),
        ('{"item_id":"a","cause":"sweep","webhook":[]}', "webhook"),
        *(
            (f'{{"item_id":"a","cause":"request","webhook":{{"a":{number}}}}}', "JSON")
            for number in ("1e9999999999999999999", "-1E-9999999999999999999", "9" * 4301)
        ),
    ],
)
def test_a_malformed_message_is_rejected_with_its_reason(body: str, reason: str) -> None:
    with pytest.raises(MalformedMessageError, match=reason):
        parse_message(body)


def test_a_message_in_the_group_of_another_item_is_malformed() -> None:
    assert parse_record(record(group="a")).message.item_id == "a"
    with pytest.raises(MalformedMessageError, match="message group"):
        parse_record(record(group="another-item"))


@pytest.mark.parametrize("account_id", ["", ',"account_id":7', ',"account_id":"\\ud800"', ',"account_id":""'])
def test_a_withdrawn_account_that_is_not_named_makes_a_message_malformed(account_id: str) -> None:
    webhook = f'{{"webhook_type":"ITEM","webhook_code":"USER_ACCOUNT_REVOKED"{account_id}}}'
    with pytest.raises(MalformedMessageError, match="account_id"):
        parse_record(record(f'{{"item_id":"a","cause":"webhook","webhook":{webhook}}}'))


def test_a_record_has_the_time_of_sending_and_the_receive_count() -> None:
    received = parse_record(record())
    assert (received.sent_at, received.receive_count, received.correlation_id) == (SENT_AT, 3, "")


def test_a_message_carries_the_id_of_the_request_that_led_to_it() -> None:
    received = parse_record(record(correlation_id={"stringValue": "JKJaXmPLvHcESHA=", "dataType": "String"}))
    assert received.attributes == {"correlation_id": "JKJaXmPLvHcESHA="}


@pytest.mark.parametrize("attribute", [None, [], {}, {"stringValue": None}, {"stringValue": "half \ud800"}, "text"])
def test_an_unreadable_attribute_is_ignored(attribute: object) -> None:
    assert parse_record(record(correlation_id=attribute)).correlation_id == ""
