"""The Items table: requests of an attempt by a function that reads no Item."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, serialize
from plaid_sync.aws.dynamodb.item_rows import next_attempt_attributes
from plaid_sync.domain.schedule import after_request

if TYPE_CHECKING:
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
        expression, exceptions = Expression(), self.client.exceptions
        sets = next_attempt_attributes(item_id, after_request(item_id, now, timedelta(0)))
        # Only of an Item that is registered, and has something left to do.
        later = f"{expression.name('next_attempt_at')} > {expression.value(sets['next_attempt_at'])}"
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key={"item_id": serialize(item_id)},
                    UpdateExpression=expression.update(sets),
                    ConditionExpression=later,
                    **expression.arguments(),
                )
            except (exceptions.ConditionalCheckFailedException, exceptions.TransactionConflictException):
                return
