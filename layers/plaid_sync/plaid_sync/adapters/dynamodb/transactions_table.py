"""The Transactions table, written together with the Item whose fence guards it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.dynamodb.expressions import Expression, serialize
from plaid_sync.adapters.dynamodb.fenced import on_item, transact
from plaid_sync.adapters.dynamodb.history_table import entry_put
from plaid_sync.adapters.dynamodb.item_format import committed
from plaid_sync.adapters.dynamodb.row_format import written
from plaid_sync.adapters.dynamodb.stored_rows import StoredRows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.sync.plan import Commit, RowWrite
    from plaid_sync.core.sync.transactions import StoredRow, TransactionId
    from plaid_sync.ports.common import Clock


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

    @property
    def _stored(self) -> StoredRows:
        return StoredRows(self.client, self.transactions_table, self.pause)

    def rows(self, item_id: ItemId, ids: Collection[TransactionId]) -> Mapping[TransactionId, StoredRow]:
        """See `ports.sync.TransactionTable`."""
        return self._stored.rows(item_id, ids)

    def scan_item(self, item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        """See `ports.sync.TransactionTable`."""
        return self._stored.scan_item(item_id, since)

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
        # And not only absence: whatever is no number is no attempt's generation, and would be in the way for ever.
        absent = f"NOT attribute_type({expression.name('generation')}, {expression.value('N')})"
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
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                **expression.arguments(),
            }
        }

    def _key(self, item_id: ItemId, transaction_id: TransactionId) -> dict[str, Any]:
        return {"item_id": serialize(item_id), "transaction_id": serialize(transaction_id)}
