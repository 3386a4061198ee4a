"""The Items table: the time of an Item's next attempt, set by functions that hold no fence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, serialize
from plaid_sync.aws.dynamodb.item_rows import next_attempt_attributes
from plaid_sync.domain.schedule import after_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.item import ItemId


@dataclass(frozen=True, slots=True)
class ItemAttempts:
    """Brings the next attempt of an Item forward; implements `AttemptRequests`."""

    client: DynamoDBClient
    table: str

    def request_attempt(self, item_id: ItemId, now: datetime) -> None:
        """See `AttemptRequests`. Not fenced: it only makes the sweep look."""
        sets = next_attempt_attributes(item_id, after_request(item_id, now, timedelta(0)))

        def is_later(expression: Expression) -> str:
            # Only of an Item that is registered, and has something left to do.
            return f"{expression.name('next_attempt_at')} > {expression.value(sets['next_attempt_at'])}"

        move_next_attempt(self.client, self.table, item_id, sets, is_later)


def move_next_attempt(
    client: DynamoDBClient,
    table: str,
    item_id: ItemId,
    sets: dict[str, Any],
    condition: Callable[[Expression], str],
) -> bool:
    """Set attributes of an Item's next attempt; return False where the condition fails, or a concurrent write wins.

    Raises:
        TransientError: DynamoDB cannot accept the write now.
    """
    expression, exceptions = Expression(), client.exceptions
    with aws_errors():
        try:
            client.update_item(
                TableName=table,
                Key={"item_id": serialize(item_id)},
                UpdateExpression=expression.update(sets),
                ConditionExpression=condition(expression),
                **expression.arguments(),
            )
        except (exceptions.ConditionalCheckFailedException, exceptions.TransactionConflictException):
            return False
    return True
