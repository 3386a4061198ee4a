"""The Transactions table as the Items API reads it: lists, single rows, and their number.

The order by id reads the table consistently; the orders by date read the index `by_account` of each account, merged,
which is eventually consistent.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.annotations import ANNOTATIONS, POSTED
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, number_of
from plaid_sync.aws.dynamodb.transactions import ENGINE_ATTRIBUTES, live_rows
from plaid_sync.domain.transaction import TransactionRow, plaid_object, sized_object
from plaid_sync.items_api.ports import ListedPage, ListedRow, RowSelection
from plaid_sync.items_api.transaction_query import Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.item import ItemId

_MAX_COUNTED_PAGES: Final = 30
_MAX_RESPONSE_BYTES: Final = 4_000_000
"""A response of Lambda has 6 MB at most."""
_MAX_READS: Final = 20
"""A filter can drop every row of many reads: then a page is short, and says where the next one begins."""
_FIRST: Final = " "
_LAST: Final = "~"
"""Before and after every date."""
_Row = dict[str, Any]
_LISTED: Final = ("item_id", "transaction_id", "generation", "removed_at", *TransactionRow.ATTRIBUTES)


class _ReadsUsedUpError(Exception):
    """A page has made as many reads as it may."""


@dataclass(slots=True)
class _Reader:
    """Reads rows of one page, up to a number of reads."""

    client: DynamoDBClient
    reads: int

    def rows(self, request: _Row) -> Iterator[_Row]:
        start: _Row = {}
        while True:
            if self.reads == 0:
                raise _ReadsUsedUpError
            self.reads -= 1
            with aws_errors():
                response = self.client.query(**request, **start)
            yield from map(deserialize, response["Items"])
            if "LastEvaluatedKey" not in response:
                return
            start = {"ExclusiveStartKey": response["LastEvaluatedKey"]}


@dataclass(frozen=True, slots=True)
class TransactionLists:
    """Implements `TransactionPages`."""

    client: DynamoDBClient
    table: str

    def page(self, item_id: ItemId, selection: RowSelection, limit: int, after: str) -> ListedPage:
        """See `TransactionPages`."""
        by_id = selection.order is Order.ID
        requests = (
            [self._by_id(item_id, after, limit)]
            if by_id
            else [self._by_date(account, selection, after, limit) for account in selection.account_ids or ()]
        )
        reader = _Reader(self.client, _MAX_READS + len(requests))
        rows = heapq.merge(
            *map(reader.rows, requests),
            key=itemgetter("transaction_id" if by_id else "date_id"),
            reverse=selection.order is Order.NEWEST,
        )
        return _collected(rows, item_id, selection, limit, after)

    def _by_id(self, item_id: ItemId, after: str, limit: int) -> _Row:
        expression = Expression()
        key = expression.equals("item_id", item_id)
        if after:
            key += f" AND {expression.name('transaction_id')} > {expression.value(after)}"
        return self._request(expression, key, limit) | {"ConsistentRead": True}

    def _by_date(self, account_id: str, selection: RowSelection, after: str, limit: int) -> _Row:
        expression, newest_first = Expression(), selection.order is Order.NEWEST
        chosen = selection.filter
        low, high = chosen.from_date or _FIRST, f"{chosen.to_date or ''}{_LAST}"
        if after:
            low, high = (low, min(after, high)) if newest_first else (max(after, low), high)
        key = expression.equals("account_id", account_id)
        date_id = expression.name("date_id")
        # A range that is empty ends where it begins: DynamoDB refuses one that ends before.
        key += f" AND {date_id} BETWEEN {expression.value(low)} AND {expression.value(max(low, high))}"
        index = {"IndexName": "by_account", "ScanIndexForward": not newest_first}
        return self._request(expression, key, limit) | index

    def _request(self, expression: Expression, key: str, limit: int) -> _Row:
        # No filter: each row that is read is a position where the next page can begin.
        projection = ", ".join(expression.name(name) for name in _LISTED)
        return {
            "TableName": self.table,
            "KeyConditionExpression": key,
            "ProjectionExpression": projection,
            "Limit": limit + 1,
            **expression.arguments(),
        }

    def row(self, item_id: ItemId, transaction_id: str) -> ListedRow | None:
        """See `TransactionPages`. A query, because a role that may get a row needs another permission."""
        expression = Expression()
        key = f"{expression.equals('item_id', item_id)} AND {expression.equals('transaction_id', transaction_id)}"
        request: _Row = {"TableName": self.table, "ConsistentRead": True, "KeyConditionExpression": key}
        with aws_errors():
            found = self.client.query(**request, **expression.arguments())["Items"]
        row = deserialize(found[0]) if found else {}
        if row.keys().isdisjoint(ENGINE_ATTRIBUTES):
            return None
        removed_at, annotations = row.get("removed_at"), row.get(ANNOTATIONS)
        return ListedRow(
            document=plaid_object(row),
            removed_at=removed_at if isinstance(removed_at, str) else None,
            damaged="date" in row and plaid_object(row) is None,
            annotations=_in_json(annotations) if isinstance(annotations, dict) else {},
            posted_transaction_id=row[POSTED] if isinstance(row.get(POSTED), str) else None,
        )

    def count(self, item_id: ItemId) -> tuple[int, bool]:
        """See `TransactionPages`."""
        expression = Expression()
        request: dict[str, Any] = {
            "TableName": self.table,
            "Select": "COUNT",
            "KeyConditionExpression": expression.equals("item_id", item_id),
            "FilterExpression": live_rows(expression),
            **expression.arguments(),
        }
        count = 0
        for _ in range(_MAX_COUNTED_PAGES):
            with aws_errors():
                response = self.client.query(**request)
            count += response["Count"]
            if "LastEvaluatedKey" not in response:
                return count, True
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]
        return count, False


def _collected(rows: Iterable[_Row], item_id: ItemId, selection: RowSelection, limit: int, after: str) -> ListedPage:
    """Return the page of rows that are in the order of the list."""
    name = "transaction_id" if selection.order is Order.ID else "date_id"
    found: dict[str, _Row | None] = {}
    last, room, left_out = after, _MAX_RESPONSE_BYTES, False
    try:
        for row in rows:
            # The range of dates has the last row of the page before at its end.
            if row[name] == after:
                continue
            if len(found) == limit:
                return ListedPage(found, last, left_out)
            document, size = sized_object(row)
            if _is_candidate(row, item_id, selection) and (document is None or selection.filter.matches(document)):
                newer = selection.not_newer_than is not None and number_of(row, "generation") > selection.not_newer_than
                left_out = left_out or newer
                room -= 0 if newer else size
                if room < 0 and found:
                    return ListedPage(found, last, left_out)
                if not newer:
                    found[row["transaction_id"]] = document
            last = row[name]
    except _ReadsUsedUpError:
        return ListedPage(found, last, left_out)
    return ListedPage(found, None, left_out)


def _is_candidate(row: _Row, item_id: ItemId, selection: RowSelection) -> bool:
    """Return whether a row is a transaction, of the selected accounts, and not too old.

    Account ids are Plaid's, and one Item's; but they come from the caller, and the index has those of all Items.
    """
    accounts = selection.account_ids
    return (
        row["item_id"] == item_id
        and "removed_at" not in row
        and not row.keys().isdisjoint(ENGINE_ATTRIBUTES)
        and (accounts is None or row.get("account_id") in accounts)
        and (selection.newer_than is None or number_of(row, "generation") > selection.newer_than)
    )


def _in_json(value: Any) -> Any:  # noqa: ANN401 - what DynamoDB holds
    """Return an application's value as JSON has it; what JSON has not, as text."""
    match value:
        case dict():
            return {name: _in_json(member) for name, member in value.items()}
        case list():
            return list(map(_in_json, value))
        case set() | frozenset():
            return sorted(map(_in_json, value))
        case bytes():
            return value.hex()
        case Decimal() if value == value.to_integral_value():
            return int(value)
    return value
