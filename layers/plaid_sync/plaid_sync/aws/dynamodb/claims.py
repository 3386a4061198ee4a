"""The Links table: the account claims of an Item, which follow its accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, serialize
from plaid_sync.domain.clock import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Collection

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId


@dataclass(frozen=True, slots=True)
class ItemClaims:
    """Takes and releases claims; implements `AccountClaims` of the sync and of the removal."""

    client: DynamoDBClient
    table: str
    clock: Clock

    def take(self, item: Item, keys: Collection[str]) -> frozenset[str]:
        """See `AccountClaims`. One that another Item holds stays that Item's."""
        return frozenset(key for key in sorted(keys) if self._take(item, key))

    def _take(self, item: Item, key: str) -> bool:
        expression = Expression()
        taken = {"item_id": item.item_id, "taken_at": format_timestamp(self.clock.now())}
        user = {} if item.client_user_id is None else {"client_user_id": item.client_user_id}
        free = f"{expression.equals('link_key', None)} OR {expression.equals('item_id', item.item_id)}"
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key={"link_key": serialize(key)},
                    UpdateExpression=expression.update(taken | user, {"link_id": item.link_id}),
                    ConditionExpression=free,
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def release(self, item_id: ItemId, bank_login_ids: Collection[str]) -> None:
        """See `AccountClaims`. A claim that another Item took over stays that Item's."""
        for key in sorted(bank_login_ids):
            expression = Expression()
            with aws_errors():
                try:
                    self.client.delete_item(
                        TableName=self.table,
                        Key={"link_key": serialize(key)},
                        ConditionExpression=expression.equals("item_id", item_id),
                        **expression.arguments(),
                    )
                except self.client.exceptions.ConditionalCheckFailedException:
                    continue
