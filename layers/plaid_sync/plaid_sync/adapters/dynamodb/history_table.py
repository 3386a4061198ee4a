"""The History table: what happened to each Item, newest last, each entry for `HISTORY_LIFE`.

Key: `item_id` + `entry_id` (`<at>#<mark>`). Attributes: `kind`, `at`, `outcome` (S), `expires_at` (N, epoch seconds,
TTL), `announcements` (S, names with spaces between, absent when there are none: the stream's reader tells the event
bus), and the entry's details by their names, absent where they are None.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors, from_text, to_text
from plaid_sync.adapters.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.core.history import HISTORY_LIFE, EntryKind, HistoryEntry
from plaid_sync.core.items import ItemId
from plaid_sync.core.lifecycle.states import Announcement

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_OWN: Final = frozenset({"item_id", "entry_id", "kind", "at", "outcome", "expires_at", "announcements"})


def entry_put(table: str, entry: HistoryEntry) -> dict[str, Any]:
    """Return the action that writes an entry, for a transaction. Writing it again changes nothing."""
    return {"Put": {"TableName": table, "Item": _to_attributes(entry)}}


@dataclass(frozen=True, slots=True)
class HistoryTable:
    """Reads and writes entries."""

    client: DynamoDBClient
    table: str

    def add(self, entry: HistoryEntry) -> None:
        """Write an entry of its own, outside any transaction. Writing it again changes nothing.

        Raises:
            RetryableError: the table cannot take the write now.
        """
        with aws_errors():
            self.client.put_item(TableName=self.table, Item=_to_attributes(entry))

    def page(self, item_id: ItemId, limit: int, after: str | None = None) -> tuple[list[HistoryEntry], str | None]:
        """Return up to `limit` entries, newest first, and where the next page begins (None: there is none).

        Args:
            item_id: whose.
            limit: how many at most.
            after: what the page before returned.

        Raises:
            RetryableError: the table cannot be read now.
        """
        expression = Expression()
        request: dict[str, Any] = {
            "TableName": self.table,
            "KeyConditionExpression": expression.equals("item_id", item_id),
            "ScanIndexForward": False,
            "ConsistentRead": True,
            "Limit": limit,
            **expression.arguments(),
        }
        if after is not None:
            request["ExclusiveStartKey"] = {"item_id": serialize(item_id), "entry_id": serialize(after)}
        with aws_errors():
            answer = self.client.query(**request)
        last: Any = answer.get("LastEvaluatedKey")
        return [_to_entry(attributes) for attributes in answer["Items"]], last and str(last["entry_id"]["S"])


def _to_attributes(entry: HistoryEntry) -> dict[str, Any]:
    at = to_text(entry.at)
    values: dict[str, Any] = {
        **{name: _storable(value) for name, value in entry.details.items()},
        "item_id": entry.item_id,
        "entry_id": f"{at}#{entry.mark}",
        "kind": entry.kind.value,
        "at": at,
        "outcome": entry.outcome,
        "expires_at": int((entry.at + HISTORY_LIFE).timestamp()),
        "announcements": " ".join(announcement.value for announcement in entry.announcements) or None,
    }
    return {name: serialize(value) for name, value in values.items() if value is not None}


def _storable(value: object) -> object:
    if isinstance(value, datetime):
        return to_text(value)
    return list(value) if isinstance(value, tuple) else value


def _to_entry(attributes: dict[str, Any]) -> HistoryEntry:
    values = deserialize(attributes)
    return HistoryEntry(
        item_id=ItemId(values["item_id"]),
        at=from_text(values["at"]),
        mark=values["entry_id"].partition("#")[2],
        kind=EntryKind(values["kind"]),
        outcome=values["outcome"],
        details={name: _whole(value) for name, value in values.items() if name not in _OWN},
        announcements=tuple(map(Announcement, values.get("announcements", "").split())),
    )


def _whole(value: object) -> object:
    """Return a whole number as such: DynamoDB knows decimals only."""
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value
