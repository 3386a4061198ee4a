"""The History table: what happened to each Item, newest last, each entry for `HISTORY_TTL`.

Key: `item_id` + `entry_id` (`<at>#<suffix>`). Attributes: `kind`, `at`, `outcome` (S), `expires_at` (N, epoch seconds,
TTL), `published_events` (S, detail-types separated by spaces, absent when there are none: `functions/changes` publishes
them from the stream), and the entry's details by their names, absent where they are None. A webhook's `body` is JSON
(S).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.aws.dynamodb.transact import Action, put
from plaid_sync.domain import exact_json
from plaid_sync.domain.clock import format_timestamp, read_timestamp
from plaid_sync.domain.history import HISTORY_TTL, HistoryEntry
from plaid_sync.domain.item import ItemId

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_COMMON: Final = frozenset({"item_id", "entry_id", "kind", "at", "outcome", "expires_at", "published_events"})


def entry_put(table: str, entry: HistoryEntry) -> Action:
    """Return the action that writes an entry, for a transaction; idempotent."""
    at = format_timestamp(entry.at)
    details = {name: _storable(value) for name, value in entry.details.items()}
    return put(
        "history entry",
        table,
        details
        | {
            "item_id": entry.item_id,
            "entry_id": f"{at}#{entry.entry_suffix}",
            "kind": str(entry.kind),
            "at": at,
            "outcome": entry.outcome,
            "expires_at": int((entry.at + HISTORY_TTL).timestamp()),
            "published_events": " ".join(entry.published_events) or None,
        },
    )


@dataclass(frozen=True, slots=True)
class HistoryTable:
    """Reads and writes entries; implements `History` and `HistoryStore`."""

    client: DynamoDBClient
    table: str

    def add(self, entry: HistoryEntry) -> None:
        """Write an entry outside any transaction; idempotent.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        with aws_errors():
            self.client.put_item(**entry_put(self.table, entry).request["Put"])

    def page(self, item_id: ItemId, limit: int, after: str | None = None) -> tuple[list[HistoryEntry], str | None]:
        """Return up to `limit` entries, newest first, and where the next page begins (None: there is none).

        Args:
            item_id: the Item.
            limit: the maximum number of entries.
            after: what the previous page returned.

        Raises:
            TransientError: the table cannot be read now.
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
            response = self.client.query(**request)
        last: Any = response.get("LastEvaluatedKey")
        return [entry_from_row(row) for row in response["Items"]], last and str(last["entry_id"]["S"])


def entry_from_row(attributes: dict[str, Any]) -> HistoryEntry:
    """Parse a row; unknown attributes are details, unknown words are kept."""
    values = deserialize(attributes)
    return HistoryEntry(
        item_id=ItemId(values["item_id"]),
        at=read_timestamp(values["at"]),
        entry_suffix=values["entry_id"].partition("#")[2],
        kind=values["kind"],
        outcome=values["outcome"],
        details={name: _plain_value(name, value) for name, value in values.items() if name not in _COMMON},
        published_events=tuple(values.get("published_events", "").split()),
    )


def _storable(value: object) -> object:
    if isinstance(value, datetime):
        return format_timestamp(value)
    if isinstance(value, dict):
        return exact_json.dumps(value, ascii_only=True)
    return list(value) if isinstance(value, tuple) else value


def _plain_value(name: str, value: object) -> object:
    """Return an integer as such, where DynamoDB has decimals only, and a webhook's body as an object."""
    if name == "body" and isinstance(value, str):
        with suppress(exact_json.InvalidJsonError):
            return exact_json.loads(value)
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value
