"""The Shared table: stored responses about recurring streams, and the number of an Item's last invalidation.

The number is a row of its own: the webhook function replaces it, and a role that may update a row can also read it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import deserialize, serialize
from plaid_sync.aws.dynamodb.shared_rows import INVALIDATION, RECURRING, epoch_seconds, shared_key
from plaid_sync.domain.clock import format_timestamp, parse_timestamp
from plaid_sync.domain.compression import decompress
from plaid_sync.items_api.ports import CachedResponse, PlaidResponse

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.item import ItemId

MAX_AGE: Final = timedelta(days=7)
"""No older response is served."""
_OK: Final = 200
"""The status of every stored response."""
_MAX_BODY_BYTES: Final = 350_000
"""Compressed; DynamoDB takes 400 KB with all other attributes."""


@dataclass(frozen=True, slots=True)
class RecurringTable:
    """Stores responses; implements `ResponseCache`."""

    client: DynamoDBClient
    table: str

    def look_up(self, item_id: ItemId) -> tuple[int, CachedResponse | None]:
        """See `ResponseCache`. A row that this version cannot read counts as absent."""
        found = self._read(RECURRING, item_id)
        return int(self._read(INVALIDATION, item_id).get("number", 0)), _entry_from(found)

    def store(self, item_id: ItemId, entry: CachedResponse, until: datetime) -> None:
        """See `ResponseCache`."""
        body = zlib.compress(entry.response.body)
        if len(body) > _MAX_BODY_BYTES:
            return
        row = {
            "digest": entry.digest,
            "invalidation": entry.invalidation,
            "fetched_at": format_timestamp(entry.fetched_at),
            "body": body,
            "content_type": entry.response.content_type,
            "request_id": entry.response.request_id,
            "expires_at": epoch_seconds(until),
        }
        attributes = {name: serialize(value) for name, value in row.items()}
        with aws_errors():
            self.client.put_item(TableName=self.table, Item=shared_key(RECURRING, item_id) | attributes)

    def _read(self, kind: str, item_id: ItemId) -> dict[str, Any]:
        with aws_errors():
            response = self.client.get_item(TableName=self.table, Key=shared_key(kind, item_id), ConsistentRead=True)
        return deserialize(response.get("Item", {}))


def _entry_from(values: dict[str, Any]) -> CachedResponse | None:
    body, fetched_at = decompress(values.get("body")), parse_timestamp(values.get("fetched_at"))
    texts = [values.get(name) for name in ("digest", "content_type", "request_id")]
    number = values.get("invalidation")
    if body is None or fetched_at is None or None in texts or number is None:
        return None
    digest, content_type, request_id = map(str, texts)
    return CachedResponse(digest, int(number), fetched_at, PlaidResponse(_OK, body, content_type, request_id))
