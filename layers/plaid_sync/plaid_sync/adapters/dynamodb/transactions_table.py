"""The Transactions table, written together with the Item whose fence guards it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.adapters.dynamodb.atomic import TRIES, back_off
from plaid_sync.adapters.dynamodb.expressions import Expression, serialize
from plaid_sync.adapters.dynamodb.fenced import on_item, transact
from plaid_sync.adapters.dynamodb.history_table import entry_put
from plaid_sync.adapters.dynamodb.item_format import committed
from plaid_sync.adapters.dynamodb.row_format import ALL_ATTRIBUTES, FENCE_ATTRIBUTES, to_stored_row, written
from plaid_sync.core.failures import RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.sync.plan import Commit, RowWrite
    from plaid_sync.core.sync.transactions import StoredRow, TransactionId
    from plaid_sync.ports.common import Clock

_KEYS_PER_READ: Final = 100


@dataclass(frozen=True, slots=True)
class TransactionsTable:
    """Reads and writes rows; fulfils `TransactionTable`.

    Attributes:
        pause: waits so many seconds.
    """

    client: DynamoDBClient
    items_table: str
    transactions_table: str
    history_table: str
    clock: Clock
    pause: Callable[[float], None]

    def rows(self, item_id: ItemId, ids: Collection[TransactionId]) -> Mapping[TransactionId, StoredRow]:
        """See `ports.sync.TransactionTable`. Consistent: an older content than the stored one would hide a change."""
        found: dict[TransactionId, StoredRow] = {}
        ordered = list(ids)
        for start in range(0, len(ordered), _KEYS_PER_READ):
            keys = [self._key(item_id, one) for one in ordered[start : start + _KEYS_PER_READ]]
            for attributes in self._read(keys):
                if "generation" in attributes:  # otherwise only an application's annotations
                    row = to_stored_row(attributes)
                    found[row.transaction_id] = row
        return found

    def _read(self, keys: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        expression = Expression()
        projection = ", ".join(expression.name(name) for name in ALL_ATTRIBUTES)
        request: Any = {
            self.transactions_table: {
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
            rows = answer["Responses"].get(self.transactions_table, ())
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
        request: dict[str, Any] = {
            "TableName": self.transactions_table,
            "ConsistentRead": True,
            "KeyConditionExpression": expression.equals("item_id", item_id),
            "FilterExpression": f"{expression.name('generation')} >= {expression.value(since)}",
            "ProjectionExpression": ", ".join(expression.name(name) for name in FENCE_ATTRIBUTES),
            **expression.arguments(),
        }
        while True:
            with aws_errors():
                answer = self.client.query(**request)
            yield from map(to_stored_row, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def write(
        self,
        item_id: ItemId,
        generation: int,
        writes: Collection[RowWrite],
        *,
        begin: bool,
        commit: Commit | None,
    ) -> None:
        """See `ports.sync.TransactionTable`."""
        actions = [
            self._item_action(item_id, generation, begin=begin, commit=commit),
            *(self._row_action(item_id, generation, write) for write in writes),
            *([] if commit is None else [entry_put(self.history_table, commit.entry)]),
        ]
        transact(self.client, actions, generation, self.pause)

    def _item_action(self, item_id: ItemId, generation: int, *, begin: bool, commit: Commit | None) -> dict[str, Any]:
        expression = Expression()
        condition, update = expression.fenced(generation), ""
        if commit is not None:
            condition += f" AND {expression.equals('cursor', commit.expected_cursor)}"
            update = expression.update(committed(commit))
        elif begin:
            update = expression.update({}, {"writing_since": generation})
        return on_item(self.items_table, item_id, expression, condition, update)

    def _row_action(self, item_id: ItemId, generation: int, write: RowWrite) -> dict[str, Any]:
        expression = Expression()
        # Not the key: an application may have annotated an id before we write it, or after its tombstone expired.
        absent = f"attribute_not_exists({expression.name('generation')})"
        older = f"{expression.name('generation')} < {expression.value(generation)}"
        update = expression.update(
            written(write, self.clock()) | {"generation": generation}, {"first_generation": generation}
        )
        return {
            "Update": {
                "TableName": self.transactions_table,
                "Key": self._key(item_id, write.transaction_id),
                "UpdateExpression": update,
                "ConditionExpression": f"{absent} OR {older}",
                **expression.arguments(),
            }
        }

    def _key(self, item_id: ItemId, transaction_id: TransactionId) -> dict[str, Any]:
        return {"item_id": serialize(item_id), "transaction_id": serialize(transaction_id)}
