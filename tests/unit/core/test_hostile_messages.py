"""Hostile queue messages: what the fuzzer does (`tests/fuzz`), for a few seconds, and what it has found."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_sync.core.items import ItemId
from plaid_sync.core.triggers import Cause, MalformedTriggerError, SyncTrigger, parse_record, parse_trigger

from tests.fuzz.targets import make


@cache
def target() -> Any:
    return make("messages")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_batch_whatever_raises_and_what_is_not_ours_is_parked_and_blocks_no_item(case: bytes) -> None:
    target().run(case)


def test_the_seeds_of_the_fuzzer_reach_every_fate() -> None:
    fresh = make("messages")
    for case in fresh.seeds():
        fresh.run(case)
    fates = {outcome.partition(":")[0] for outcome in fresh.tally}
    assert {"ours, done", "ours, kept", "ours, renewed", "foreign, parked"} <= fates
    statuses = ("active", "expiring", "degraded", "needs_user", "revoked")
    assert {f"an Item is {status}" for status in statuses} <= fates
    assert fresh.tally["a withdrawn account"] > 0


def record(body: str, group: str) -> dict[str, Any]:
    attributes = {"SentTimestamp": "1772366400123", "ApproximateReceiveCount": "1", "MessageGroupId": group}
    return {"messageId": "m", "receiptHandle": "r", "body": body, "attributes": attributes}


@pytest.mark.parametrize("group", ["another-item", "strangers"])
def test_a_trigger_in_another_message_group_is_not_ours(group: str) -> None:
    body = SyncTrigger(ItemId("item"), Cause.REQUEST).to_json()
    assert parse_record(record(body, "item")).trigger.item_id == "item"
    with pytest.raises(MalformedTriggerError, match="message group"):
        parse_record(record(body, group))


@pytest.mark.parametrize("number", ["1e9999999999999999999", "-1E-9999999999999999999", "9" * 4301])
def test_a_number_that_no_decimal_can_be_makes_a_message_malformed(number: str) -> None:
    with pytest.raises(MalformedTriggerError, match="JSON"):
        parse_record(record(f'{{"item_id":"item","cause":"request","webhook":{{"a":{number}}}}}', "item"))


def test_a_trigger_is_ascii_and_keeps_every_character() -> None:
    trigger = SyncTrigger(ItemId("item"), Cause.WEBHOOK, {"\ud800": "\ufffe\u00e9\U0001f600"})
    assert trigger.to_json().isascii()
    assert parse_trigger(trigger.to_json()) == trigger
