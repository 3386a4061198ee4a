"""The Items table as the audit reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.dynamodb.expressions import Expression
from plaid_sync.adapters.dynamodb.items_table import load_item
from plaid_sync.adapters.dynamodb.queries import query_pages
from plaid_sync.core.items import Item, ItemId, ItemStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class AuditItems:
    """Reads Items; fulfils `AuditedItems`."""

    client: DynamoDBClient
    table: str

    def load(self, item_id: ItemId) -> Item | None:
        """See `ports.audit.AuditedItems`."""
        return load_item(self.client, self.table, item_id)

    def ids(self, status: ItemStatus) -> Iterator[ItemId]:
        """See `ports.audit.AuditedItems`."""
        expression = Expression()
        request: dict[str, Any] = {
            "TableName": self.table,
            "IndexName": "by_status",
            "KeyConditionExpression": expression.equals("status", status.value),
            "ProjectionExpression": expression.name("item_id"),
            **expression.arguments(),
        }
        for page in query_pages(self.client, request):
            yield from (ItemId(row["item_id"]["S"]) for row in page["Items"])
