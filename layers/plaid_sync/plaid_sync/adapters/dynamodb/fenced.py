"""Transactions that hold only under an Item's fence: refused in the engine's words (see `atomic` for the writing)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.dynamodb.atomic import ConditionFailedError, action, write_together
from plaid_sync.adapters.dynamodb.expressions import deserialize, serialize
from plaid_sync.adapters.dynamodb.row_format import generation_of
from plaid_sync.core.failures import RetryableError, RowNewerThanItemError, SupersededError
from plaid_sync.core.items import ItemStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.adapters.dynamodb.expressions import Expression
    from plaid_sync.core.failures import PlaidSyncError
    from plaid_sync.core.items import ItemId


def on_item(
    items_table: str, item_id: ItemId, expression: Expression, condition: str, update: str = ""
) -> dict[str, Any]:
    """Return the Item's part of a transaction: an update under a condition, or without one the bare check of it."""
    kind = "Update" if update else "ConditionCheck"
    return action(kind, items_table, {"item_id": item_id}, expression, condition, update)


def transact(
    client: DynamoDBClient, actions: Sequence[dict[str, Any]], generation: int, pause: Callable[[float], None]
) -> None:
    """Write a transaction whose first action is the Item's, fenced by `generation`.

    Raises:
        SupersededError: a newer attempt holds the Item, or it is removed.
        RowNewerThanItemError: no attempt of the Item can have written one of the rows.
        RetryableError: another condition failed, or DynamoDB cannot take the write now.
    """
    try:
        write_together(client, actions, pause)
    except ConditionFailedError as failed:
        raise _refusal(failed.found, generation) from failed


def _refusal(found: Mapping[int, dict[str, Any]], generation: int) -> PlaidSyncError:
    """Return what it means that the conditions of these actions failed."""
    if 0 not in found:
        # The Item's fence held, so that no newer attempt exists: the Items table is older than its rows.
        return RowNewerThanItemError(max(generation, *(generation_of(deserialize(row)) for row in found.values())))
    item = found[0]
    ours = item.get("generation") == serialize(generation)
    if ours and item.get("status") != serialize(ItemStatus.REMOVED.value):
        # The cursor is another than the one that we started from, and nobody else covers this.
        return RetryableError("cursor_changed")
    return SupersededError()
