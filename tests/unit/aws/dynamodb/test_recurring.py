"""Stored responses about recurring streams, in DynamoDB's own calls."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.dynamodb.recurring import MAX_AGE, RecurringTable
from plaid_sync.aws.dynamodb.shared import SharedTable
from plaid_sync.aws.dynamodb.shared_rows import INVALIDATION, RECURRING, shared_key
from plaid_sync.domain.item import ItemId
from plaid_sync.items_api.ports import CachedResponse, PlaidResponse

from tests.fakes.clock import NOON
from tests.unit.aws.dynamodb.samples import SHARED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEM = ItemId("item")
RESPONSE = PlaidResponse(200, '{"café": 1.10}'.encode(), "application/json; charset=utf-8", "r-1")
ENTRY = CachedResponse("digest", 0, NOON, RESPONSE)
UNTIL = NOON + timedelta(hours=6)


def row(dynamodb: DynamoDBClient, kind: str) -> dict[str, Any]:
    return dict(dynamodb.get_item(TableName=SHARED, Key=shared_key(kind, ITEM)).get("Item", {}))


def test_a_response_is_stored_byte_by_byte_until_it_expires(dynamodb: DynamoDBClient) -> None:
    table = RecurringTable(dynamodb, SHARED)
    assert table.look_up(ITEM) == (0, None)
    table.store(ITEM, ENTRY, UNTIL)
    assert table.look_up(ITEM) == (0, ENTRY)
    assert row(dynamodb, RECURRING)["expires_at"] == {"N": str(int(UNTIL.timestamp()))}
    newer = replace(ENTRY, digest="other", response=replace(RESPONSE, body=b"{}"))
    table.store(ITEM, newer, UNTIL)
    assert table.look_up(ITEM) == (0, newer)


def test_no_invalidation_has_the_number_of_another_also_after_its_row_expired(dynamodb: DynamoDBClient) -> None:
    table, shared = RecurringTable(dynamodb, SHARED), SharedTable(dynamodb, SHARED)
    shared.invalidate_recurring(ITEM, NOON)
    (number, _) = table.look_up(ITEM)
    assert int(row(dynamodb, INVALIDATION)["expires_at"]["N"]) > (NOON + MAX_AGE).timestamp()
    table.store(ITEM, replace(ENTRY, invalidation=number), NOON + timedelta(days=12))
    dynamodb.delete_item(TableName=SHARED, Key=shared_key(INVALIDATION, ITEM))  # as its TTL does
    assert table.look_up(ITEM)[0] == 0
    numbers = {0, number}
    for _ in range(3):
        shared.invalidate_recurring(ITEM, NOON + timedelta(days=9))
        numbers.add(table.look_up(ITEM)[0])
    assert len(numbers) == 5


def test_what_does_not_fit_into_a_row_is_not_stored(dynamodb: DynamoDBClient) -> None:
    table = RecurringTable(dynamodb, SHARED)
    noise = random.Random(1).randbytes(400_000)  # noqa: S311 - reproducible on purpose
    table.store(ITEM, replace(ENTRY, response=replace(RESPONSE, body=noise)), UNTIL)
    assert table.look_up(ITEM) == (0, None)
    large = b'{"streams": ' + b"[]" * 1_000_000
    table.store(ITEM, replace(ENTRY, response=replace(RESPONSE, body=large)), UNTIL)
    (_, found) = table.look_up(ITEM)
    assert found is not None
    assert found.response.body == large


def test_a_row_that_cannot_be_read_counts_as_absent(dynamodb: DynamoDBClient) -> None:
    table = RecurringTable(dynamodb, SHARED)
    for changed in ({"body": {"B": b"no zlib"}}, {"fetched_at": {"S": "noon"}}, {"body": {"S": "text"}}):
        table.store(ITEM, ENTRY, UNTIL)
        damaged: Any = row(dynamodb, RECURRING) | changed
        dynamodb.put_item(TableName=SHARED, Item=damaged)
        assert table.look_up(ITEM) == (0, None)
    for name in ("digest", "invalidation", "content_type", "request_id", "body", "fetched_at"):
        table.store(ITEM, ENTRY, UNTIL)
        without = row(dynamodb, RECURRING)
        del without[name]
        dynamodb.put_item(TableName=SHARED, Item=without)
        assert table.look_up(ITEM) == (0, None)
