"""The Shared table as the webhook function uses it: Plaid's public keys, counters, and names that are taken."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize
from plaid_sync.aws.dynamodb.shared_rows import INVALIDATION, epoch_seconds, shared_key
from plaid_sync.domain.clock import format_timestamp, parse_timestamp
from plaid_sync.domain.errors import TransientError
from plaid_sync.webhook.es256 import decode_key, encode_key
from plaid_sync.webhook.ports import KeyRecord, SharedStateError
from plaid_sync.webhook.signature import VerificationKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.item import ItemId

_RECORD_TTL: Final = timedelta(days=1)
"""A key is trusted for no longer."""
_INVALIDATION_TTL: Final = timedelta(days=8)
"""A day longer than the oldest response that is served (`recurring.MAX_AGE`)."""
_CONDITION_FAILED: Final = "ConditionalCheckFailedException"


@dataclass(frozen=True, slots=True)
class SharedTable:
    """Reads and writes the table; implements `SharedState`."""

    client: DynamoDBClient
    table: str

    def key_record(self, key_id: str) -> KeyRecord | None:
        """See `SharedState`. A row that this version cannot read counts as absent."""
        with _shared_errors():
            response = self.client.get_item(TableName=self.table, Key=shared_key("key", key_id))
        return _record_from(key_id, deserialize(response.get("Item", {})))

    def save_key_record(self, key_id: str, record: KeyRecord) -> None:
        """See `SharedState`."""
        key, expression = record.key, Expression()
        expired_at = None if key is None else key.expired_at
        update = expression.update(
            {
                "fetched_at": format_timestamp(record.fetched_at),
                "public_key": None if key is None else encode_key(key.public_key),
                "expired_at": None if expired_at is None else int(expired_at.timestamp()),
                "expires_at": epoch_seconds(record.fetched_at + _RECORD_TTL),
            }
        )
        self._update("key", key_id, expression, {"UpdateExpression": update})

    def count(self, name: str, expires_at: datetime) -> int:
        """See `SharedState`."""
        expression = Expression()
        update = expression.update({"expires_at": epoch_seconds(expires_at)})
        update += f" ADD {expression.name('number')} {expression.value(1)}"
        counted = self._update("count", name, expression, {"UpdateExpression": update, "ReturnValues": "UPDATED_NEW"})
        return int(deserialize(counted["Attributes"])["number"])

    def invalidate_recurring(self, item_id: ItemId, now: datetime) -> None:
        """See `SharedState`. Random: a count would begin again once its row has expired, and mean two things."""
        expression = Expression()
        sets = {"number": secrets.randbits(64), "expires_at": epoch_seconds(now + _INVALIDATION_TTL)}
        self._update(INVALIDATION, item_id, expression, {"UpdateExpression": expression.update(sets)})

    def once(self, name: str, period: timedelta, now: datetime) -> bool:
        """See `SharedState`."""
        expression = Expression()
        update = expression.update({"expires_at": epoch_seconds(now + period)})
        free = f"attribute_not_exists({expression.name('name')})"
        over = f"{expression.name('expires_at')} <= {expression.value(int(now.timestamp()))}"
        try:
            self._update(
                "once",
                name,
                expression,
                {"UpdateExpression": update, "ConditionExpression": f"{free} OR {over}"},
            )
        except SharedStateError as error:
            if error.code != _CONDITION_FAILED:
                raise
            return False
        return True

    def _update(self, kind: str, name: str, expression: Expression, arguments: dict[str, Any]) -> dict[str, Any]:
        with _shared_errors():
            response = self.client.update_item(
                TableName=self.table, Key=shared_key(kind, name), **arguments, **expression.arguments()
            )
        return dict(response)


@contextmanager
def _shared_errors() -> Iterator[None]:
    try:
        with aws_errors():
            yield
    except TransientError as error:
        raise SharedStateError(error.code) from error


def _record_from(key_id: str, values: dict[str, Any]) -> KeyRecord | None:
    fetched_at = parse_timestamp(values.get("fetched_at"))
    if fetched_at is None or "public_key" not in values:
        return None if fetched_at is None else KeyRecord(None, fetched_at)
    try:
        public_key = decode_key(values["public_key"])
        expired_at = None if "expired_at" not in values else datetime.fromtimestamp(int(values["expired_at"]), UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return KeyRecord(VerificationKey(key_id, public_key, expired_at), fetched_at)
