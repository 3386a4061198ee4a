"""The Items table as the sweep reads it: what is due, and how all Items are, from its indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors, from_text, to_text
from plaid_sync.adapters.dynamodb.expressions import Expression, serialize
from plaid_sync.adapters.dynamodb.queries import query_pages
from plaid_sync.core.items import ItemId, ItemStatus
from plaid_sync.core.lifecycle.sweeping import DueItem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_QUARANTINE_PAGES: Final = 5
"""Of one megabyte each: usually there is nothing to count, and of a flood it is enough to know that there is one."""
_STALE_AT_ONCE: Final = 20
"""Items that are read to find the stalest: usually it is the first."""


@dataclass(frozen=True, slots=True)
class SweptItemsTable:
    """Finds what is due and counts; fulfils `SweptItems` and `ItemGauges`."""

    client: DynamoDBClient
    table: str
    quarantine_table: str

    def due(self, status: ItemStatus, now: datetime, limit: int) -> list[DueItem]:
        """See `ports.lifecycle.SweptItems`."""
        expression = Expression()
        of_status = expression.equals("status", status.value)
        condition = f"{of_status} AND {expression.name('due_at')} <= {expression.value(to_text(now))}"
        request = {"IndexName": "by_due", "KeyConditionExpression": condition, **expression.arguments()}
        found: list[DueItem] = []
        for page in self._pages(request, limit):
            found += [DueItem(row["due_at"]["S"], ItemId(row["item_id"]["S"]), status) for row in page["Items"]]
            if len(found) >= limit:
                break
        return found[:limit]

    def put_off(self, item: DueItem, until: datetime) -> None:
        """See `ports.lifecycle.SweptItems`. Unfenced: no sync reads it. Who writes the Item now has the last word."""
        expression, refused = Expression(), self.client.exceptions
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key={"item_id": serialize(item.item_id)},
                    UpdateExpression=expression.update({"due_at": to_text(until)}),
                    ConditionExpression=expression.equals("due_at", item.due_at),
                    **expression.arguments(),
                )
            except (refused.ConditionalCheckFailedException, refused.TransactionConflictException):
                return

    def counts(self) -> dict[ItemStatus, int]:
        """See `ports.lifecycle.ItemGauges`."""
        return {status: self._count("by_status", status) for status in ItemStatus}

    def stalest_success(self) -> datetime | None:
        """See `ports.lifecycle.ItemGauges`."""
        stalest = ""
        for status in (ItemStatus.ACTIVE, ItemStatus.EXPIRING):
            for fresh_at, well_since in self._by_freshness(status):
                if stalest and fresh_at >= stalest:
                    break
                since = max(fresh_at, well_since)
                stalest = min(stalest or since, since)
        return from_text(stalest) if stalest else None

    def _by_freshness(self, status: ItemStatus) -> Iterator[tuple[str, str]]:
        """Yield of each Item in a state, the stalest first, its last success and since when it is in that state."""
        expression = Expression()
        condition = expression.equals("status", status.value)
        request = {"IndexName": "by_status", "KeyConditionExpression": condition, **expression.arguments()}
        for page in self._pages(request, _STALE_AT_ONCE):
            yield from ((row["fresh_at"]["S"], row.get("status_at", {}).get("S", "")) for row in page["Items"])

    def removals_unfinished(self) -> int:
        """See `ports.lifecycle.ItemGauges`."""
        return self._count("by_due", ItemStatus.REMOVED)

    def quarantined_rows(self) -> int:
        """See `ports.lifecycle.ItemGauges`."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.quarantine_table, Select="COUNT")
        with aws_errors():
            return sum(page["Count"] for _, page in zip(range(_MOST_QUARANTINE_PAGES), pages, strict=False))

    def _count(self, index: str, status: ItemStatus) -> int:
        expression = Expression()
        condition = expression.equals("status", status.value)
        request = {"IndexName": index, "KeyConditionExpression": condition, **expression.arguments()}
        return sum(page["Count"] for page in self._pages(request | {"Select": "COUNT"}))

    def _pages(self, request: dict[str, Any], limit: int | None = None) -> Iterator[Any]:
        bounded = {} if limit is None else {"Limit": limit}
        return query_pages(self.client, {"TableName": self.table, **request, **bounded})
