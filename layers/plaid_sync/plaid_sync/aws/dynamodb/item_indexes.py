"""The indexes of the Items table: lists of Items, due Items, gauges. No index holds an access token.

Indexes are eventually consistent: the last moments may be missing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, serialize
from plaid_sync.aws.dynamodb.item_rows import item_from_row
from plaid_sync.aws.dynamodb.transact import filtered_pages, page_key, query_pages
from plaid_sync.domain.clock import format_timestamp, read_timestamp
from plaid_sync.domain.errors import InvalidRequestError
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.sweep import DueItem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.item import Item

_BY_USER: Final = ("client_user_id", "item_id")
_BY_STATE: Final = ("state", "fresh_at", "item_id")
_STALE_PAGE_SIZE: Final = 20
"""Items that are read at once to find the stalest: usually it is the first."""


@dataclass(frozen=True, slots=True)
class ItemIndexes:
    """Reads the indexes; implements `ItemLists`, `LinkIndex`, `DueItems`, `ItemGauges` and `ItemIds`."""

    client: DynamoDBClient
    table: str

    def page(
        self, client_user_id: str | None, state: str | None, limit: int, after: dict[str, str] | None
    ) -> tuple[list[Item], dict[str, str] | None]:
        """See `ItemLists`."""
        request, names = self._list_request(client_user_id, state)
        if after is not None:
            given = {"client_user_id": client_user_id} if client_user_id else {"state": state} if state else {}
            if after.keys() != set(names) or any(after[name] != value for name, value in given.items()):
                fix = "send it with the same state and client_user_id as for the previous page"
                raise InvalidRequestError("next", fix)
            request["ExclusiveStartKey"] = {name: serialize(after[name]) for name in names}
        read: Any = self.client.scan if not client_user_id and not state else self.client.query
        items: list[Item] = []
        following: dict[str, str] | None = None
        for rows, last in filtered_pages(read, request, limit, after):
            items += map(item_from_row, rows)
            following = page_key(last, names)
        return items, following

    def _list_request(self, client_user_id: str | None, state: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the request, and the names of the parts of its keys."""
        expression = Expression()
        if client_user_id is None:
            condition = {"KeyConditionExpression": expression.equals("state", state)} if state else {}
            arguments = expression.arguments() if state else {}
            return {"TableName": self.table, "IndexName": "by_state", **condition, **arguments}, _BY_STATE
        condition = {"KeyConditionExpression": expression.equals("client_user_id", client_user_id)}
        chosen = {"FilterExpression": expression.equals("state", state)} if state else {}
        arguments = expression.arguments()
        return {"TableName": self.table, "IndexName": "by_user", **condition, **chosen, **arguments}, _BY_USER

    def id_by_link(self, link_id: str) -> ItemId | None:
        """See `LinkIndex`."""
        expression = Expression()
        with aws_errors():
            response = self.client.query(
                TableName=self.table,
                IndexName="by_link",
                KeyConditionExpression=expression.equals("link_id", link_id),
                Limit=1,
                **expression.arguments(),
            )
        rows = response["Items"]
        return ItemId(str(rows[0]["item_id"]["S"])) if rows else None

    def ids(self, state: StateName) -> Iterator[ItemId]:
        """See `ItemIds`."""
        expression = Expression()
        condition = expression.equals("state", state.value)
        projection = expression.name("item_id")
        request = {"IndexName": "by_state", "KeyConditionExpression": condition, "ProjectionExpression": projection}
        for page in self._pages(request | expression.arguments()):
            yield from (ItemId(row["item_id"]["S"]) for row in page["Items"])

    # ---- the sweep

    def due(self, state: StateName, now: datetime, limit: int) -> list[DueItem]:
        """See `DueItems`."""
        expression = Expression()
        of_state = expression.equals("state", state.value)
        condition = f"{of_state} AND {expression.name('due_at')} <= {expression.value(format_timestamp(now))}"
        request = {"IndexName": "by_due", "KeyConditionExpression": condition, **expression.arguments()}
        items: list[DueItem] = []
        for page in self._pages(request, limit):
            items += [DueItem(row["due_at"]["S"], ItemId(row["item_id"]["S"]), state) for row in page["Items"]]
            if len(items) >= limit:
                break
        return items[:limit]

    def defer(self, item: DueItem, until: datetime) -> None:
        """See `DueItems`. Not fenced: no sync reads it. A concurrent write of the Item wins."""
        expression, exceptions = Expression(), self.client.exceptions
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key={"item_id": serialize(item.item_id)},
                    UpdateExpression=expression.update({"due_at": format_timestamp(until)}),
                    ConditionExpression=expression.equals("due_at", item.due_at),
                    **expression.arguments(),
                )
            except (exceptions.ConditionalCheckFailedException, exceptions.TransactionConflictException):
                return

    def counts(self) -> dict[str, int]:
        """See `ItemGauges`."""
        expression = Expression()
        request: Any = {
            "TableName": self.table,
            "IndexName": "by_state",
            "ProjectionExpression": expression.name("state"),
        }
        pages = self.client.get_paginator("scan").paginate(**request, **expression.arguments())
        with aws_errors():
            found = Counter(row["state"]["S"] for page in pages for row in page["Items"])
        return dict.fromkeys(map(str, StateName), 0) | found

    def stalest_success(self) -> datetime | None:
        """See `ItemGauges`."""
        stalest = ""
        for state in (StateName.ACTIVE, StateName.EXPIRING):
            for fresh_at, state_since in self._by_freshness(state):
                if stalest and fresh_at >= stalest:
                    break
                since = max(fresh_at, state_since)
                stalest = min(stalest or since, since)
        return read_timestamp(stalest) if stalest else None

    def _by_freshness(self, state: StateName) -> Iterator[tuple[str, str]]:
        """Yield the last success and the `state_since` of each Item in a state, the stalest first."""
        expression = Expression()
        request = {"IndexName": "by_state", "KeyConditionExpression": expression.equals("state", state.value)}
        for page in self._pages(request | expression.arguments(), _STALE_PAGE_SIZE):
            yield from ((row["fresh_at"]["S"], row.get("state_since", {}).get("S", "")) for row in page["Items"])

    def removals_incomplete(self) -> int:
        """See `ItemGauges`."""
        return self._count("by_due", StateName.REMOVED)

    def _count(self, index: str, state: StateName) -> int:
        expression = Expression()
        request = {"IndexName": index, "KeyConditionExpression": expression.equals("state", state.value)}
        return sum(page["Count"] for page in self._pages(request | expression.arguments() | {"Select": "COUNT"}))

    def _pages(self, request: dict[str, Any], limit: int | None = None) -> Iterator[Any]:
        bounded = {} if limit is None else {"Limit": limit}
        return query_pages(self.client, {"TableName": self.table, **request, **bounded})
