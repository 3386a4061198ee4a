"""The Items table as the API changes it: each change in one transaction with the entry in the Item's history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors, from_text, to_text
from plaid_sync.adapters.dynamodb.atomic import ConditionFailedError, action, write_together
from plaid_sync.adapters.dynamodb.expressions import Expression, serialize
from plaid_sync.adapters.dynamodb.history_table import entry_put
from plaid_sync.adapters.dynamodb.item_format import account_attributes, due_text, standing_attributes
from plaid_sync.adapters.dynamodb.record_format import bank_attributes, read_record, removal_attributes
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.lifecycle.cadence import FIRST_SYNC, UNFINISHED_REMOVAL

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Account, ItemId, Standing
    from plaid_sync.core.items_api.item_record import BankContact, ItemRecord

_REMOVED: Final = ItemStatus.REMOVED.value


@dataclass(frozen=True, slots=True)
class ItemChanges:
    """Reads and changes Items; fulfils `ApiItems`.

    Attributes:
        pause: waits so many seconds.
    """

    client: DynamoDBClient
    table: str
    history_table: str
    pause: Callable[[float], None]

    def load(self, item_id: ItemId) -> ItemRecord | None:
        """See `ports.items_api.ApiItems`."""
        return read_record(self.client, self.table, item_id)

    def remove(self, record: ItemRecord, standing: Standing, entry: HistoryEntry, *, erase: bool) -> bool:
        """See `ports.items_api.ApiItems`."""
        sets = removal_attributes(record.item_id, standing, entry.at, erase=erase)
        return self._change(record.item_id, sets, entry, _lives)

    def erase_too(self, record: ItemRecord, entry: HistoryEntry) -> bool:
        """See `ports.items_api.ApiItems`. A removal that was completed is taken up again."""
        due_at = due_text(record.item_id, UNFINISHED_REMOVAL, entry.at)
        sets = {"removal_erases": True, "removal_completed_at": None, "rows_to_erase": None, "due_at": due_at}

        def kept(expression: Expression) -> str:
            return f"{expression.equals('status', _REMOVED)} AND {expression.equals('removal_erases', value=False)}"

        return self._change(record.item_id, sets, entry, kept, fences=False)

    def stand(self, record: ItemRecord, standing: Standing, entry: HistoryEntry) -> bool:
        """See `ports.items_api.ApiItems`."""
        known = standing_attributes(record.standing)

        def as_loaded(expression: Expression) -> str:
            return " AND ".join(expression.equals(name, value) for name, value in known.items())

        sets = standing_attributes(standing) | {"due_at": due_text(record.item_id, FIRST_SYNC, entry.at)}
        return self._change(record.item_id, sets, entry, as_loaded)

    def owe_reconciliation(self, item_id: ItemId, entry: HistoryEntry) -> bool:
        """See `ports.items_api.ApiItems`."""
        sets = {"reconcile": True, "due_at": due_text(item_id, FIRST_SYNC, entry.at)}
        return self._change(item_id, sets, entry, _lives)

    def keep_accounts(self, item_id: ItemId, accounts: tuple[Account, ...], entry: HistoryEntry) -> bool:
        """See `ports.items_api.ApiItems`."""
        return self._change(item_id, {"accounts": account_attributes(accounts)}, entry, _lives, fences=False)

    def keep_bank_contact(self, item_id: ItemId, contact: BankContact) -> None:
        """See `ports.items_api.ApiItems`. Unfenced: no sync knows of it."""
        expression = Expression()
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key={"item_id": serialize(item_id)},
                    UpdateExpression=expression.update(bank_attributes(contact)),
                    ConditionExpression=f"attribute_exists({expression.name('item_id')})",
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return

    def _change(
        self,
        item_id: ItemId,
        sets: dict[str, Any],
        entry: HistoryEntry,
        condition: Callable[[Expression], str],
        *,
        fences: bool = True,
    ) -> bool:
        expression = Expression()
        # The fence is raised against a sync that has loaded the Item before and would write back what it knew.
        update = expression.update(sets, raises=["generation"] if fences else [])
        actions = [
            action("Update", self.table, {"item_id": item_id}, expression, condition(expression), update),
            entry_put(self.history_table, entry),
        ]
        try:
            write_together(self.client, actions, self.pause)
        except ConditionFailedError:
            return False
        return True

    def begin_refresh(self, item_id: ItemId, now: datetime, pause: timedelta) -> datetime | None:
        """See `ports.items_api.ApiItems`."""
        expression, moment = Expression(), to_text(now)
        never = expression.equals("refreshed_at", None)
        long_ago = f"{expression.name('refreshed_at')} <= {expression.value(to_text(now - pause))}"
        update = expression.update({"refreshed_at": moment})
        with aws_errors():
            try:
                self.client.update_item(
                    TableName=self.table,
                    Key={"item_id": serialize(item_id)},
                    UpdateExpression=update,
                    ConditionExpression=f"{_lives(expression)} AND ({never} OR {long_ago})",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException as error:
                refused: Any = error.response
                last = refused.get("Item", {}).get("refreshed_at", {"S": moment})["S"]
                # The same moment: the SDK has repeated what had succeeded, and its answer was lost.
                return None if last == moment else from_text(last)
        return None


def _lives(expression: Expression) -> str:
    exists = f"attribute_exists({expression.name('item_id')})"
    return f"{exists} AND {expression.name('status')} <> {expression.value(_REMOVED)}"
