"""The Items table."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import aws_errors, to_text
from plaid_sync.adapters.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.adapters.dynamodb.fenced import on_item, transact
from plaid_sync.adapters.dynamodb.history_table import entry_put
from plaid_sync.adapters.dynamodb.item_format import found, to_item
from plaid_sync.core.failures import RetryableError, SupersededError
from plaid_sync.core.items import Item, ItemId, ItemStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.sync.plan import Verdict
    from plaid_sync.ports.common import Clock


@dataclass(frozen=True, slots=True)
class ItemsTable:
    """Reads and writes Items; fulfils `SyncItems` and `RemovalItems`.

    Attributes:
        pause: waits so many seconds.
    """

    client: DynamoDBClient
    table: str
    history_table: str
    clock: Clock
    pause: Callable[[float], None]

    def load(self, item_id: ItemId) -> Item | None:
        """See `ports.sync.SyncItems`."""
        return load_item(self.client, self.table, item_id)

    def claim(self, item: Item, attempt_id: str) -> Item:
        """See `ports.sync.SyncItems`.

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

    def raise_fence(self, item: Item, generation: int) -> None:
        """See `ports.sync.SyncItems`."""
        expression = Expression()
        with aws_errors(), suppress(self.client.exceptions.ConditionalCheckFailedException):
            self.client.update_item(
                TableName=self.table,
                Key=_key(item.item_id),
                UpdateExpression=expression.update({"generation": generation, "reconcile": True}),
                ConditionExpression=expression.fenced(item.generation),
                **expression.arguments(),
            )

    def withdraw_accounts(self, item: Item, accounts: Collection[str]) -> None:
        """See `ports.sync.SyncItems`."""
        expression = Expression()
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key=_key(item.item_id),
                    UpdateExpression=expression.update({"revoked_accounts": set(accounts)}),
                    ConditionExpression=expression.fenced(item.generation),
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException as error:
                raise SupersededError from error

    def record(self, item: Item, verdict: Verdict) -> None:
        """See `ports.sync.SyncItems`."""
        expression = Expression()
        condition, update = expression.fenced(item.generation), expression.update(found(verdict))
        actions = [
            on_item(self.table, item.item_id, expression, condition, update),
            entry_put(self.history_table, verdict.entry),
        ]
        transact(self.client, actions, item.generation, self.pause)

    def record_plaid_removed(self, item_id: ItemId) -> None:
        """See `ports.lifecycle.RemovalItems`."""
        self._update_removed(item_id, {"access_token": None}, {"plaid_removed_at": to_text(self.clock())})

    def record_rows_to_erase(self, item_id: ItemId, rows: int) -> int:
        """See `ports.lifecycle.RemovalItems`."""
        return int(self._update_removed(item_id, {}, {"rows_to_erase": rows})["rows_to_erase"])

    def _update_removed(self, item_id: ItemId, sets: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        expression = Expression()
        with aws_errors():
            answer = self.client.update_item(
                TableName=self.table,
                Key=_key(item_id),
                UpdateExpression=expression.update(sets, defaults),
                ConditionExpression=expression.equals("status", ItemStatus.REMOVED.value),
                ReturnValues="ALL_NEW",
                **expression.arguments(),
            )
        return deserialize(answer["Attributes"])

    def record_removal_completed(self, item: Item, entry: HistoryEntry) -> None:
        """See `ports.lifecycle.RemovalItems`. What tells of the user goes with the erased rows."""
        expression = Expression()
        erase = item.removal is not None and item.removal.erase
        forgotten = ["accounts", "revoked_accounts", "bank_login_ids", "cursor", "writing_since", "reconcile", "due_at"]
        forgotten += ["client_user_id", "institution_id"] if erase else []
        sets = dict.fromkeys(forgotten) | {"removal_completed_at": to_text(self.clock())}
        condition = (
            f"{expression.equals('status', ItemStatus.REMOVED.value)}"
            f" AND {expression.equals('removal_erases', erase)}"
            f" AND {expression.equals('removal_completed_at', None)}"
        )
        update = expression.update(sets)
        actions: Any = [
            on_item(self.table, item.item_id, expression, condition, update),
            entry_put(self.history_table, entry),
        ]
        with aws_errors():
            try:
                self.client.transact_write_items(TransactItems=actions)
            except self.client.exceptions.TransactionCanceledException as error:
                reasons: Any = error.response.get("CancellationReasons", [{}])
                done = "removal_completed_at" in reasons[0].get("Item", {})
                if not done:
                    raise RetryableError("removal_changed") from error


def load_item(client: DynamoDBClient, table: str, item_id: ItemId) -> Item | None:
    """Return an Item as last committed, or None when it is not registered.

    Raises:
        RetryableError: DynamoDB can't be read now.
    """
    with aws_errors():
        answer = client.get_item(TableName=table, Key=_key(item_id), ConsistentRead=True)
    return to_item(answer["Item"]) if "Item" in answer else None


def _key(item_id: ItemId) -> dict[str, Any]:
    return {"item_id": serialize(item_id)}
