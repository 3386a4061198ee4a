"""The indexes of the Items table as the sweep uses them: the stalest success, and which write sets `due_at`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.item import StateName
from plaid_sync.sweep import DueItem

from tests.fakes.clock import NOON
from tests.unit.aws.dynamodb.samples import ITEM, ITEMS

HOUR = timedelta(hours=1)


@pytest.fixture
def client(aws: None) -> Any:  # noqa: ARG001 - the mock has to be up first
    client = boto3.client("dynamodb")
    keys = ("item_id", "state", "fresh_at")
    client.create_table(
        TableName=ITEMS,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_state",
                "KeySchema": [
                    {"AttributeName": "state", "KeyType": "HASH"},
                    {"AttributeName": "fresh_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    return client


def put(client: Any, item_id: str, state: str, synced: float, changed: float | None = None) -> None:
    """Store an Item that was last synced, and whose state last changed, so many hours ago."""
    times = {"fresh_at": synced} | ({} if changed is None else {"state_since": changed})
    values = {"item_id": item_id, "state": state} | {
        name: format_timestamp(NOON - HOUR * hours) for name, hours in times.items()
    }
    client.put_item(TableName=ITEMS, Item={name: {"S": value} for name, value in values.items()})


def stalest(client: Any) -> float | None:
    """Return the hours since the success of the stalest Item."""
    found = ItemIndexes(client, ITEMS).stalest_success()
    return None if found is None else (NOON - found) / HOUR


def test_the_stalest_success_is_that_of_an_active_or_expiring_item(client: Any) -> None:
    assert stalest(client) is None
    put(client, "fresh", "active", 1, 90)
    put(client, "expiring", "expiring", 3, 3)
    put(client, "broken", "needs_user", 900, 900)
    assert stalest(client) == 3
    put(client, "unchanged", "active", 5)
    assert stalest(client) == 5


def test_a_repaired_item_counts_from_its_repair(client: Any) -> None:
    for number in range(50):
        put(client, f"repaired{number}", "active", 500 + number, 0.5)
    assert stalest(client) == 0.5
    put(client, "forgotten", "active", 20, 300)
    put(client, "expiring", "expiring", 9, 300)
    assert stalest(client) == 20


def test_a_concurrent_write_of_the_item_decides_when_it_is_due(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("update_item", "TransactionConflictException", http_status_code=400)
        ItemIndexes(client, ITEMS).defer(DueItem(format_timestamp(NOON), ITEM, StateName.ACTIVE), NOON + HOUR)
        stub.assert_no_pending_responses()


def test_items_are_counted_in_each_state_and_in_those_of_a_newer_version(client: Any) -> None:
    for number, state in enumerate(["active", "active", "frozen", "removed"]):
        put(client, f"item{number}", state, 1)
    counts = ItemIndexes(client, ITEMS).counts()
    assert counts == dict.fromkeys(StateName, 0) | {"active": 2, "frozen": 1, "removed": 1}
