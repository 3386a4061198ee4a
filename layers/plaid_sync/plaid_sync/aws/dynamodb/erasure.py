"""What a removed Item leaves: its rows are erased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.change_log import partition_of
from plaid_sync.aws.dynamodb.expressions import Expression
from plaid_sync.aws.dynamodb.transact import MAX_TRIES, back_off, query_pages
from plaid_sync.domain.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.item import ItemId

_DELETES_PER_CALL: Final = 25
_SECONDS_FOR_A_CALL: Final = 40.0


@dataclass(frozen=True, slots=True)
class ErasableTables:
    """The rows of an Item in the Transactions and the Quarantine table; implements `ErasableRows`.

    The changes that are logged of its rows go with them, and do not count. Nothing here is conditional: no attempt can
    write rows of a removed Item.

    Attributes:
        keys: the tables, each with its sort key.
        history_table: has the change log.
    """

    client: DynamoDBClient
    keys: tuple[tuple[str, str], ...]
    history_table: str
    clock: Clock

    def count(self, item_id: ItemId, deadline: Deadline) -> int:
        """See `ErasableRows`."""
        pages = (page for table, _ in self.keys for page in self._pages(table, item_id, deadline, Select="COUNT"))
        return sum(int(page["Count"]) for page in pages)

    def erase(self, item_id: ItemId, deadline: Deadline) -> None:
        """See `ErasableRows`."""
        partitions = [(table, sort_key, str(item_id)) for table, sort_key in self.keys]
        for table, sort_key, partition in [*partitions, (self.history_table, "entry_id", partition_of(item_id))]:
            expression = Expression()
            projection = f"{expression.name('item_id')}, {expression.name(sort_key)}"
            for page in self._pages(table, partition, None, expression, ProjectionExpression=projection):
                keys = page["Items"]
                for start in range(0, len(keys), _DELETES_PER_CALL):
                    deadline.require(_SECONDS_FOR_A_CALL)
                    self._delete(table, keys[start : start + _DELETES_PER_CALL])

    def _pages(
        self,
        table: str,
        partition: str,
        deadline: Deadline | None,
        expression: Expression | None = None,
        **request: str,
    ) -> Iterator[dict[str, Any]]:
        expression = expression or Expression()
        of_item = {
            "TableName": table,
            "ConsistentRead": True,
            "KeyConditionExpression": expression.equals("item_id", partition),
        }
        return query_pages(self.client, {**of_item, **request, **expression.arguments()}, deadline)

    def _delete(self, table: str, keys: list[dict[str, Any]]) -> None:
        request: Any = {table: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for attempt in range(MAX_TRIES):
            with aws_errors():
                request = self.client.batch_write_item(RequestItems=request).get("UnprocessedItems")
            if not request:
                return
            back_off(self.clock, attempt)
        raise TransientError("UnprocessedItems")
