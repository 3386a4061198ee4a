"""A DynamoDB with the template's tables, the engine's adapters on them, and short words for raw calls."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.dynamodb.expressions import deserialize, serialize
from plaid_sync.adapters.dynamodb.history_table import HistoryTable
from plaid_sync.adapters.dynamodb.item_registry import ItemRegistry
from plaid_sync.adapters.dynamodb.items_table import ItemsTable
from plaid_sync.adapters.dynamodb.links_table import LinksTable
from plaid_sync.adapters.dynamodb.transactions_table import TransactionsTable
from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.items import Cursor, ItemId, ItemStatus, Standing
from plaid_sync.core.linking.registration import NewItem, Registration
from plaid_sync.core.sync.plan import Commit, Verdict
from plaid_sync.core.sync.transactions import TransactionId, TransactionRow

from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from plaid_sync.core.items import Item
    from plaid_sync.core.sync.plan import RowWrite

    from local.stack import Emulator

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
ITEMS, TRANSACTIONS, HISTORY, LINKS = (f"conformance-{name}" for name in ("items", "transactions", "history", "links"))
_TABLES: Final = {
    ITEMS: "ItemsTable",
    TRANSACTIONS: "TransactionsTable",
    HISTORY: "HistoryTable",
    LINKS: "LinksTable",
}
_SOMEBODY: Final = ItemId("somebody")
"""Where it does not matter whose the entry is that comes with a commit."""
_OF_A_TABLE: Final = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")


def moment() -> datetime:
    return NOON


@dataclass(frozen=True, slots=True)
class Bench:
    """One DynamoDB to put questions to.

    Attributes:
        client: a client of it, with an administrator's rights and without retries.
        connect: makes another one, for the service of that name.
    """

    client: Any
    connect: Callable[[str], Any]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def on(cls, emulator: Emulator) -> Bench:
        """Create the tables, as the template has them."""
        client = emulator.client("dynamodb")
        template = Template.parse((PROJECT / "template.yaml").read_text())
        for name, logical_id in _TABLES.items():
            _create(client, name, template.properties(logical_id))

        def connect(service: str) -> Any:
            # Not the shared one: what a case registers on a client must not reach the next case's calls.
            return emulator.client_of(service, emulator.access_key_id, emulator.secret_access_key)

        return cls(client, connect)

    @property
    def items(self) -> ItemsTable:
        return ItemsTable(self.client, ITEMS, HISTORY, moment, pause=lambda _: None)

    @property
    def registry(self) -> ItemRegistry:
        return ItemRegistry(self.client, ITEMS, LINKS, HISTORY, moment, pause=lambda _: None)

    @property
    def links(self) -> LinksTable:
        return LinksTable(self.client, LINKS, pause=lambda _: None)

    @property
    def history(self) -> HistoryTable:
        return HistoryTable(self.client, HISTORY)

    @property
    def transactions(self) -> TransactionsTable:
        return TransactionsTable(self.client, ITEMS, TRANSACTIONS, HISTORY, moment, pause=lambda _: None)

    def fresh(self) -> str:
        """Return a name that nothing has yet."""
        return f"thing-{next(self.numbers)}"

    def registered(self, claims: int = 0) -> ItemId:
        """Register an Item and claim it so many times."""
        item_id = ItemId(self.fresh())
        self.register(item_id)
        for _ in range(claims):
            self.claim(item_id)
        return item_id

    def register(self, item_id: ItemId, yielding: Collection[ItemId] = (), **fields: Any) -> None:
        """Register an Item through the adapter."""
        known: dict[str, Any] = {
            "access_token": b"sealed",
            "link_id": f"link of {item_id}",
            "days_requested": 730,
            "linked_at": NOON,
        }
        new = NewItem(item_id, **(known | fields))
        self.registry.register(Registration(new, entry(item_id, EntryKind.REQUEST), frozenset(yielding)))

    def loaded(self, item_id: ItemId) -> Item:
        """Return an Item that must be there, as a worker loads it."""
        item = self.items.load(item_id)
        assert item is not None
        return item

    def claim(self, item_id: ItemId) -> Item:
        """Load and claim an Item as a new attempt."""
        return self.items.claim(self.loaded(item_id), self.fresh())

    def write(
        self, item_id: ItemId, generation: int, *writes: RowWrite, begin: bool = False, commit: Commit | None = None
    ) -> None:
        """Write through the adapter."""
        self.transactions.write(item_id, generation, writes, begin=begin, commit=commit)

    def put(self, sort_key: str = "", **attributes: Any) -> ItemId:
        """Put a raw row with these attributes under a fresh Item (or the one in `item_id`)."""
        item_id = attributes.pop("item_id", None) or ItemId(self.fresh())
        values = {"item_id": item_id, "transaction_id": sort_key or "t"} | attributes
        self.client.put_item(TableName=TRANSACTIONS, Item={name: serialize(value) for name, value in values.items()})
        return ItemId(item_id)

    def item(self, item_id: str) -> dict[str, Any]:
        """Return an Item's attributes as stored, {} when it is absent."""
        return self._get(ITEMS, item_id=item_id)

    def row(self, item_id: str, transaction_id: str = "t") -> dict[str, Any]:
        """Return a row's attributes as stored, {} when it is absent."""
        return self._get(TRANSACTIONS, item_id=item_id, transaction_id=transaction_id)

    def rows(self, item_id: str) -> list[dict[str, Any]]:
        """Return all of an Item's rows as stored."""
        pages = self.client.get_paginator("query").paginate(
            TableName=TRANSACTIONS,
            KeyConditionExpression="item_id = :i",
            ExpressionAttributeValues={":i": {"S": item_id}},
            ConsistentRead=True,
        )
        return [deserialize(attributes) for page in pages for attributes in page["Items"]]

    def syncs(self, item_id: ItemId) -> int:
        """Return how many entries an Item's history has of its syncs."""
        entries, _ = self.history.page(item_id, 100)
        return sum(one.kind is EntryKind.SYNC for one in entries)

    def update(
        self,
        item_id: str,
        expression: str,
        table: str = TRANSACTIONS,
        *,
        condition: str = "",
        names: dict[str, str] | None = None,
        **values: Any,
    ) -> None:
        """Update row `t` of an Item, or in the Items table the Item itself."""
        self.client.update_item(
            TableName=table,
            Key=key(item_id) if table == TRANSACTIONS else {"item_id": {"S": item_id}},
            UpdateExpression=expression,
            ExpressionAttributeValues={f":{name}": serialize(value) for name, value in values.items()},
            **({"ConditionExpression": condition} if condition else {}),
            **({"ExpressionAttributeNames": names} if names else {}),
        )

    def _get(self, table: str, **names: str) -> dict[str, Any]:
        wanted = {name: {"S": value} for name, value in names.items()}
        answer = self.client.get_item(TableName=table, Key=wanted, ConsistentRead=True)
        return deserialize(answer.get("Item", {}))


