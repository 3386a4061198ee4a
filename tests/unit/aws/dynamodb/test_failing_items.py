"""Which Items fail, by the index that the sweep reads: by the class of the failure, not of the next attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import boto3
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.aws.dynamodb.item_rows import next_attempt_attributes
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.item import ItemFailure, ItemId
from plaid_sync.domain.schedule import AttemptClass, Failures, NextAttempt

from tests.fakes.clock import NOON
from tests.unit.aws.dynamodb.samples import ITEMS

HOUR = timedelta(hours=1)
KEY = ("attempt_shard", "next_attempt_at")


def create_table(client: Any) -> None:
    schema = [{"AttributeName": name, "KeyType": kind} for name, kind in zip(KEY, ("HASH", "RANGE"), strict=True)]
    client.create_table(
        TableName=ITEMS,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("item_id", *KEY)],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {"IndexName": "by_next_attempt", "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}
        ],
    )


def put(client: Any, item_id: str, attempt_class: AttemptClass, hours: int = 0, failure_class: str = "") -> None:
    """Store an Item that has failed for so many hours (0: it does not fail)."""
    values = {"item_id": item_id} | next_attempt_attributes(ItemId(item_id), NextAttempt(NOON, attempt_class))
    if hours:
        since = format_timestamp(NOON - HOUR * hours)
        values |= {"failing_since": since, "failure_code": "CODE", "failure_class": failure_class}
    client.put_item(TableName=ITEMS, Item={name: {"S": value} for name, value in values.items()})


def test_items_that_fail_are_counted_by_the_class_of_their_failure(aws: None) -> None:  # noqa: ARG001 - the mock
    client = boto3.client("dynamodb")
    create_table(client)
    indexes = ItemIndexes(client, ITEMS)
    assert indexes.failures() == {AttemptClass.FAILING: Failures(), AttemptClass.BANK_DOWN: Failures()}
    put(client, "well", AttemptClass.ROUTINE)
    put(client, "claimed", AttemptClass.FAILING)
    put(client, "failing", AttemptClass.FAILING, 2, "transient")
    put(client, "requested", AttemptClass.FIRST_SYNC, 3, "a_newer_class")
    put(client, "down", AttemptClass.BANK_DOWN, 40, "institution_down")
    put(client, "down-and-attempted", AttemptClass.FAILING, 50, "institution_down")
    assert indexes.failures() == {
        AttemptClass.FAILING: Failures(2, NOON - 3 * HOUR),
        AttemptClass.BANK_DOWN: Failures(2, NOON - 50 * HOUR),
    }
    found = {item.item_id: (item.failure, item.next_attempt_at) for item in indexes.failing_items()}
    assert found.keys() == {"failing", "requested", "down", "down-and-attempted"}
    since = NOON - 2 * HOUR
    assert found[ItemId("failing")] == (ItemFailure("CODE", "transient", since, since), NOON)
