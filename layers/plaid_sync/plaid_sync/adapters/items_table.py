"""The Items table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import aws_errors, to_text
from plaid_sync.adapters.expressions import Expression, serialize
from plaid_sync.adapters.item_format import to_item
from plaid_sync.core.failures import RetryableError, SupersededError
from plaid_sync.core.items import Item, ItemId, ItemStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.linking import NewItem
    from plaid_sync.ports import Clock


@dataclass(frozen=True, slots=True)
class ItemsTable:
    """Reads and writes Items; fulfils `SyncItems` and `LinkItems`."""

    client: DynamoDBClient
    table: str
    clock: Clock

    def load(self, item_id: ItemId) -> Item | None:
        """See `ports.SyncItems`."""
        with aws_errors():
            answer = self.client.get_item(TableName=self.table, Key=_key(item_id), ConsistentRead=True)
        return to_item(answer["Item"]) if "Item" in answer else None

    def claim(self, item: Item, attempt_id: str) -> Item:
        """See `ports.SyncItems`.

        A compare-and-set, and marked with the attempt: a claim whose answer was lost is recognised when the SDK
        repeats it, and one that arrives long after its sender gave up finds the generation moved on. Without either,
        an attempt could be superseded by a ghost of its own, and nobody would pull.
        """
        expression, generation = Expression(), item.generation + 1
        claimed: dict[str, Any]
        with aws_errors():
            try:
                answer = self.client.update_item(
                    TableName=self.table,
                    Key=_key(item.item_id),
                    UpdateExpression=expression.update({"generation": generation, "attempt_id": attempt_id}),
                    ConditionExpression=expression.fenced(item.generation),
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **expression.arguments(),
                )
                claimed = answer["Attributes"]
            except self.client.exceptions.ConditionalCheckFailedException as error:
                refused: Any = error.response
                claimed = refused.get("Item", {})
                if claimed.get("attempt_id") != serialize(attempt_id):
                    raise RetryableError("item_changed_while_claiming") from error
        return to_item(claimed)

    def record_trouble(self, item_id: ItemId, generation: int, status: ItemStatus, code: str) -> None:
        """See `ports.SyncItems`."""
        now = to_text(self.clock())
        trouble = {"status": status.value, "status_code": code, "status_at": now}
        self._update_fenced(item_id, generation, trouble)

    def record_not_ready(self, item_id: ItemId, generation: int, update_status: str) -> None:
        """See `ports.SyncItems`."""
        self._update_fenced(item_id, generation, {"update_status": update_status})

    def _update_fenced(self, item_id: ItemId, generation: int, sets: dict[str, Any]) -> None:
        expression = Expression()
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key=_key(item_id),
                    UpdateExpression=expression.update(sets),
                    ConditionExpression=expression.fenced(generation),
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException as error:
                raise SupersededError from error

    def register(self, item: NewItem) -> None:
        """See `ports.LinkItems`. An upsert: its repeat, by the SDK or by a retry, is harmless."""
        expression = Expression()
        update = expression.update(
            {"access_token": item.access_token, "link_id": item.link_id},
            {
                "generation": 0,
                "status": ItemStatus.ACTIVE.value,
                "days_requested": item.days_requested,
                "linked_at": to_text(item.linked_at),
            },
        )
        with aws_errors():
            self.client.update_item(
                TableName=self.table,
                Key=_key(item.item_id),
                UpdateExpression=update,
                **expression.arguments(),
            )

    def adopt(self, link_id: str) -> ItemId | None:
        """See `ports.LinkItems`. The index is eventually consistent; the mark is not."""
        item_id = self._find_by_link(link_id)
        if item_id is None:
            return None
        expression = Expression()
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key=_key(item_id),
                    UpdateExpression=expression.update({"adopted": True}),
                    ConditionExpression=expression.equals("link_id", link_id),
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return None
        return item_id

    def _find_by_link(self, link_id: str) -> ItemId | None:
        expression = Expression()
        with aws_errors():
            answer = self.client.query(
                TableName=self.table,
                IndexName="by_link",
                KeyConditionExpression=expression.equals("link_id", link_id),
                Limit=1,
                **expression.arguments(),
            )
        found = answer["Items"]
        return ItemId(str(found[0]["item_id"]["S"])) if found else None

    def forget(self, item_id: ItemId, link_id: str) -> bool:
        """See `ports.LinkItems`."""
        expression = Expression()
        absent = f"attribute_not_exists({expression.name('item_id')})"
        ours = expression.equals("link_id", link_id)
        unused = f"{expression.equals('generation', 0)} AND {expression.equals('adopted', None)}"
        with aws_errors():
            try:
                self.client.delete_item(
                    TableName=self.table,
                    Key=_key(item_id),
                    ConditionExpression=f"{absent} OR ({ours} AND {unused})",
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return False
        return True


def _key(item_id: ItemId) -> dict[str, Any]:
    return {"item_id": serialize(item_id)}
