"""The indexes of the Items table: lists of Items, due Items, gauges. No index holds an access token.

Indexes are eventually consistent: the last moments may be missing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, serialize
from plaid_sync.aws.dynamodb.item_rows import SHARDS, listed_item, shard_of
from plaid_sync.aws.dynamodb.transact import filtered_pages, page_key, query_pages
from plaid_sync.domain.clock import format_timestamp, parse_timestamp
from plaid_sync.domain.errors import InvalidRequestError
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.domain.schedule import AttemptClass, DueItem, Failures, retried_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.item import Item

_BY_USER: Final = ("client_user_id", "item_id")
_BY_STATE: Final = ("state", "fresh_at", "item_id")
_STALE_PAGE_SIZE: Final = 20
"""Items that are read at once to find the stalest: usually it is the first."""
_DUE_PAGE_SIZE: Final = 100
"""Due Items of a shard that are read at once: the sweep stops where its budget ends."""


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
            items += map(listed_item, rows)
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

    def ids(self, state: str) -> Iterator[ItemId]:
        """See `ItemIds`; the state may be one of a newer version."""
        expression = Expression()
        condition = expression.equals("state", str(state))
        projection = expression.name("item_id")
        request = {"IndexName": "by_state", "KeyConditionExpression": condition, "ProjectionExpression": projection}
        for page in self._pages(request | expression.arguments()):
            yield from (ItemId(row["item_id"]["S"]) for row in page["Items"])

    # ---- the sweep

    def due(self, attempt_class: AttemptClass, now: datetime) -> Iterator[DueItem]:
        """See `DueItems`."""
        until = format_timestamp(now)
        shards = (self._due_in_shard(attempt_class, shard, until) for shard in range(SHARDS))
        return heapq.merge(*shards)

    def _due_in_shard(self, attempt_class: AttemptClass, shard: int, until: str) -> Iterator[DueItem]:
        expression = Expression()
        come = f"{expression.name('next_attempt_at')} <= {expression.value(until)}"
        for row in self._attempts(attempt_class, shard, expression, come, _DUE_PAGE_SIZE):
            yield DueItem(row["next_attempt_at"]["S"], ItemId(row["item_id"]["S"]), attempt_class)

    def is_due(self, item: DueItem) -> bool:
        """See `DueItems`."""
        expression = Expression()
        shard = expression.equals("attempt_shard", shard_of(item.item_id, item.attempt_class))
        planned = expression.equals("next_attempt_at", item.next_attempt_at)
        request = {"IndexName": "by_next_attempt", "KeyConditionExpression": f"{shard} AND {planned}"}
        rows = (row for page in self._pages(request | expression.arguments()) for row in page["Items"])
        return any(row["item_id"]["S"] == item.item_id for row in rows)

    def synced_since(self, since: datetime) -> bool:
        """See `DueItems`."""
        for state in (StateName.ACTIVE, StateName.EXPIRING):
            expression = Expression()
            of_state = expression.equals("state", state.value)
            recent = f"{expression.name('fresh_at')} >= {expression.value(format_timestamp(since))}"
            request: Any = {
                "TableName": self.table,
                "IndexName": "by_state",
                "KeyConditionExpression": f"{of_state} AND {recent}",
                "Limit": 1,
                **expression.arguments(),
            }
            with aws_errors():
                if self.client.query(**request)["Items"]:
                    return True
        return False

    def failures(self) -> dict[AttemptClass, Failures]:
        """See `ItemGauges`."""
        found: dict[AttemptClass, list[str]] = {AttemptClass.FAILING: [], AttemptClass.BANK_DOWN: []}
        for row in self._failing_rows():
            found[retried_as(row.get("failure_class", {}).get("S", ""))].append(row["failing_since"]["S"])
        return {
            attempt_class: Failures(len(since), _time(min(since))) if since else Failures()
            for attempt_class, since in found.items()
        }

    def failing_items(self) -> Iterator[Item]:
        """Iterate over the failing Items, with what the index has of them: failure and next attempt, no state."""
        return map(listed_item, self._failing_rows())

    def _failing_rows(self) -> Iterator[Any]:
        for attempt_class in (AttemptClass.FAILING, AttemptClass.FIRST_SYNC, AttemptClass.BANK_DOWN):
            for shard in range(SHARDS):
                rows = self._attempts(attempt_class, shard, Expression())
                yield from (row for row in rows if "failing_since" in row)

    def _attempts(
        self,
        attempt_class: AttemptClass,
        shard: int,
        expression: Expression,
        come: str = "",
        page_size: int | None = None,
    ) -> Iterator[Any]:
        """Yield the rows of a shard of a class, in the order of their next attempts."""
        of_shard = expression.equals("attempt_shard", f"{attempt_class.value}#{shard}")
        condition = f"{of_shard} AND {come}" if come else of_shard
        request = {"IndexName": "by_next_attempt", "KeyConditionExpression": condition, **expression.arguments()}
        for page in self._pages(request, page_size):
            yield from page["Items"]

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
        return _time(stalest) if stalest else None

    def _by_freshness(self, state: StateName) -> Iterator[tuple[str, str]]:
        """Yield the last success and the `state_since` of each Item in a state, the stalest first."""
        expression = Expression()
        request = {"IndexName": "by_state", "KeyConditionExpression": expression.equals("state", state.value)}
        for page in self._pages(request | expression.arguments(), _STALE_PAGE_SIZE):
            yield from ((row["fresh_at"]["S"], row.get("state_since", {}).get("S", "")) for row in page["Items"])

    def removals_incomplete(self) -> int:
        """See `ItemGauges`."""
        expression = Expression()
        condition = expression.equals("state", StateName.REMOVED.value)
        pending = f"attribute_exists({expression.name('next_attempt_at')})"
        request = {"IndexName": "by_state", "KeyConditionExpression": condition, "FilterExpression": pending}
        request |= expression.arguments() | {"Select": "COUNT"}
        return sum(page["Count"] for page in self._pages(request))

    def _pages(self, request: dict[str, Any], limit: int | None = None) -> Iterator[Any]:
        bounded = {} if limit is None else {"Limit": limit}
        return query_pages(self.client, {"TableName": self.table, **request, **bounded})


def _time(text: str) -> datetime:
    """Return the time of a gauge; one that another program damaged counts as the oldest, so that an alarm shows it."""
    return parse_timestamp(text) or datetime.fromtimestamp(0, UTC)
