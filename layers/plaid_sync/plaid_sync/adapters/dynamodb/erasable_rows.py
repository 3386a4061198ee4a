"""Everything that is stored of an Item's transactions, to be erased with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.adapters.dynamodb.atomic import TRIES, back_off
from plaid_sync.adapters.dynamodb.expressions import Expression
from plaid_sync.adapters.dynamodb.queries import query_pages
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.sync.pulling import require_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items import ItemId

_DELETES_PER_CALL: Final = 25
_SECONDS_FOR_A_CALL: Final = 40.0


@dataclass(frozen=True, slots=True)
class ErasableTables:
    """The rows of an Item in the Transactions and the Quarantine table; fulfils `ErasableRows`.

    Nothing here is conditional: a removed Item's fence lets nobody write any more.

    Attributes:
        keys: the tables, each with its sort key.
        pause: waits so many seconds.
    """

    client: DynamoDBClient
    keys: tuple[tuple[str, str], ...]
    pause: Callable[[float], None]

    def count(self, item_id: ItemId) -> int:
        """See `ports.lifecycle.ErasableRows`."""
        return sum(int(page["Count"]) for table, _ in self.keys for page in self._pages(table, item_id, Select="COUNT"))

    def erase(self, item_id: ItemId, time_left: Callable[[], float]) -> None:
        """See `ports.lifecycle.ErasableRows`."""
        for table, sort_key in self.keys:
            expression = Expression()
            projection = f"{expression.name('item_id')}, {expression.name(sort_key)}"
            for page in self._pages(table, item_id, expression, ProjectionExpression=projection):
                keys = page["Items"]
                for start in range(0, len(keys), _DELETES_PER_CALL):
                    require_time(time_left, _SECONDS_FOR_A_CALL)
                    self._delete(table, keys[start : start + _DELETES_PER_CALL])

    def _pages(
        self, table: str, item_id: ItemId, expression: Expression | None = None, **request: str
    ) -> Iterator[dict[str, Any]]:
        expression = expression or Expression()
        of_item = {
            "TableName": table,
            "ConsistentRead": True,
            "KeyConditionExpression": expression.equals("item_id", item_id),
        }
        return query_pages(self.client, {**of_item, **request, **expression.arguments()})

    def _delete(self, table: str, keys: list[dict[str, Any]]) -> None:
        request: Any = {table: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for attempt in range(TRIES):
            with aws_errors():
                request = self.client.batch_write_item(RequestItems=request).get("UnprocessedItems")
            if not request:
                return
            back_off(self.pause, attempt)
        raise RetryableError("UnprocessedItems")
