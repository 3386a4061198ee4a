"""The Shared table: the calls to Plaid of all processes, by endpoint and slice of five seconds (`domain.budget`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize
from plaid_sync.aws.dynamodb.shared_rows import epoch_seconds, shared_key
from plaid_sync.domain.budget import SLICE, SLICES_BEFORE, CallClass, CallCounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.budget import Ceilings

_KIND: Final = "calls"
_TOTAL: Final = "total"
_THROTTLED: Final = "throttled"
_TTL: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SharedCalls:
    """Implements `SharedCallCounts`.

    Attributes:
        dynamodb: returns its client.
    """

    dynamodb: Callable[[], DynamoDBClient]
    table: str

    def before(self, endpoint: str, slice_at: datetime) -> CallCounts:
        """See `SharedCallCounts`. A minute is a few hundred bytes: one page."""
        expression = Expression()
        first, last = slice_at - SLICE * SLICES_BEFORE, slice_at - SLICE
        condition = (
            f"{expression.equals('kind', _KIND)} AND {expression.name('name')} BETWEEN "
            f"{expression.value(_name(endpoint, first))} AND {expression.value(_name(endpoint, last))}"
        )
        with aws_errors():
            response = self.dynamodb().query(
                TableName=self.table, KeyConditionExpression=condition, **expression.arguments()
            )
        rows = [deserialize(row) for row in response["Items"]]
        counted = (_TOTAL, CallClass.INTERACTIVE, _THROTTLED)
        return CallCounts(*(sum(int(row.get(name, 0)) for row in rows) for name in counted))

    def add(self, endpoint: str, slice_at: datetime, call_class: CallClass, number: int, ceilings: Ceilings) -> bool:
        """See `SharedCallCounts`. A block may exceed a ceiling that it is begun below: the next one may not."""
        expression, client = Expression(), self.dynamodb()
        total, own = expression.name(_TOTAL), expression.name(call_class)
        below_shared = f"{total} < {expression.value(ceilings.shared)}"
        has_own = f"attribute_not_exists({own}) OR {own} < {expression.value(ceilings.own)}"
        below_own = f"{total} < {expression.value(ceilings.total if ceilings.own else 0)} AND ({has_own})"
        update = expression.update(_expiry(slice_at), adds={_TOTAL: number, str(call_class): number})
        with aws_errors():
            try:
                client.update_item(
                    TableName=self.table,
                    Key=shared_key(_KIND, _name(endpoint, slice_at)),
                    UpdateExpression=update,
                    ConditionExpression=f"attribute_not_exists({total}) OR {below_shared} OR {below_own}",
                    **expression.arguments(),
                )
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def add_throttled(self, endpoint: str, slice_at: datetime) -> None:
        """See `SharedCallCounts`."""
        expression = Expression()
        with aws_errors():
            self.dynamodb().update_item(
                TableName=self.table,
                Key=shared_key(_KIND, _name(endpoint, slice_at)),
                UpdateExpression=expression.update(_expiry(slice_at), adds={_THROTTLED: 1}),
                **expression.arguments(),
            )


def _name(endpoint: str, slice_at: datetime) -> str:
    return f"{endpoint} {int(slice_at.timestamp())}"


def _expiry(slice_at: datetime) -> dict[str, int]:
    return {"expires_at": epoch_seconds(slice_at + _TTL)}
