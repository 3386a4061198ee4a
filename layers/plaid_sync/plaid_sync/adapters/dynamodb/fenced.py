"""Transactions that hold only under an Item's fence: tried again where that helps, refused in the engine's words."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.adapters.dynamodb.expressions import serialize
from plaid_sync.core.failures import RetryableError, SupersededError
from plaid_sync.core.items import ItemStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.adapters.dynamodb.expressions import Expression
    from plaid_sync.core.items import ItemId

TRIES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.05
_CONDITION_FAILED: Final = "ConditionalCheckFailed"


def on_item(
    items_table: str, item_id: ItemId, expression: Expression, condition: str, update: str = ""
) -> dict[str, Any]:
    """Return the Item's part of a transaction: an update under a condition, or without one the bare check of it."""
    action: dict[str, Any] = {
        "TableName": items_table,
        "Key": {"item_id": serialize(item_id)},
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **expression.arguments(),
    }
    return {"Update": action | {"UpdateExpression": update}} if update else {"ConditionCheck": action}


def transact(
    client: DynamoDBClient, actions: Sequence[dict[str, Any]], generation: int, pause: Callable[[float], None]
) -> None:
    """Write a transaction whose first action is the Item's, fenced by `generation`.

    A repeat by the SDK after a lost answer carries the same ClientRequestToken, so that it can't take its own
    first success for a failed condition. A conflict is somebody else's write to one of the rows at the same
    moment (an application annotating it): the same transaction is tried again.

    Raises:
        SupersededError: a newer attempt holds the Item, or it is removed.
        RetryableError: another condition failed, or DynamoDB cannot take the write now.
    """
    request: Any = actions
    for attempt in range(TRIES):
        with aws_errors():
            try:
                client.transact_write_items(TransactItems=request)
            except client.exceptions.TransactionCanceledException as error:
                reasons: Any = error.response.get("CancellationReasons", [])
                _raise_if_final(reasons, generation)
            else:
                return
        back_off(pause, attempt)
    raise RetryableError("transaction_cancelled")


def back_off(pause: Callable[[float], None], attempt: int) -> None:
    """Wait before the next try, longer from one to the next."""
    pause(_FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret


def _raise_if_final(reasons: list[dict[str, Any]], generation: int) -> None:
    """Raise for a failed condition; return for what the same transaction may survive when tried again."""
    codes = [reason.get("Code", "None") for reason in reasons]
    if codes and codes[0] == _CONDITION_FAILED:
        found = reasons[0].get("Item", {})
        ours = found.get("generation") == serialize(generation)
        if ours and found.get("status") != serialize(ItemStatus.REMOVED.value):
            # The cursor is another than the one that we started from, and nobody else covers this.
            raise RetryableError("cursor_changed")
        raise SupersededError
    if _CONDITION_FAILED in codes:
        # The Item's fence held, so that no newer attempt exists: the Items table is older than its rows.
        raise RetryableError("row_newer_than_item")
    final = set(codes) & {"ValidationError", "ItemCollectionSizeLimitExceeded"}
    if final:
        raise RetryableError(final.pop())
