"""The four kinds of action of a transaction, on rows of the Transactions table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance.bench import TRANSACTIONS, key

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

Action = dict[str, Any]


def put(item_id: str, name: str = "t", **extra: Any) -> Action:
    """Put row `name` with v=1."""
    return {"Put": {"TableName": TRANSACTIONS, "Item": key(item_id, name) | {"v": {"N": "1"}}} | extra}


def delete(item_id: str, name: str = "t") -> Action:
    """Delete row `name`."""
    return {"Delete": {"TableName": TRANSACTIONS, "Key": key(item_id, name)}}


def check(item_id: str, name: str = "t", condition: str = "attribute_exists(v)", **extra: Any) -> Action:
    """Require that row `name` has a v."""
    return {
        "ConditionCheck": {"TableName": TRANSACTIONS, "Key": key(item_id, name), "ConditionExpression": condition}
        | extra
    }


def update(item_id: str, name: str = "t", **extra: Any) -> Action:
    """Add one to the v of row `name`."""
    return {
        "Update": {
            "TableName": TRANSACTIONS,
            "Key": key(item_id, name),
            "UpdateExpression": "SET v = if_not_exists(v, :zero) + :one",
            "ExpressionAttributeValues": {":zero": {"N": "0"}, ":one": {"N": "1"}},
        }
        | extra
    }


def transact(bench: Bench, *actions: Action, **extra: Any) -> Any:
    """Do the actions in one transaction."""
    return bench.client.transact_write_items(TransactItems=list(actions), **extra)
