"""The Items table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import aws_errors, to_text
from plaid_sync.adapters.expressions import Expression, serialize
from plaid_sync.adapters.item_format import to_item
from plaid_sync.core.failures import SupersededError
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
        """See `ports.ItemReader`."""
        with aws_errors():
            answer = self.client.get_item(TableName=self.table, Key=_key(item_id), ConsistentRead=True)
        return to_item(answer["Item"]) if "Item" in answer else None

    def claim(self, item_id: ItemId) -> Item | None:
        """See `ports.SyncItems`. A repeat by the SDK claims twice, which only skips a number."""
        expression = Expression()
        registered = f"attribute_exists({expression.name('item_id')})"
        not_removed = f"{expression.name('status')} <> {expression.value(ItemStatus.REMOVED.value)}"
        generation = expression.name("generation")
        with aws_errors():
            try:
                answer = self.client.update_item(
                    TableName=self.table,
                    Key=_key(item_id),
                    UpdateExpression=f"SET {generation} = {generation} + {expression.value(1)}",
                    ConditionExpression=f"{registered} AND {not_removed}",
                    ReturnValues="ALL_NEW",
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return None
        return to_item(answer["Attributes"])

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
                    ConditionExpression=expression.equals("generation", generation),
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

    def find_by_link(self, link_id: str) -> ItemId | None:
        """See `ports.LinkItems`. Eventually consistent, as every index is."""
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

    def forget(self, item_id: ItemId, link_id: str) -> None:
        """See `ports.LinkItems`."""
        expression = Expression()
        ours = expression.equals("link_id", link_id)
        never_synced = expression.equals("generation", 0)
        with aws_errors():
            try:
                self.client.delete_item(
                    TableName=self.table,
                    Key=_key(item_id),
                    ConditionExpression=f"{ours} AND {never_synced}",
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return


def _key(item_id: ItemId) -> dict[str, Any]:
    return {"item_id": serialize(item_id)}
