"""The Shared table: requests for attempts, and the leases of attempts that the sweep enqueues.

Neither is in the Items table. A role that may update a row there can also read it, with `ReturnValues`, or with
`ReturnValuesOnConditionCheckFailure`, for which IAM has no condition key
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize
from plaid_sync.aws.dynamodb.shared_rows import epoch_seconds, shared_key
from plaid_sync.aws.dynamodb.transact import batch_get, query_pages
from plaid_sync.domain.clock import format_optional_timestamp, format_timestamp, parse_timestamp
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.schedule import AttemptClass, DueItem, Lease

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.clock import Clock

_TTL: Final = timedelta(days=1)
"""How long a request may wait, and how long it is known that an attempt was leased."""
_REQUEST: Final = "request"
_LEASE: Final = "lease"


@dataclass(frozen=True, slots=True)
class SharedAttempts:
    """Implements `AttemptRequests`, `AttemptAnswers` and `Attempts`."""

    client: DynamoDBClient
    table: str
    clock: Clock

    def request_attempt(self, item_id: ItemId, now: datetime) -> None:
        """See `AttemptRequests`."""
        expression = Expression()
        update = expression.update({"requested_at": format_timestamp(now), "expires_at": epoch_seconds(now + _TTL)})
        with aws_errors():
            self.client.update_item(
                TableName=self.table,
                Key=shared_key(_REQUEST, item_id),
                UpdateExpression=update,
                **expression.arguments(),
            )

    def requested(self) -> Iterator[DueItem]:
        """See `Attempts`. A row that this version cannot read is left to its TTL."""
        expression = Expression()
        condition = expression.equals("kind", _REQUEST)
        request = {"TableName": self.table, "KeyConditionExpression": condition, **expression.arguments()}
        for page in query_pages(self.client, request):
            for values in map(deserialize, page["Items"]):
                if isinstance(at := values.get("requested_at"), str):
                    yield DueItem(at, ItemId(values["name"]), AttemptClass.FIRST_SYNC, requested=True)

    def is_requested(self, item: DueItem) -> bool:
        """See `Attempts`."""
        with aws_errors():
            response = self.client.get_item(TableName=self.table, Key=shared_key(_REQUEST, item.item_id))
        return deserialize(response.get("Item", {})).get("requested_at") == item.next_attempt_at

    def answer(self, item_id: ItemId) -> None:
        """See `AttemptAnswers`."""
        with aws_errors():
            self.client.delete_item(TableName=self.table, Key=shared_key(_REQUEST, item_id))

    def leases(self, items: Sequence[DueItem]) -> list[Lease]:
        """See `Attempts`."""
        keys = [shared_key(_LEASE, _lease_name(item)) for item in items]
        rows = map(deserialize, batch_get(self.client, self.table, {"Keys": keys}, self.clock))
        until = {row["name"]: parse_timestamp(row.get("leased_until")) for row in rows}
        return [Lease(item, until.get(_lease_name(item))) for item in items]

    def take(self, before: Lease, lease: Lease) -> bool:
        """See `Attempts`."""
        expression, exceptions = Expression(), self.client.exceptions
        until = format_optional_timestamp(lease.until)
        sets = {"leased_until": until, "expires_at": epoch_seconds(self.clock.now() + _TTL)}
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key=shared_key(_LEASE, _lease_name(lease.item)),
                    UpdateExpression=expression.update(sets),
                    ConditionExpression=expression.equals("leased_until", format_optional_timestamp(before.until)),
                    **expression.arguments(),
                )
            except exceptions.ConditionalCheckFailedException:
                return False
        return True

    def release(self, lease: Lease) -> None:
        """See `Attempts`."""
        expression, exceptions = Expression(), self.client.exceptions
        with aws_errors(), suppress(exceptions.ConditionalCheckFailedException):
            self.client.delete_item(
                TableName=self.table,
                Key=shared_key(_LEASE, _lease_name(lease.item)),
                ConditionExpression=expression.equals("leased_until", format_optional_timestamp(lease.until)),
                **expression.arguments(),
            )


def _lease_name(item: DueItem) -> str:
    return f"{item.next_attempt_at} {item.item_id}"
