"""AWS in this process (moto): quick, and faithful enough for one thread and these calls."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from plaid_sync.adapters.dynamodb.history_table import HistoryTable
from plaid_sync.adapters.dynamodb.item_registry import ItemRegistry
from plaid_sync.adapters.dynamodb.items_table import ItemsTable
from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.items import ItemId
from plaid_sync.core.linking.registration import NewItem, Registration

if TYPE_CHECKING:
    from collections.abc import Iterator

ITEMS, TRANSACTIONS, QUARANTINE, HISTORY, LINKS = "items", "transactions", "quarantine", "history", "links"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ITEM = ItemId("item")
NEW = NewItem(ITEM, b"sealed", "link", 730, NOON)


def register(client: Any, new: NewItem = NEW) -> ItemsTable:
    """Register an Item; return the table as a sync uses it."""
    linked = HistoryEntry(new.item_id, new.linked_at, "linked", EntryKind.REQUEST, "linked")
    registry(client).register(Registration(new, linked))
    return items_table(client)


def registry(client: Any) -> ItemRegistry:
    return ItemRegistry(client, ITEMS, LINKS, HISTORY, lambda: NOON, pause=lambda _: None)


def items_table(client: Any) -> ItemsTable:
    return ItemsTable(client, ITEMS, HISTORY, lambda: NOON, pause=lambda _: None)


def history_of_syncs(client: Any) -> list[HistoryEntry]:
    """Return what the Item's history has of its syncs, the newest first."""
    entries, _ = HistoryTable(client, HISTORY).page(ITEM, 100)
    return [entry for entry in entries if entry.kind is EntryKind.SYNC]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    boto3.setup_default_session()
    with mock_aws():
        yield


@pytest.fixture
def dynamodb(aws: None) -> Any:  # noqa: ARG001 - the mock has to be up first
    client = boto3.client("dynamodb")
    schemas = {
        ITEMS: ["item_id"],
        TRANSACTIONS: ["item_id", "transaction_id"],
        QUARANTINE: ["item_id", "entry_part"],
        HISTORY: ["item_id", "entry_id"],
        LINKS: ["link_key"],
    }
    for table, keys in schemas.items():
        client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
        )
    return client
