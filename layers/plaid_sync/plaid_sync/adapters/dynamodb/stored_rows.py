"""The Transactions table as it is read: by the sync before it writes, and by the audit, which never does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.adapters.dynamodb.atomic import TRIES, back_off
from plaid_sync.adapters.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.adapters.dynamodb.queries import query_pages
from plaid_sync.adapters.dynamodb.row_format import ALL_ATTRIBUTES, FENCE_ATTRIBUTES, MARKS, to_stored_row
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.sync.transactions import TransactionId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.sync.transactions import StoredRow

_KEYS_PER_READ: Final = 100


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Reads rows; fulfils `AuditedRows`.

    Attributes:
        pause: waits so many seconds.
    """

    client: DynamoDBClient
    table: str
    pause: Callable[[float], None]

    def rows(self, item_id: ItemId, ids: Collection[TransactionId]) -> Mapping[TransactionId, StoredRow]:
        """See `ports.sync.TransactionTable`. Consistent: an older content than the stored one would hide a change."""
        read = self._read(item_id, ids)
        # Without a generation it is an application's annotations, or is written anew whatever it holds.
        rows = [to_stored_row(attributes) for attributes in read if "generation" in attributes]
        return {row.transaction_id: row for row in rows}

    def attributes(
        self, item_id: ItemId, ids: Collection[TransactionId]
    ) -> Mapping[TransactionId, Mapping[str, object]]:
        """See `ports.audit.AuditedRows`."""
        read = (attributes for attributes in self._read(item_id, ids) if not attributes.keys().isdisjoint(MARKS))
        return {TransactionId(values["transaction_id"]): values for values in map(deserialize, read)}

    def _read(self, item_id: ItemId, ids: Collection[TransactionId]) -> Iterator[dict[str, Any]]:
        ordered = list(ids)
        for start in range(0, len(ordered), _KEYS_PER_READ):
            keys = [
                {"item_id": serialize(item_id), "transaction_id": serialize(transaction_id)}
                for transaction_id in ordered[start : start + _KEYS_PER_READ]
            ]
            yield from self._read_keys(keys)

    def _read_keys(self, keys: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        expression = Expression()
        projection = ", ".join(expression.name(name) for name in ALL_ATTRIBUTES)
        request: Any = {
            self.table: {
                "Keys": keys,
                "ConsistentRead": True,
                "ProjectionExpression": projection,
                **expression.arguments(),
            }
        }
        in_vain = 0
        while request:
            with aws_errors():
                answer = self.client.batch_get_item(RequestItems=request)
            rows = answer["Responses"].get(self.table, ())
            yield from rows
            request = answer.get("UnprocessedKeys")
            # An answer ends at 1 MB of a partition: only those that bring nothing are failures.
            in_vain = 0 if rows else in_vain + 1
            if in_vain == TRIES:
                raise RetryableError("UnprocessedKeys")
            if in_vain:
                back_off(self.pause, in_vain)

    def scan_item(self, item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        """See `ports.sync.TransactionTable`."""
        expression = Expression()
        chosen = _since(expression, since) if since else _ours(expression)
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": expression.equals("item_id", item_id),
            "FilterExpression": chosen,
            "ProjectionExpression": ", ".join(expression.name(name) for name in FENCE_ATTRIBUTES),
            **expression.arguments(),
        }
        for page in query_pages(self.client, request):
            yield from map(to_stored_row, page["Items"])


def _since(expression: Expression, generation: int) -> str:
    return f"{expression.name('generation')} >= {expression.value(generation)}"


def _ours(expression: Expression) -> str:
    """Return the condition that a row is the engine's, also where it has lost its generation."""
    return " OR ".join(f"attribute_exists({expression.name(name)})" for name in MARKS)
