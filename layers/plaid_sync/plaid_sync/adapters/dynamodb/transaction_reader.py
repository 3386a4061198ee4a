"""The Transactions table as the Items API reads it: the live rows of one Item."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.adapters.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.adapters.dynamodb.filtered_reads import filtered, place
from plaid_sync.core.items_api.requests import InvalidRequestError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items import ItemId

_BY_ITEM: Final = ("transaction_id",)
_BY_ACCOUNT: Final = ("date_id", "transaction_id")
_MOST_COUNTED_PAGES: Final = 30
_MOST_BYTES: Final = 4_000_000
"""An answer of Lambda has 6 MB at most."""


@dataclass(frozen=True, slots=True)
class TransactionReader:
    """Reads rows; fulfils `TransactionPages`."""

    client: DynamoDBClient
    table: str

    def page(
        self, item_id: ItemId, account_id: str | None, limit: int, after: dict[str, str] | None
    ) -> tuple[list[bytes], dict[str, str] | None]:
        """See `ports.items_api.TransactionPages`."""
        request, names = self._request(item_id, account_id)
        if after is not None:
            if after.keys() != set(names):
                raise InvalidRequestError("next", "send it with the same account_id as the page before")
            owner = {"item_id": item_id} | ({} if account_id is None else {"account_id": account_id})
            request["ExclusiveStartKey"] = {name: serialize(value) for name, value in (after | owner).items()}
        found: list[bytes] = []
        end: dict[str, str] | None = None
        room = _MOST_BYTES
        for rows, last in filtered(self.client.query, request, limit, after):
            for row in map(deserialize, rows):
                document = zlib.decompress(row["plaid"])
                room -= len(document)
                if room < 0 and found:
                    return found, end
                found.append(document)
                end = {name: str(row[name]) for name in names}
            end = place(last, names)
        return found, end

    def _request(self, item_id: ItemId, account_id: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the request, and the names of the parts of its keys that are not given."""
        expression = Expression()
        projection = ", ".join(expression.name(name) for name in ("plaid", "transaction_id", "date_id"))
        live = f"{expression.equals('removed_at', None)} AND attribute_exists({expression.name('plaid')})"
        request: dict[str, Any] = {"TableName": self.table, "ProjectionExpression": projection}
        if account_id is None:
            request |= {
                "ConsistentRead": True,
                "KeyConditionExpression": expression.equals("item_id", item_id),
                "FilterExpression": live,
            }
            return request | expression.arguments(), _BY_ITEM
        request |= {
            "IndexName": "by_account",
            "ScanIndexForward": False,
            "KeyConditionExpression": expression.equals("account_id", account_id),
            # Account ids are Plaid's, and one Item's; but they come from the caller.
            "FilterExpression": f"{live} AND {expression.equals('item_id', item_id)}",
        }
        return request | expression.arguments(), _BY_ACCOUNT

    def count(self, item_id: ItemId) -> tuple[int, bool]:
        """See `ports.items_api.TransactionPages`."""
        expression = Expression()
        # Not a row that an application has annotated, and nobody has written.
        live = f"{expression.equals('removed_at', None)} AND attribute_exists({expression.name('generation')})"
        request: dict[str, Any] = {
            "TableName": self.table,
            "Select": "COUNT",
            "KeyConditionExpression": expression.equals("item_id", item_id),
            "FilterExpression": live,
            **expression.arguments(),
        }
        count = 0
        for _ in range(_MOST_COUNTED_PAGES):
            with aws_errors():
                answer = self.client.query(**request)
            count += answer["Count"]
            if "LastEvaluatedKey" not in answer:
                return count, True
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return count, False