def key(item_id: str, transaction_id: str = "t") -> dict[str, Any]:
    """Return a row's key in wire form."""
    return {"item_id": {"S": item_id}, "transaction_id": {"S": transaction_id}}


def row(transaction_id: str = "t", account_id: str = "account", **fields: Any) -> TransactionRow:
    """Return a row to write."""
    content: dict[str, Any] = {"date": "2026-02-28", "amount": Decimal("12.5"), "pending": False, "plaid": b"p" * 300}
    return TransactionRow(TransactionId(transaction_id), account_id, **(content | fields))


def entry(item_id: ItemId, kind: EntryKind = EntryKind.SYNC, outcome: str = "committed") -> HistoryEntry:
    """Return an entry of an Item's history."""
    return HistoryEntry(item_id, NOON, f"{kind.value} {outcome}", kind, outcome, {"causes": ["request"], "added": 1})


def commit(expected: str | None = None, cursor: str = "one", item_id: ItemId = _SOMEBODY) -> Commit:
    """Return the Item's part of a last transaction."""
    return Commit(
        expected_cursor=None if expected is None else Cursor(expected),
        cursor=Cursor(cursor),
        reconcile=False,
        update_status="HISTORICAL_UPDATE_COMPLETE",
        pull_began_at=NOON,
        committed_at=NOON,
        standing=Standing(ItemStatus.ACTIVE),
        entry=entry(item_id),
    )


def verdict(item_id: ItemId, status: ItemStatus = ItemStatus.NEEDS_USER, update_status: str | None = None) -> Verdict:
    """Return what an attempt leaves on its Item that writes no rows."""
    return Verdict(Standing(status, "CODE", NOON), entry(item_id, outcome="trouble"), update_status=update_status)


def _create(client: Any, name: str, properties: dict[str, Any]) -> None:
    streams = properties.get("StreamSpecification")
    client.create_table(
        TableName=name,
        **{part: properties[part] for part in _OF_A_TABLE if part in properties},
        **({"StreamSpecification": {"StreamEnabled": True} | streams} if streams else {}),
    )
    if "TimeToLiveSpecification" in properties:
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])
