"""The Items table: the changes of one Item. `item_rows` has the format, `item_indexes` the lists.

Every write is conditional: on the generation that the writer holds (optimistic locking), or on the state that it read.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb import item_rows, transact
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.aws.dynamodb.transact import ITEM, Action, ConditionFailedError, write_together
from plaid_sync.domain.clock import format_optional_timestamp, format_timestamp, read_timestamp
from plaid_sync.domain.errors import ITEM_MODIFIED, SupersededError, TransientError
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.sync.ports import FoundItem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import BankStatus, Item, ItemState, PendingCheck, RemovalReason
    from plaid_sync.domain.schedule import NextAttempt
    from plaid_sync.items_api.ports import ItemChange
    from plaid_sync.sync.ports import AccountsUpdate, Claim, ItemStateUpdate

_REMOVED: Final = StateName.REMOVED.value


@dataclass(frozen=True, slots=True)
class ItemsTable:
    """Reads and writes one Item; implements the Items ports of the sync, the removal and the Items API."""

    client: DynamoDBClient
    table: str
    history_table: str
    clock: Clock

    def load(self, item_id: ItemId) -> Item | None:
        """Return an Item as last committed, consistently; None when it is not registered.

        Raises:
            TransientError: DynamoDB cannot be read now.
        """
        with aws_errors():
            response = self.client.get_item(TableName=self.table, Key=_key(item_id), ConsistentRead=True)
        row: dict[str, Any] = dict(response.get("Item", {}))
        return item_rows.item_from_row(row) if row and "unregistered_link" not in row else None

    # ---- the sync

    def find(self, item_id: ItemId, claim: Claim, covered_after: datetime) -> FoundItem:
        """See `SyncItems`.

        A late copy of a claim (the SDK's repeat, or one that the network held back) finds its own attempt or a later
        one: without that, an attempt could be superseded by its own claim, and no attempt would pull. An Item whose
        counters another program damaged fails the condition, too, and is found as it is.
        """
        expression = Expression()
        sets = _claim_attributes(item_id, claim)
        counts = {"generation": 1} | ({} if claim.repeated else {"unfinished_attempts": 1})
        states = ", ".join(expression.value(name.value) for name in StateName if name is not StateName.REMOVED)
        attempt, pull = expression.name("attempt_id"), expression.name("pull_began_at")
        after = expression.value(format_timestamp(covered_after))
        condition = " AND ".join(
            (
                f"{expression.name('state')} IN ({states})",
                f"(attribute_not_exists({attempt}) OR {attempt} < {expression.value(claim.attempt_id)})",
                f"(attribute_not_exists({pull}) OR {pull} <= {after})",
                *(
                    f"(attribute_not_exists({expression.name(name)})"
                    f" OR attribute_type({expression.name(name)}, {expression.value('N')}))"
                    for name in counts
                ),
            )
        )
        row, claimed = self._update_returning(item_id, expression, expression.update(sets, adds=counts), condition)
        if not row or "unregistered_link" in row:
            return FoundItem(None)
        item = item_rows.item_from_row(row)
        return FoundItem(item, claimed or (item.attempt_id == claim.attempt_id and not item.removed))

    def claim(self, item: Item, claim: Claim) -> Item:
        """See `SyncItems`.

        A compare-and-set on the generation, marked with the attempt. When the response of a claim is lost, the SDK's
        repeat is recognized by the attempt; a claim that arrives long after its sender stopped finds a newer
        generation.
        """
        expression = Expression()
        sets = _claim_attributes(item.item_id, claim) | {
            "generation": item.generation + 1,
            "unfinished_attempts": item.unfinished_attempts + (0 if claim.repeated else 1),
        }
        if item.pending_checks:
            sets["pending_checks"] = item_rows.check_attributes(item.pending_checks)
        condition = expression.fenced(item.generation)
        row, claimed = self._update_returning(item.item_id, expression, expression.update(sets), condition)
        if not claimed and row.get("attempt_id") != serialize(claim.attempt_id):
            raise TransientError(ITEM_MODIFIED)
        return item_rows.item_from_row(row)

    def raise_generation(self, item: Item, generation: int) -> Item:
        """See `SyncItems`."""
        self._update_fenced(item, {"generation": generation, **item_rows.FULL_RESYNC})
        return replace(item, generation=generation, **item_rows.FULL_RESYNC)

    def postpone(self, item: Item, next_attempt: NextAttempt) -> None:
        """See `SyncItems`. Not fenced: a concurrent write of the Item wins."""
        planned = format_optional_timestamp(item.next_attempt_at)
        with suppress(ConditionFailedError):
            sets = item_rows.next_attempt_attributes(item.item_id, next_attempt)
            self._update(item.item_id, sets, lambda expression: expression.equals("next_attempt_at", planned))

    def restart_pull(
        self, item: Item, *, from_beginning: bool, reset_at: datetime | None = None, pulled_with: str | None = None
    ) -> Item:
        """See `SyncItems`."""
        restarts = item.pull_restarts + (0 if item.checkpoint is None else 1)
        sets: dict[str, Any] = {"generation": item.generation + 1, "checkpoint": None}
        sets |= {"pull_restarts": restarts or None}
        sets |= item_rows.FULL_RESYNC if from_beginning else {}
        sets |= {} if reset_at is None else {"cursor_reset_at": format_timestamp(reset_at)}
        sets |= {} if pulled_with is None else item_rows.pulled_with_attributes(pulled_with, item.cursor)
        self._update_fenced(item, sets)
        restarted = replace(item, generation=item.generation + 1, checkpoint=None, pull_restarts=restarts)
        restarted = restarted if pulled_with is None else replace(restarted, pulled_with=pulled_with)
        restarted = replace(restarted, **item_rows.FULL_RESYNC) if from_beginning else restarted
        return restarted if reset_at is None else replace(restarted, cursor_reset_at=reset_at)

    def record_accounts(self, item: Item, update: AccountsUpdate) -> Item:
        """See `SyncItems`."""
        sets = item_rows.accounts_update_attributes(item, update)
        try:
            self._change(item.item_id, sets, _fenced(item.generation), update.entry)
        except ConditionFailedError as error:
            raise SupersededError from error
        recorded = replace(
            item,
            generation=item.generation + 1,
            account_states=update.states,
            pending_checks=update.pending_checks,
            bank_login_ids=update.claim_keys,
        )
        return replace(recorded, **item_rows.FULL_RESYNC) if update.full_resync else recorded

    def complete_checks(self, item: Item, pending_checks: tuple[PendingCheck, ...]) -> Item:
        """See `SyncItems`."""
        checks = item_rows.check_attributes(pending_checks) or None
        self._update_fenced(item, {"generation": item.generation + 1, "pending_checks": checks})
        return replace(item, generation=item.generation + 1, pending_checks=pending_checks)

    def record(self, item: Item, update: ItemStateUpdate) -> None:
        """See `SyncItems`."""
        sets = item_rows.state_update_attributes(item.item_id, update)
        fence = _fenced_removed(item.generation) if item.removed else _fenced(item.generation)
        try:
            if update.entry is None:
                self._update(item.item_id, sets, fence)
            else:
                self._change(item.item_id, sets, fence, update.entry)
        except ConditionFailedError as error:
            raise SupersededError from error

    # ---- the rollback of a link whose Item is not registered

    def exchanged_token(self, item_id: ItemId, link_id: str) -> bytes | None:
        """See `ErasableItems`."""
        with aws_errors():
            response = self.client.get_item(TableName=self.table, Key=_key(item_id), ConsistentRead=True)
        values = deserialize(response.get("Item", {}))
        if values.get("unregistered_link") != link_id:
            return None
        return b"" if "rollback_began_at" in values else bytes(values.get("access_token", b""))

    def begin_rollback(self, item_id: ItemId, exchanged_before: datetime) -> bytes | None:
        """See `RemovalItems`."""

        def waits(expression: Expression) -> str:
            token, link = expression.name("access_token"), expression.name("unregistered_link")
            before = expression.value(format_timestamp(exchanged_before))
            exchanged = f"{expression.name('exchanged_at')} <= {before}"
            return f"attribute_exists({token}) AND attribute_exists({link}) AND {exchanged}"

        return self._update_unregistered(item_id, {}, waits).get("access_token")

    def record_rolled_back(self, item_id: ItemId) -> None:
        """See `RemovalItems`. The row stays, so that a late registration finds that it is too late."""
        sets = dict.fromkeys(("access_token", *item_rows.NEXT_ATTEMPT))

        def unregistered(expression: Expression) -> str:
            return f"attribute_exists({expression.name('unregistered_link')})"

        self._update_unregistered(item_id, sets, unregistered)

    def _update_unregistered(
        self, item_id: ItemId, sets: dict[str, Any], condition: Callable[[Expression], str]
    ) -> dict[str, Any]:
        """Update an Item whose rollback begins, or began; return its attributes, none where the condition failed."""
        expression, began_at = Expression(), format_timestamp(self.clock.now())
        update = expression.update(sets, {"rollback_began_at": began_at})
        row, held = self._update_returning(item_id, expression, update, condition(expression))
        return deserialize(row) if held else {}

    # ---- the removal

    def record_plaid_removed(self, item_id: ItemId) -> None:
        """See `RemovalItems`."""
        self._update_removed(item_id, {"access_token": None}, {"plaid_removed_at": format_timestamp(self.clock.now())})

    def record_rows_to_erase(self, item_id: ItemId, rows: int) -> int:
        """See `RemovalItems`."""
        return int(self._update_removed(item_id, {}, {"rows_to_erase": rows})["rows_to_erase"])

    def _update_removed(self, item_id: ItemId, sets: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        expression = Expression()
        with aws_errors():
            response = self.client.update_item(
                TableName=self.table,
                Key=_key(item_id),
                UpdateExpression=expression.update(sets, defaults),
                ConditionExpression=expression.equals("state", _REMOVED),
                ReturnValues="ALL_NEW",
                **expression.arguments(),
            )
        return deserialize(response["Attributes"])

    def record_removal_completed(self, item: Item, entry: HistoryEntry) -> None:
        """See `RemovalItems`. What identifies the user, or may, goes with the erased rows."""
        erase = item.removal is not None and item.removal.erase
        dropped = ["accounts", "gone_accounts", "revoked_accounts", "erased_accounts", "accounts_checked_at"]
        dropped += ["bank_login_ids", "cursor", "pulled_with", "pulled_with_cursor", "writing_since", "reconcile"]
        dropped += [
            "token_rotation_began_at",
            "token_rotated_at",
            "token_exported_at",
            "next_attempt_at",
            "attempt_shard",
            "pending_checks",
            "unfinished_attempts",
        ]
        dropped += ["checkpoint", "pull_restarts", "previous_webhook", "webhook_switched_at"]
        dropped += ["failing_since", "failed_at", "failure_code", "failure_class"]
        dropped += ["client_user_id", "institution_id", "removal_reason_note"] if erase else []
        sets = dict.fromkeys(dropped) | {"removal_completed_at": format_timestamp(self.clock.now())}

        def incomplete(expression: Expression) -> str:
            return (
                f"{expression.equals('state', _REMOVED)} AND {expression.equals('removal_erases', erase)}"
                f" AND {expression.equals('removal_completed_at', None)}"
            )

        try:
            self._change(item.item_id, sets, incomplete, entry)
        except ConditionFailedError as error:
            if "removal_completed_at" not in error.found.get(ITEM, {}):
                raise TransientError("removal_changed") from error

    # ---- the Items API: each change raises the generation, against a sync that loaded the Item before

    def remove(
        self, item: Item, state: ItemState, entry: HistoryEntry, *, erase: bool, reason: RemovalReason | None = None
    ) -> bool:
        """See `ApiItems`."""
        sets = item_rows.removal_attributes(item.item_id, state, entry.at, erase=erase, reason=reason)
        return self._try_change(item.item_id, sets, _exists_and_lives, entry, fences=True)

    def remove_here(self, item: Item, state: ItemState, entry: HistoryEntry, *, erase: bool) -> bool:
        """See `ApiItems`. Fenced: a rotation that began since would make the exported token a dead one."""
        sets = item_rows.removal_attributes(item.item_id, state, entry.at, erase=erase, keeps_at_plaid=True)
        return self._try_change(item.item_id, sets, _fenced(item.generation), entry, fences=True)

    def also_erase_transactions(self, item: Item, entry: HistoryEntry) -> bool:
        """See `ErasableItems`. A completed removal starts again."""
        sets = {"removal_erases": True, "removal_completed_at": None, "rows_to_erase": None}
        sets |= item_rows.superseding_attributes(item.item_id, entry.at)

        def kept(expression: Expression) -> str:
            return f"{expression.equals('state', _REMOVED)} AND {expression.equals('removal_erases', value=False)}"

        return self._try_change(item.item_id, sets, kept, entry, fences=True)

    def change(self, item: Item, change: ItemChange, entry: HistoryEntry) -> bool:
        """See `ApiItems`."""
        sets = item_rows.change_attributes(item, change) | item_rows.superseding_attributes(item.item_id, entry.at)
        return self._try_change(item.item_id, sets, _fenced(item.generation), entry, fences=True)

    def record_webhook(self, item: Item, entry: HistoryEntry, *, here: bool) -> bool:
        """See `ApiItems`."""
        sets: dict[str, Any] = {"webhook_switched_at": format_timestamp(entry.at) if here else None}
        sets |= item_rows.superseding_attributes(item.item_id, entry.at)
        return self._try_change(item.item_id, sets, _fenced(item.generation), entry, fences=True)

    def begin_token_rotation(self, item: Item, entry: HistoryEntry) -> bool:
        """See `ApiItems`."""
        sets = {"token_rotation_began_at": format_timestamp(entry.at), "token_exported_at": None}
        return self._try_change(item.item_id, sets, _fenced(item.generation), entry, fences=True)

    def record_token_export(self, item: Item, entry: HistoryEntry) -> bool:
        """See `ApiItems`. It leaves the generation: an attempt that runs goes on."""
        sets = {"token_exported_at": format_timestamp(entry.at)}
        return self._try_change(item.item_id, sets, _fenced(item.generation), entry, fences=False)

    def finish_token_rotation(
        self, item_id: ItemId, began_at: datetime, access_token: bytes | None, entry: HistoryEntry
    ) -> bool:
        """See `ApiItems`. Also of an Item that is being removed: Plaid removes it by its newest token."""
        sets: dict[str, Any] = {"token_rotation_began_at": None}
        if access_token is not None:
            sets |= {"access_token": access_token, "token_rotated_at": format_timestamp(entry.at)}
            sets |= item_rows.superseding_attributes(item_id, entry.at)

        def began(expression: Expression) -> str:
            return expression.equals("token_rotation_began_at", format_timestamp(began_at))

        return self._try_change(item_id, sets, began, entry, fences=access_token is not None)

    def save_bank_status(self, item_id: ItemId, status: BankStatus) -> None:
        """See `ApiItems`. Not fenced: no sync reads it."""
        with suppress(ConditionFailedError):
            self._update(item_id, item_rows.bank_attributes(status), _exists)

    def start_refresh(self, item_id: ItemId, now: datetime, min_interval: timedelta) -> datetime | None:
        """See `ApiItems`."""
        moment = format_timestamp(now)

        def allowed(expression: Expression) -> str:
            never = expression.equals("refreshed_at", None)
            before = expression.value(format_timestamp(now - min_interval))
            return f"{_exists_and_lives(expression)} AND ({never} OR {expression.name('refreshed_at')} <= {before})"

        try:
            self._change(item_id, {"refreshed_at": moment}, allowed)
        except ConditionFailedError as error:
            last = error.found[ITEM].get("refreshed_at", {"S": moment})["S"]
            # The same time: the SDK repeated a call that had succeeded, and whose response was lost.
            return None if last == moment else read_timestamp(last)
        return None

    def withdraw_refresh(self, item: Item, started_at: datetime) -> None:
        """See `RefreshTimes`."""
        moment, before = format_timestamp(started_at), format_optional_timestamp(item.refreshed_at)
        with suppress(ConditionFailedError):
            self._change(item.item_id, {"refreshed_at": before}, lambda found: found.equals("refreshed_at", moment))

    # ---- the ways to write

    def _update_returning(
        self, item_id: ItemId, expression: Expression, update: str, condition: str
    ) -> tuple[dict[str, Any], bool]:
        """Update a row; return it as it is then, and whether the condition held."""
        with aws_errors():
            try:
                response = self.client.update_item(
                    TableName=self.table,
                    Key=_key(item_id),
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException as error:
                failed: Any = error.response
                return failed.get("Item", {}), False
        return dict(response["Attributes"]), True

    def _update_fenced(self, item: Item, sets: dict[str, Any]) -> None:
        try:
            self._change(item.item_id, sets, _fenced(item.generation))
        except ConditionFailedError as error:
            raise SupersededError from error

    def _change(
        self,
        item_id: ItemId,
        sets: dict[str, Any],
        condition: Callable[[Expression], str],
        entry: HistoryEntry | None = None,
        adds: Mapping[str, int] | None = None,
    ) -> None:
        """Change an Item, together with its history entry, if there is one.

        Raises:
            ConditionFailedError: the condition failed.
            TransientError: DynamoDB cannot accept the write now.
        """
        change = item_action(self.table, ITEM, item_id, sets, condition, adds=adds)
        entries = [] if entry is None else [entry_put(self.history_table, entry)]
        write_together(self.client, [change, *entries], self.clock)

    def _update(self, item_id: ItemId, sets: dict[str, Any], condition: Callable[[Expression], str]) -> None:
        """Change an Item by one update, which may be repeated: its condition still holds, or its failure is no matter.

        Raises:
            ConditionFailedError: the condition failed.
            TransientError: DynamoDB cannot accept the write now.
        """
        change = item_action(self.table, ITEM, item_id, sets, condition)
        write_together(self.client, [change], self.clock, repeatable=True)

    def _try_change(
        self,
        item_id: ItemId,
        sets: dict[str, Any],
        condition: Callable[[Expression], str],
        entry: HistoryEntry,
        *,
        fences: bool,
    ) -> bool:
        try:
            self._change(item_id, sets, condition, entry, adds={"generation": 1} if fences else None)
        except ConditionFailedError:
            return False
        return True


def item_action(  # noqa: PLR0913 - an update expression has many parts
    table: str,
    label: str,
    item_id: ItemId,
    sets: dict[str, Any],
    condition: Callable[[Expression], str],
    *,
    defaults: dict[str, Any] | None = None,
    adds: Mapping[str, int] | None = None,
) -> Action:
    """Return the action that changes an Item in a transaction (see `Expression.update`)."""
    expression = Expression()
    update = expression.update(sets, defaults, adds)
    return transact.update(label, table, {"item_id": item_id}, expression, update, condition(expression))


def lives(expression: Expression) -> str:
    """Return the condition that the Item is not removed."""
    return f"{expression.name('state')} <> {expression.value(_REMOVED)}"


def _fenced_removed(generation: int) -> Callable[[Expression], str]:
    """Return the condition of a record about an incomplete removal."""
    return lambda expression: " AND ".join(
        (
            expression.equals("generation", generation),
            expression.equals("state", _REMOVED),
            expression.equals("removal_completed_at", None),
        )
    )


def _fenced(generation: int) -> Callable[[Expression], str]:
    return lambda expression: expression.fenced(generation)


def _exists(expression: Expression) -> str:
    return f"attribute_exists({expression.name('item_id')})"


def _exists_and_lives(expression: Expression) -> str:
    return f"{_exists(expression)} AND {lives(expression)}"


def _claim_attributes(item_id: ItemId, claim: Claim) -> dict[str, Any]:
    webhook = {} if claim.webhook_at is None else {"webhook_at": format_timestamp(claim.webhook_at)}
    return {"attempt_id": claim.attempt_id, **webhook, **item_rows.next_attempt_attributes(item_id, claim.next_attempt)}


def _key(item_id: ItemId) -> dict[str, Any]:
    return {"item_id": serialize(item_id)}
