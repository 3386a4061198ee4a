"""The Items table as the sweep uses it: how stale the stalest is, and who has the last word on when one is due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.adapters.aws import to_text
from plaid_sync.adapters.dynamodb.swept_items import SweptItemsTable
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.lifecycle.sweeping import DueItem

from .conftest import ITEM, ITEMS, NOON, QUARANTINE

HOUR = timedelta(hours=1)


@pytest.fixture
def client(aws: None) -> Any:  # noqa: ARG001 - the mock has to be up first
    client = boto3.client("dynamodb")
    keys = ("item_id", "status", "fresh_at")
    client.create_table(
        TableName=ITEMS,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_status",
                "KeySchema": [
                    {"AttributeName": "status", "KeyType": "HASH"},
                    {"AttributeName": "fresh_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    return client


def put(client: Any, item_id: str, status: str, fresh: float, well: float | None = None) -> None:
    """Store an Item that was last synced so many hours ago, and stands as it does since so many."""
    times = {"fresh_at": fresh} | ({} if well is None else {"status_at": well})
    values = {"item_id": item_id, "status": status} | {name: to_text(NOON - HOUR * ago) for name, ago in times.items()}
    client.put_item(TableName=ITEMS, Item={name: {"S": value} for name, value in values.items()})


def stalest(client: Any) -> float | None:
    """Return the hours since the success of the stalest Item."""
    found = SweptItemsTable(client, ITEMS, QUARANTINE).stalest_success()
    return None if found is None else (NOON - found) / HOUR


def test_the_stalest_of_those_that_are_synced_is_found(client: Any) -> None:
    assert stalest(client) is None
    put(client, "fresh", "active", 1, 90)
    put(client, "ending", "expiring", 3, 3)
    put(client, "ill", "needs_user", 900, 900)
    assert stalest(client) == 3
    put(client, "never", "active", 5)
    assert stalest(client) == 5


def test_an_item_that_was_repaired_a_moment_ago_counts_from_then(client: Any) -> None:
    for number in range(50):
        put(client, f"repaired{number}", "active", 500 + number, 0.5)
    assert stalest(client) == 0.5
    put(client, "forgotten", "active", 20, 300)
    put(client, "ending", "expiring", 9, 300)
    assert stalest(client) == 20


def test_who_writes_the_item_at_the_same_moment_says_when_it_is_due(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("update_item", "TransactionConflictException", http_status_code=400)
        SweptItemsTable(client, ITEMS, QUARANTINE).put_off(DueItem(to_text(NOON), ITEM, ItemStatus.ACTIVE), NOON + HOUR)
        stub.assert_no_pending_responses()
