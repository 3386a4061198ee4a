"""A DynamoDB with the template's two tables, the engine's adapters on them, and short words for raw calls."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.expressions import deserialize, serialize
from plaid_sync.adapters.items_table import ItemsTable
from plaid_sync.adapters.transactions_table import TransactionsTable
from plaid_sync.core.items import Cursor, ItemId
from plaid_sync.core.linking import NewItem
from plaid_sync.core.plan import Commit
from plaid_sync.core.transactions import TransactionId, TransactionRow

from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.core.items import Item
    from plaid_sync.core.plan import RowWrite

    from local.stack import Emulator

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
ITEMS, TRANSACTIONS = "conformance-items", "conformance-transactions"
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
        for name, logical_id in ((ITEMS, "ItemsTable"), (TRANSACTIONS, "TransactionsTable")):
            _create(client, name, template.properties(logical_id))
        return cls(client, emulator.client)

    @property
    def items(self) -> ItemsTable:
        return ItemsTable(self.client, ITEMS, moment)

    @property
    def transactions(self) -> TransactionsTable:
        return TransactionsTable(self.client, ITEMS, TRANSACTIONS, moment, pause=lambda _: None)

    def fresh(self) -> str:
        """Return a name that nothing has yet."""
        return f"thing-{next(self.numbers)}"

    def registered(self, claims: int = 0) -> ItemId:
        """Register an Item and claim it so many times."""
        item_id = ItemId(self.fresh())
        self.items.register(NewItem(item_id, b"sealed", f"link of {item_id}", 730, NOON))
        for _ in range(claims):
            self.claim(item_id)
        return item_id

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


def commit(expected: str | None = None, cursor: str = "one") -> Commit:
    """Return the Item's part of a last transaction."""
    before = None if expected is None else Cursor(expected)
    return Commit(before, Cursor(cursor), False, "HISTORICAL_UPDATE_COMPLETE", NOON, NOON)  # noqa: FBT003


def _create(client: Any, name: str, properties: dict[str, Any]) -> None:
    streams = properties.get("StreamSpecification")
    client.create_table(
        TableName=name,
        **{part: properties[part] for part in _OF_A_TABLE if part in properties},
        **({"StreamSpecification": {"StreamEnabled": True} | streams} if streams else {}),
    )
    if "TimeToLiveSpecification" in properties:
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])
