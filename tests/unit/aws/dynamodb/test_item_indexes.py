"""The indexes of the Items table as the sweep uses them: due Items, and gauges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.aws.dynamodb.item_rows import UNREADABLE_ROW, next_attempt_attributes
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.errors import FailureClass, UnreadableItemError
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.domain.schedule import AttemptClass, Failures, NextAttempt

from tests.fakes.clock import NOON, FakeClock
from tests.unit.aws.dynamodb.samples import ITEMS

HOUR = timedelta(hours=1)


@pytest.fixture
def client(aws: None) -> Any:  # noqa: ARG001 - the mock has to be up first
    client = boto3.client("dynamodb")
    keys = ("item_id", "state", "fresh_at", "attempt_shard", "next_attempt_at")
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
            },
            {
                "IndexName": "by_next_attempt",
                "KeySchema": [
                    {"AttributeName": "attempt_shard", "KeyType": "HASH"},
                    {"AttributeName": "next_attempt_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            },
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


def plan(client: Any, item_id: str, hours: float, attempt_class: AttemptClass, failing: float | None = None) -> None:
    """Store an Item that is attempted in so many hours, and has been failing for so many."""
    planned = next_attempt_attributes(ItemId(item_id), NextAttempt(NOON + HOUR * hours, attempt_class))
    down = attempt_class is AttemptClass.BANK_DOWN
    failure = {"failure_class": FailureClass.INSTITUTION_DOWN if down else FailureClass.TRANSIENT}
    since = {} if failing is None else {"failing_since": format_timestamp(NOON - HOUR * failing), **failure}
    values = {"item_id": item_id} | planned | since
    client.put_item(TableName=ITEMS, Item={name: {"S": value} for name, value in values.items()})


def test_the_most_overdue_items_of_a_class_of_all_shards_are_due(client: Any) -> None:
    names = [f"item{number:02}" for number in range(40)]
    for number, name in enumerate(names):
        plan(client, name, (number - 29) / 10, AttemptClass.FAILING)
    plan(client, "other", -9, AttemptClass.ROUTINE)
    indexes = ItemIndexes(client, ITEMS)
    due = list(indexes.due(AttemptClass.FAILING, NOON))
    assert [item.item_id for item in due] == names[:30]
    assert list(indexes.due(AttemptClass.BANK_DOWN, NOON)) == []
    plan(client, names[0], 1, AttemptClass.FAILING)  # a worker begins it
    assert [indexes.is_due(item) for item in due[:2]] == [False, True]
    shards = {row["attempt_shard"]["S"] for row in client.scan(TableName=ITEMS)["Items"]}
    assert len(shards) > 4


def test_failing_items_are_counted_by_class_with_the_oldest_failure(client: Any) -> None:
    indexes = ItemIndexes(client, ITEMS)
    assert set(indexes.failures().values()) == {Failures()}
    for number in range(12):
        plan(client, f"failing{number}", 0.1, AttemptClass.FAILING, failing=1 + number)
    plan(client, "claimed", 0.1, AttemptClass.FAILING)
    plan(client, "down", 0.1, AttemptClass.BANK_DOWN, failing=90)
    found = indexes.failures()
    assert found[AttemptClass.FAILING] == Failures(12, NOON - HOUR * 12)
    assert found[AttemptClass.BANK_DOWN] == Failures(1, NOON - HOUR * 90)


def test_a_success_shows_that_plaid_serves_items(client: Any) -> None:
    indexes = ItemIndexes(client, ITEMS)
    put(client, "stale", "active", 1)
    put(client, "broken", "needs_user", 0)
    assert not indexes.synced_since(NOON - HOUR / 2)
    put(client, "expiring", "expiring", 0.25)
    assert indexes.synced_since(NOON - HOUR / 2)


def test_items_are_counted_in_each_state_and_in_those_of_a_newer_version(client: Any) -> None:
    for number, state in enumerate(["active", "active", "frozen", "removed"]):
        put(client, f"item{number}", state, 1)
    counts = ItemIndexes(client, ITEMS).counts()
    assert counts == dict.fromkeys(StateName, 0) | {"active": 2, "frozen": 1, "removed": 1}


DAMAGE: dict[str, Any] = {"linked_at": {"S": "no time"}, "failing_since": {"N": "1"}, "generation": {"S": "three"}}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_item_is_listed_with_an_error_and_ends_no_list(client: Any, name: str) -> None:
    for item_id in ("one", "two", "three"):
        put(client, item_id, StateName.ACTIVE, synced=1)
    row = client.get_item(TableName=ITEMS, Key={"item_id": {"S": "two"}})["Item"]
    client.put_item(TableName=ITEMS, Item=row | {name: DAMAGE[name]})
    listed, _ = ItemIndexes(client, ITEMS).page(None, "active", 10, None)
    codes = {item.item_id: item.state.code for item in listed}
    assert codes == {"one": None, "two": UNREADABLE_ROW, "three": None}
    assert {item.state.name for item in listed} == {"active"}
    with pytest.raises(UnreadableItemError):
        ItemsTable(client, ITEMS, "history", FakeClock()).load(ItemId("two"))


def test_a_damaged_time_counts_as_the_oldest_in_a_gauge(client: Any) -> None:
    put(client, "one", StateName.ACTIVE, synced=1)
    damaged = {"item_id": {"S": "two"}, "state": {"S": "active"}, "fresh_at": {"S": "1"}}
    failing = {"failing_since": {"S": "1"}, "attempt_shard": {"S": "failing#0"}, "next_attempt_at": {"S": "1"}}
    client.put_item(TableName=ITEMS, Item=damaged | failing)
    indexes = ItemIndexes(client, ITEMS)
    oldest = datetime.fromtimestamp(0, UTC)
    assert indexes.stalest_success() == oldest
    assert indexes.failures()[AttemptClass.FAILING] == Failures(1, oldest)
