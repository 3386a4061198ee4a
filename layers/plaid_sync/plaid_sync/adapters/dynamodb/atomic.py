"""Several writes in one transaction: all of them, or none, with what stood in the way."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.adapters.dynamodb.expressions import serialize
from plaid_sync.core.failures import PlaidSyncError, RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.adapters.dynamodb.expressions import Expression

TRIES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.05
_CONDITION_FAILED: Final = "ConditionalCheckFailed"
_NEVER_TAKEN: Final = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})


class ConditionFailedError(PlaidSyncError):
    """A condition did not hold: nothing was written.

    Attributes:
        found: by the position of each action whose condition failed, what the row holds (in DynamoDB's form).
    """

    def __init__(self, found: Mapping[int, dict[str, Any]]) -> None:
        super().__init__(f"the conditions of the actions {sorted(found)} failed")
        self.found = found


def action(  # noqa: PLR0913, PLR0917 - what DynamoDB asks for
    kind: str, table: str, key: Mapping[str, str], expression: Expression, condition: str, update: str = ""
) -> dict[str, Any]:
    """Return one `Update` or `ConditionCheck` of a transaction."""
    parts: dict[str, Any] = {
        "TableName": table,
        "Key": {name: serialize(value) for name, value in key.items()},
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **expression.arguments(),
    }
    return {kind: parts | ({"UpdateExpression": update} if update else {})}


def write_together(client: DynamoDBClient, actions: Sequence[dict[str, Any]], pause: Callable[[float], None]) -> None:
    """Write all of the actions.

    A conflict is somebody else's write to one of the rows at the same moment (an application annotating it): all of
    it is tried again.

    A repeat by the SDK after a lost answer carries the same ClientRequestToken, so that it can't take its own first
    success for a failed condition.

    Raises:
        ConditionFailedError: one of the conditions did not hold: nothing is written.
        RetryableError: DynamoDB cannot take the write now; where it did not answer, the write may have arrived.
    """
    request: Any = actions
    for attempt in range(TRIES):
        with aws_errors():
            try:
                client.transact_write_items(TransactItems=request)
            except client.exceptions.TransactionCanceledException as error:
                reasons: Any = error.response.get("CancellationReasons", [])
            else:
                return
        found = {
            number: dict(reason.get("Item", {}))
            for number, reason in enumerate(reasons)
            if reason.get("Code") == _CONDITION_FAILED
        }
        if found:
            raise ConditionFailedError(found)
        final = _NEVER_TAKEN.intersection(reason.get("Code", "") for reason in reasons)
        if final:
            raise RetryableError(min(final))
        back_off(pause, attempt)
    raise RetryableError("transaction_cancelled")


def back_off(pause: Callable[[float], None], attempt: int) -> None:
    """Wait before the next try, longer from one to the next."""
    pause(_FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 # nosec B311 - jitter, no secret
