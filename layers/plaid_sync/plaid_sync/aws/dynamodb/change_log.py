"""The change log: what each transaction of the sync changes, for the feed. An outbox in the History table.

Key: `item_id` (`<item_id>#changes`) + `entry_id` (`<generation>#<first transaction_id>`, the generation with ten
digits). Attributes: `changes` (B, compressed, see `domain.changes`), `expires_at` (N, epoch seconds, TTL). A record is
written in the transaction that writes its rows, under the same fence. That of a commit expires from the beginning; one
before it only once its commit is published: a pull may wait for its user for months. `progress` marks how much of a
large commit is published: `changes_at` and `published` (N).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, number_of, serialize
from plaid_sync.aws.dynamodb.transact import Action, put, query_pages
from plaid_sync.domain.changes import decode_changes, encode_changes
from plaid_sync.feed import ChangeRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.changes import Change
    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.item import ItemId

LOG_TTL: Final = timedelta(days=2)
"""Longer than DynamoDB keeps a stream record, 24 hours: after that nothing is published from it."""
_PROGRESS: Final = "progress"


def partition_of(item_id: ItemId) -> str:
    """Return the partition of an Item's records; no Item of Plaid's has such an id."""
    return f"{item_id}#changes"


def changes_put(
    table: str, item_id: ItemId, generation: int, changes: Sequence[Change], committed_at: datetime | None
) -> Action:
    """Return the action that logs the changes of one transaction; under a generation a row is written once.

    Args:
        table: the History table.
        item_id: the Item.
        generation: the fence that the writer holds.
        changes: at least one.
        committed_at: set where the transaction commits the update.
    """
    row = {
        "item_id": partition_of(item_id),
        "entry_id": f"{_sortable(generation)}#{changes[0].transaction_id}",
        "changes": encode_changes(changes),
        "expires_at": None if committed_at is None else _expiry(committed_at),
    }
    return put("changes", table, row)


@dataclass(frozen=True, slots=True)
class ChangeLogTable:
    """Reads the log; implements `ChangeLog`."""

    client: DynamoDBClient
    table: str
    clock: Clock

    def records(self, item_id: ItemId, after: int, until: int, deadline: Deadline) -> Iterator[ChangeRecord]:
        """See `ChangeLog`."""
        expression = Expression()
        first, last = expression.value(_sortable(after + 1)), expression.value(f"{_sortable(until)}$")
        partition = expression.equals("item_id", partition_of(item_id))
        request: dict[str, Any] = {
            "TableName": self.table,
            "KeyConditionExpression": f"{partition} AND {expression.name('entry_id')} BETWEEN {first} AND {last}",
            "ConsistentRead": True,
            **expression.arguments(),
        }
        for page in query_pages(self.client, request, deadline):
            for values in map(deserialize, page["Items"]):
                changes = tuple(decode_changes(values.get("changes")))
                yield ChangeRecord(values["entry_id"], changes, expires="expires_at" in values)

    def expire(self, item_id: ItemId, record_id: str) -> None:
        """See `ChangeLog`."""
        expression = Expression()
        update = expression.update({"expires_at": _expiry(self.clock.now())})
        key = {"item_id": serialize(partition_of(item_id)), "entry_id": serialize(record_id)}
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key=key,
                    UpdateExpression=update,
                    ConditionExpression=f"attribute_exists({expression.name('item_id')})",
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return  # erased meanwhile

    def progress(self, item_id: ItemId, changes_at: int) -> int:
        """See `ChangeLog`."""
        key = {"item_id": serialize(partition_of(item_id)), "entry_id": serialize(_PROGRESS)}
        with aws_errors():
            response = self.client.get_item(TableName=self.table, Key=key, ConsistentRead=True)
        values = deserialize(response.get("Item", {}))
        return number_of(values, "published") if number_of(values, "changes_at") == changes_at else 0

    def save_progress(self, item_id: ItemId, changes_at: int, published: int) -> None:
        """See `ChangeLog`."""
        row = {
            "item_id": partition_of(item_id),
            "entry_id": _PROGRESS,
            "changes_at": changes_at,
            "published": published,
            "expires_at": _expiry(self.clock.now()),
        }
        with aws_errors():
            self.client.put_item(**put("progress", self.table, row).request["Put"])


def _sortable(generation: int) -> str:
    return f"{generation:010d}"


def _expiry(now: datetime) -> int:
    return int((now + LOG_TTL).timestamp())
