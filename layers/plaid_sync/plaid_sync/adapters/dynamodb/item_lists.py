"""Lists of Items, from the indexes of the Items table: no index has a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.dynamodb.expressions import Expression, serialize
from plaid_sync.adapters.dynamodb.filtered_reads import filtered, place
from plaid_sync.adapters.dynamodb.record_format import to_record
from plaid_sync.core.items_api.requests import InvalidRequestError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items_api.item_record import ItemRecord

_BY_USER: Final = ("client_user_id", "item_id")
_BY_STATUS: Final = ("status", "fresh_at", "item_id")


@dataclass(frozen=True, slots=True)
class ItemIndexes:
    """Reads lists; fulfils `ItemLists`. What was written a moment ago may be missing."""

    client: DynamoDBClient
    table: str

    def page(
        self, client_user_id: str | None, state: str | None, limit: int, after: dict[str, str] | None
    ) -> tuple[list[ItemRecord], dict[str, str] | None]:
        """See `ports.items_api.ItemLists`."""
        request, names = self._request(client_user_id, state)
        if after is not None:
            given = {"client_user_id": client_user_id} if client_user_id else {"status": state} if state else {}
            if after.keys() != set(names) or any(after[name] != value for name, value in given.items()):
                raise InvalidRequestError("next", "send it with the same state and client_user_id as the page before")
            request["ExclusiveStartKey"] = {name: serialize(after[name]) for name in names}
        read: Any = self.client.scan if not client_user_id and not state else self.client.query
        found: list[ItemRecord] = []
        following: dict[str, str] | None = None
        for rows, last in filtered(read, request, limit, after):
            found += map(to_record, rows)
            following = place(last, names)
        return found, following

    def _request(self, client_user_id: str | None, state: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the request, and the names of the parts of its keys."""
        expression = Expression()
        if client_user_id is None:
            condition = {"KeyConditionExpression": expression.equals("status", state)} if state else {}
            arguments = expression.arguments() if state else {}
            return {"TableName": self.table, "IndexName": "by_status", **condition, **arguments}, _BY_STATUS
        condition = {"KeyConditionExpression": expression.equals("client_user_id", client_user_id)}
        chosen = {"FilterExpression": expression.equals("status", state)} if state else {}
        arguments = expression.arguments()
        return {"TableName": self.table, "IndexName": "by_user", **condition, **chosen, **arguments}, _BY_USER
