"""Lists of Items, from the indexes of the Items table: no index has a token."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.adapters.dynamodb.expressions import Expression, serialize
from plaid_sync.adapters.dynamodb.record_format import to_record
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items_api.requests import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items_api.item_record import ItemRecord

_BY_USER: Final = ("client_user_id", "item_id")
_BY_STATUS: Final = ("status", "fresh_at", "item_id")
_MOST_READS: Final = 20
"""A filter can leave nothing of many reads: then a page is short, and says where the next one begins."""


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
        for _ in range(_MOST_READS):
            with place_checked(after), aws_errors():
                answer = read(Limit=limit - len(found), **request)
            found += [to_record(attributes) for attributes in answer["Items"]]
            last = answer.get("LastEvaluatedKey")
            if last is None:
                return found, None
            request["ExclusiveStartKey"] = last
            if len(found) >= limit:
                break
        return found, {name: str(request["ExclusiveStartKey"][name]["S"]) for name in names}

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


@contextmanager
def place_checked(after: dict[str, str] | None) -> Iterator[None]:
    """Turn DynamoDB's refusal of a place in a list, which only the caller can have given, into the caller's fault."""
    try:
        yield
    except RetryableError as error:
        if after is None or error.code != "ValidationException":
            raise
        raise InvalidRequestError("next", "send the next of the page before as it is, or leave it out") from error
