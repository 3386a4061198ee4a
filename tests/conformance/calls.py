"""One call of DynamoDB as data. `$` in a text is the question's own partition key: questions share the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeSerializer

if TYPE_CHECKING:
    from collections.abc import Iterable

ROWS: Final = "conformance-rows"
ITEMS: Final = "conformance-items"
OWN: Final = "$"
ALL_OLD: Final = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
_SERIALIZER: Final = TypeSerializer()


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        operation: the method of boto3's client; `records` reads the stream.
        arguments: its arguments; `$` is not replaced yet.
        at_once: how many threads send it at the same moment.
        pages: whether the call is repeated from each LastEvaluatedKey.
        show: what the answer shows of the rows: their sort keys, their attributes, or their number.
    """

    operation: str
    arguments: dict[str, Any]
    at_once: int = 1
    pages: bool = False
    show: str = "keys"


def wire(value: object) -> dict[str, Any]:
    return dict(_SERIALIZER.serialize(value))


def item(key: str, **attributes: Any) -> dict[str, Any]:
    return {"pk": {"S": OWN}, "sk": {"S": key}} | {name: wire(value) for name, value in attributes.items()}


def put(key: str = "t", table: str = ROWS, **attributes: Any) -> Call:
    return Call("put_item", {"TableName": table, "Item": item(key, **attributes)})


def get(key: str = "t", table: str = ROWS) -> Call:
    return Call("get_item", {"TableName": table, "Key": item(key), "ConsistentRead": True}, show="attributes")


def update(
    expression: str,
    key: str = "t",
    *,
    condition: str = "",
    at_once: int = 1,
    extra: dict[str, Any] | None = None,
    **values: Any,
) -> Call:
    """Update a row; each keyword is the value of a placeholder."""
    arguments = {"TableName": ROWS, "Key": item(key), "UpdateExpression": expression}
    return Call("update_item", arguments | _expression(condition, values) | (extra or {}), at_once)


def delete(key: str = "t", condition: str = "", **values: Any) -> Call:
    return Call("delete_item", {"TableName": ROWS, "Key": item(key)} | _expression(condition, values))


def query(  # noqa: PLR0913 - what DynamoDB's call has
    condition: str = "pk = :pk",
    *,
    index: str = "",
    keep: str = "",
    pages: bool = False,
    show: str = "keys",
    extra: dict[str, Any] | None = None,
    **values: Any,
) -> Call:
    """Query the rows of this question, or an index; `keep` is the filter."""
    arguments: dict[str, Any] = {"TableName": ROWS, "KeyConditionExpression": condition}
    arguments |= {"IndexName": index} if index else {"ConsistentRead": True}
    arguments |= {"FilterExpression": keep} if keep else {}
    arguments |= _expression("", {"pk": OWN} | values)
    return Call("query", arguments | (extra or {}), pages=pages, show=show)


def batch_get(keys: Iterable[str], **extra: Any) -> Call:
    request = {"Keys": [item(key) for key in keys], "ConsistentRead": True} | extra
    return Call("batch_get_item", {"RequestItems": {ROWS: request}}, show="number")


def batch_delete(keys: Iterable[str]) -> Call:
    requests = [{"DeleteRequest": {"Key": item(key)}} for key in keys]
    return Call("batch_write_item", {"RequestItems": {ROWS: requests}})


def check(key: str, condition: str, table: str = ROWS, **arguments: Any) -> Call:
    """Require a condition of a row, as an action of a transaction."""
    return Call("condition_check", {"TableName": table, "Key": item(key), "ConditionExpression": condition} | arguments)


def transact(*actions: Call, at_once: int = 1, **arguments: Any) -> Call:
    kinds = {"put_item": "Put", "update_item": "Update", "delete_item": "Delete", "condition_check": "ConditionCheck"}
    items = [{kinds[action.operation]: action.arguments} for action in actions]
    return Call("transact_write_items", {"TransactItems": items} | arguments, at_once)


def records(number: int) -> Call:
    """Wait for so many records of the stream since the question began."""
    return Call("records", {"number": number})


def _expression(condition: str, values: dict[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
    if values:
        arguments["ExpressionAttributeValues"] = {f":{name}": wire(value) for name, value in values.items()}
    return arguments
