"""The annotations in the Transactions table, as the Items API reads and changes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.annotations import ANNOTATIONS, POSTED, VERSION
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, number_of, serialize
from plaid_sync.aws.dynamodb.transact import ConditionFailedError, filtered_pages, page_key, update, write_together
from plaid_sync.domain.annotations import AnnotatedRow, is_candidate, stored_annotations
from plaid_sync.domain.transaction import TOMBSTONE_TTL, TransactionId

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.annotations import Annotations
    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import ItemId

_KEY: Final = ("transaction_id",)
_READ: Final = (
    *("transaction_id", "account_id", "date", "amount", "removed_at", "pending", "pending_transaction_id"),
    *(ANNOTATIONS, VERSION, POSTED, "generation"),
)
_CANDIDATE_DAYS: Final = timedelta(days=14)
"""Plaid's pending transactions post within so many days, or are removed."""
_MAX_CANDIDATES: Final = 10


@dataclass(frozen=True, slots=True)
class AnnotatedRows:
    """Implements `AnnotationStore`."""

    client: DynamoDBClient
    table: str
    clock: Clock

    def load(self, item_id: ItemId, transaction_id: TransactionId) -> AnnotatedRow | None:
        """See `AnnotationStore`."""
        expression = Expression()
        projection = ", ".join(map(expression.name, _READ))
        request: Any = {
            "TableName": self.table,
            "Key": {"item_id": serialize(item_id), "transaction_id": serialize(transaction_id)},
            "ConsistentRead": True,
            "ProjectionExpression": projection,
            **expression.arguments(),
        }
        with aws_errors():
            found = self.client.get_item(**request).get("Item", {})
        return _row_from(found) if "generation" in found else None

    def save(self, item_id: ItemId, row: AnnotatedRow, annotations: Annotations) -> bool:
        """See `AnnotationStore`."""
        return self._write(item_id, row, {ANNOTATIONS: annotations or None}, "attribute_not_exists")

    def drop(self, item_id: ItemId, row: AnnotatedRow, *, expires: bool) -> bool:
        """See `AnnotationStore`."""
        expiry = {"expires_at": int((self.clock.now() + TOMBSTONE_TTL).timestamp())} if expires else {}
        removed = "attribute_not_exists" if row.removed_at is None else "attribute_exists"
        return self._write(item_id, row, {ANNOTATIONS: None, **expiry}, removed)

    def _write(self, item_id: ItemId, row: AnnotatedRow, sets: dict[str, Any], removed: str) -> bool:
        """Write on a row that is as it was read.

        A transaction, although it costs twice a single update: a repeat after a lost response is recognized then, and
        does not fail on its own success.
        """
        expression = Expression()
        conditions = [
            f"attribute_exists({expression.name('generation')})",
            f"{removed}({expression.name('removed_at')})",
            _unchanged(expression, row),
        ]
        sets = sets | {VERSION: row.version + 1}
        key = {"item_id": item_id, "transaction_id": row.transaction_id}
        action = update("row", self.table, key, expression, expression.update(sets), " AND ".join(conditions))
        try:
            write_together(self.client, [action], self.clock)
        except ConditionFailedError:
            return False
        return True

    def unmoved(
        self, item_id: ItemId, limit: int, after: dict[str, str] | None
    ) -> tuple[list[tuple[AnnotatedRow, list[AnnotatedRow]]], dict[str, str] | None]:
        """See `AnnotationStore`."""
        expression = Expression()
        projection = ", ".join(map(expression.name, _READ))
        annotated = f"attribute_exists({expression.name('removed_at')}) AND attribute_exists(#{ANNOTATIONS})"
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": expression.equals("item_id", item_id),
            "FilterExpression": annotated,
            "ProjectionExpression": projection,
            **expression.arguments(),
        }
        if after is not None:
            request["ExclusiveStartKey"] = {
                name: serialize(value) for name, value in (after | {"item_id": item_id}).items()
            }
        rows: list[AnnotatedRow] = []
        end: dict[str, str] | None = None
        for found, last in filtered_pages(self.client.query, request, limit, after):
            rows += map(_row_from, found)
            end = page_key(last, _KEY)
        return [(row, self._candidates(item_id, row)) for row in rows], end

    def _candidates(self, item_id: ItemId, row: AnnotatedRow) -> list[AnnotatedRow]:
        """Return posted rows of the same account and amount, of about the same date."""
        if row.account_id is None or row.amount is None or row.date is None:
            return []
        try:
            day = date.fromisoformat(row.date)
        except ValueError:
            return []
        expression = Expression()
        # `~` comes after every character of an id.
        first, last = f"{day - _CANDIDATE_DAYS}", f"{day + _CANDIDATE_DAYS}#~"
        between = f"{expression.name('date_id')} BETWEEN {expression.value(first)} AND {expression.value(last)}"
        account, item = expression.equals("account_id", row.account_id), expression.equals("item_id", item_id)
        request: dict[str, Any] = {
            "TableName": self.table,
            "IndexName": "by_account",
            "KeyConditionExpression": f"{account} AND {between}",
            "FilterExpression": f"{item} AND {expression.equals('amount', row.amount)}",
            "ProjectionExpression": ", ".join(map(expression.name, _READ)),
            **expression.arguments(),
        }
        with aws_errors():
            found = self.client.query(**request)["Items"]
        posted = [each for each in found if is_candidate(deserialize(each), row.transaction_id)]
        return [_row_from(each) for each in posted[:_MAX_CANDIDATES]]


def _unchanged(expression: Expression, row: AnnotatedRow) -> str:
    """Return the condition that a row's annotations and their version are as they were read."""
    version = expression.equals(VERSION, row.version or None)
    if row.version == 0:
        version = f"({version} OR {expression.equals(VERSION, 0)})"
    if row.stored is None:
        return f"{version} AND {expression.equals(ANNOTATIONS, None)}"
    # Not serialized once more: a set of numbers would not be the same.
    expression.values[":stored"] = cast("dict[str, Any]", row.stored)
    return f"{version} AND {expression.name(ANNOTATIONS)} = :stored"


def _row_from(row: dict[str, Any]) -> AnnotatedRow:
    values = deserialize(row)
    amount = values.get("amount")
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    return AnnotatedRow(
        transaction_id=TransactionId(values["transaction_id"]),
        account_id=texts.get("account_id"),
        date=texts.get("date"),
        amount=amount if isinstance(amount, Decimal) else None,
        annotations=stored_annotations(values.get(ANNOTATIONS)) if ANNOTATIONS in values else {},
        version=number_of(values, VERSION),
        stored=row.get(ANNOTATIONS),
        posted_transaction_id=texts.get(POSTED),
        removed_at=texts.get("removed_at"),
    )
