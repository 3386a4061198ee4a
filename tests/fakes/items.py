"""The Items table in memory: every write holds only under the generation or the state that its port demands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.aws.dynamodb.item_rows import (
    accounts_update_attributes,
    change_attributes,
    state_update_attributes,
)
from plaid_sync.domain.accounts import NO_ACCOUNT_STATES
from plaid_sync.domain.clock import format_timestamp, read_timestamp
from plaid_sync.domain.errors import InvalidRequestError, SupersededError, TransientError
from plaid_sync.domain.item import Item, ItemId, ItemState, Removal, StateName, merge_checks
from plaid_sync.domain.schedule import AttemptClass, DueItem, after_request
from plaid_sync.sync.ports import FoundItem

from tests.fakes.aws import is_storable
from tests.fakes.clock import FakeClock
from tests.fakes.history import FakeHistory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import BankStatus, PendingCheck, RemovalReason
    from plaid_sync.domain.schedule import NextAttempt
    from plaid_sync.items_api.ports import ItemChange
    from plaid_sync.sync.ports import AccountsUpdate, Claim, FollowUp, ItemStateUpdate

ACTIVE: Final = ItemState(StateName.ACTIVE)
_FULL_RESYNC: Final[dict[str, Any]] = {"reconcile": True, "reconcile_after": None, "checkpoint": None}


def new_item(name: str, state: ItemState = ACTIVE, **fields: Any) -> Item:
    return Item(ItemId(name), state=state, **fields)


def require_storable(attributes: dict[str, Any]) -> None:
    """Require that DynamoDB can store these attributes."""
    stored = {name: serialize(value) for name, value in attributes.items() if value is not None}
    assert is_storable(stored), stored


@dataclass(slots=True)
class Exchanged:
    """An Item that is not registered."""

    link_id: str
    access_token: bytes
    at: datetime
    next_attempt_at: datetime | None
    rolls_back: bool = False


@dataclass(slots=True)
class FakeItems:
    """Implements every port of the Items table: of the sync, the removal, the Items API, linking, sweep and audit.

    Attributes:
        stored: the Items.
        classes: as what Items are attempted next.
        refreshed_at: when Items were last refreshed.
        replaced_by: the Items that replaced others.
        index_lags: the index by public token has no entry yet.
        exchanged: those that are not registered.
    """

    history: FakeHistory = field(default_factory=FakeHistory)
    clock: FakeClock = field(default_factory=FakeClock)
    stored: dict[ItemId, Item] = field(default_factory=dict)
    classes: dict[ItemId, AttemptClass] = field(default_factory=dict)
    refreshed_at: dict[ItemId, datetime] = field(default_factory=dict)
    replaced_by: dict[ItemId, ItemId] = field(default_factory=dict)
    index_lags: bool = False
    exchanged: dict[ItemId, Exchanged] = field(default_factory=dict)

    def put(self, *items: Item) -> None:
        self.stored |= {item.item_id: item for item in items}

    def set(self, item_id: str, **fields: Any) -> None:
        self.put(replace(self.stored[ItemId(item_id)], **fields))

    def load(self, item_id: ItemId) -> Item | None:
        return self.stored.get(item_id)

    def lives(self, item_id: ItemId) -> bool:
        return item_id in self.stored and not self.stored[item_id].removed

    def is_fenced(self, item_id: ItemId, generation: int) -> bool:
        return self.lives(item_id) and self.stored[item_id].generation == generation

    # ---- the sync

    def find(self, item_id: ItemId, claim: Claim, covered_after: datetime) -> FoundItem:
        item = self.load(item_id)
        if item is None or item.removed or not item.state.is_known:
            return FoundItem(item)
        covered = item.pull_began_at is not None and item.pull_began_at > covered_after
        if covered or item.attempt_id >= claim.attempt_id:
            return FoundItem(item, claimed=item.attempt_id == claim.attempt_id)
        return FoundItem(self.claim(item, claim), claimed=True)

    def claim(self, item: Item, claim: Claim) -> Item:
        if not self.is_fenced(item.item_id, item.generation):
            raise TransientError("item_modified_concurrently")
        self.plan(item.item_id, claim.next_attempt)
        unfinished = item.unfinished_attempts + (0 if claim.repeated else 1)
        checks = {"pending_checks": item.pending_checks} if item.pending_checks else {}
        webhook = {} if claim.webhook_at is None else {"webhook_at": claim.webhook_at}
        fields: dict[str, Any] = {
            "attempt_id": claim.attempt_id,
            "unfinished_attempts": unfinished,
            **checks,
            **webhook,
        }
        self.set(item.item_id, generation=item.generation + 1, **fields)
        return self.stored[item.item_id]

    def plan(self, item_id: ItemId, next_attempt: NextAttempt) -> None:
        """Set when, and as what, an Item is attempted next; a time is stored in milliseconds."""
        self.set(item_id, next_attempt_at=read_timestamp(format_timestamp(next_attempt.at)))
        self.classes[item_id] = next_attempt.attempt_class

    def follow_up(self, item_id: ItemId, follow_up: FollowUp) -> None:
        """Set what an Item remembers after an attempt with an outcome."""
        self.plan(item_id, follow_up.next_attempt)
        checks, failure = follow_up.pending_checks, follow_up.failure
        self.set(item_id, pending_checks=checks, failure=failure, unfinished_attempts=0)

    def raise_generation(self, item: Item, generation: int) -> Item:
        self.require_fence(item)
        self.set(item.item_id, generation=generation, **_FULL_RESYNC)
        return self.stored[item.item_id]

    def restart_pull(
        self, item: Item, *, from_beginning: bool, reset_at: datetime | None = None, pulled_with: str | None = None
    ) -> Item:
        self.require_fence(item)
        restarts = item.pull_restarts + (0 if item.checkpoint is None else 1)
        self.set(item.item_id, generation=item.generation + 1, checkpoint=None, pull_restarts=restarts)
        if from_beginning:
            self.set(item.item_id, reconcile=True, reconcile_after=None)
        if reset_at is not None:
            self.set(item.item_id, cursor_reset_at=reset_at)
        if pulled_with is not None:
            self.set(item.item_id, pulled_with=pulled_with)
        return self.stored[item.item_id]

    def postpone(self, item: Item, next_attempt: NextAttempt) -> None:
        if self.stored[item.item_id].next_attempt_at == item.next_attempt_at:
            self.plan(item.item_id, next_attempt)

    def record_accounts(self, item: Item, update: AccountsUpdate) -> Item:
        self.require_fence(item)
        require_storable(accounts_update_attributes(item, update))
        self.history.add(update.entry)
        found = ("accounts", "accounts_checked_at", "institution_id")
        fields: dict[str, Any] = {name: getattr(item, name) for name in found}
        fields |= _FULL_RESYNC if update.full_resync else {}
        self.set(
            item.item_id,
            generation=item.generation + 1,
            account_states=update.states,
            pending_checks=update.pending_checks,
            bank_login_ids=update.claim_keys,
            **fields,
        )
        return self.stored[item.item_id]

    def complete_checks(self, item: Item, pending_checks: tuple[PendingCheck, ...]) -> Item:
        self.require_fence(item)
        self.set(item.item_id, generation=item.generation + 1, pending_checks=pending_checks)
        return replace(
            self.stored[item.item_id],
            accounts=item.accounts,
            accounts_checked_at=item.accounts_checked_at,
            institution_id=item.institution_id,
        )

    def record(self, item: Item, update: ItemStateUpdate) -> None:
        if item.removed:
            now = self.stored[item.item_id]
            if not now.removed or now.generation != item.generation or self._removal(item.item_id).completed_at:
                raise SupersededError
        else:
            self.require_fence(item)
        require_storable(state_update_attributes(item.item_id, update))
        if update.entry is not None:
            self.history.add(update.entry)
        status = {} if update.update_status is None else {"update_status": update.update_status}
        reconcile = {"reconcile": True, "reconcile_after": None} if update.reconcile else {}
        self.set(item.item_id, state=update.state, **status, **reconcile)
        self.follow_up(item.item_id, update.follow_up)

    def require_fence(self, item: Item) -> None:
        """Raise `SupersededError` unless the Item's generation is the newest."""
        if not self.is_fenced(item.item_id, item.generation):
            raise SupersededError

    # ---- the rollback of a link

    def exchanged_token(self, item_id: ItemId, link_id: str) -> bytes | None:
        found = self.exchanged.get(item_id)
        if found is None or found.link_id != link_id:
            return None
        return b"" if found.rolls_back else found.access_token

    def begin_rollback(self, item_id: ItemId, exchanged_before: datetime) -> bytes | None:
        found = self.exchanged.get(item_id)
        if found is None or not found.access_token or found.at > exchanged_before:
            return None
        found.rolls_back = True
        return found.access_token

    def record_rolled_back(self, item_id: ItemId) -> None:
        found = self.exchanged.get(item_id)
        if found is not None:
            found.rolls_back, found.access_token, found.next_attempt_at = True, b"", None

    # ---- the removal

    def record_plaid_removed(self, item_id: ItemId) -> None:
        removed_at = self._removal(item_id).plaid_removed_at or self.clock.now()
        self.set(item_id, access_token=b"", removal=replace(self._removal(item_id), plaid_removed_at=removed_at))

    def record_rows_to_erase(self, item_id: ItemId, rows: int) -> int:
        known = self._removal(item_id).rows_to_erase
        recorded = rows if known is None else known
        self.set(item_id, removal=replace(self._removal(item_id), rows_to_erase=recorded))
        return recorded

    def record_removal_completed(self, item: Item, entry: HistoryEntry) -> None:
        removal = self._removal(item.item_id)
        if removal.completed_at is not None:
            return
        if item.removal is None or removal.erase != item.removal.erase:
            raise TransientError("removal_changed")
        self.history.add(entry)
        user = {"client_user_id": None, "institution_id": None} if removal.erase else {}
        dropped = {"account_states": NO_ACCOUNT_STATES, "bank_login_ids": frozenset(), "accounts_checked_at": None}
        dropped |= {"pulled_with": "", "token_exported_at": None}
        reason = removal.reason and replace(removal.reason, note=None if removal.erase else removal.reason.note)
        completed = replace(removal, completed_at=self.clock.now(), reason=reason)
        progress: dict[str, Any] = dict.fromkeys(
            ("cursor", "writing_since", "next_attempt_at", "checkpoint", "failure")
        )
        progress |= {"reconcile": False, "pending_checks": (), "unfinished_attempts": 0, "pull_restarts": 0}
        self.set(item.item_id, removal=completed, accounts=(), **dropped, **progress, **user)

    def _removal(self, item_id: ItemId) -> Removal:
        item = self.stored[item_id]
        if not item.removed or item.removal is None:
            raise TransientError("ConditionalCheckFailedException")
        return item.removal

    # ---- the Items API and linking

    def remove(
        self, item: Item, state: ItemState, entry: HistoryEntry, *, erase: bool, reason: RemovalReason | None = None
    ) -> bool:
        if not self.lives(item.item_id):
            return False
        self.history.add(entry)
        self.mark_removed(item.item_id, state, entry, erase=erase, reason=reason)
        self._raise(item.item_id)
        return True

    def remove_here(self, item: Item, state: ItemState, entry: HistoryEntry, *, erase: bool) -> bool:
        if not self.is_fenced(item.item_id, item.generation):
            return False
        self.history.add(entry)
        self.mark_removed(item.item_id, state, entry, erase=erase)
        removal = replace(self._removal(item.item_id), keeps_at_plaid=True)
        self.set(item.item_id, removal=removal, access_token=b"")
        self._raise(item.item_id)
        return True

    def mark_removed(
        self,
        item_id: ItemId,
        state: ItemState,
        entry: HistoryEntry,
        *,
        erase: bool,
        reason: RemovalReason | None = None,
    ) -> None:
        """Record a requested removal."""
        self.set(item_id, state=state, removal=Removal(entry.at, erase, reason=reason))
        self.plan(item_id, after_request(item_id, entry.at))

    def also_erase_transactions(self, item: Item, entry: HistoryEntry) -> bool:
        now = self.stored.get(item.item_id)
        if now is None or not now.removed or now.removal is None or now.removal.erase:
            return False
        self.history.add(entry)
        removal = replace(now.removal, erase=True, completed_at=None, rows_to_erase=None)
        self.set(item.item_id, removal=removal, unfinished_attempts=0)
        self._raise(item.item_id)
        self.plan(item.item_id, after_request(item.item_id, entry.at))
        return True

    def change(self, item: Item, change: ItemChange, entry: HistoryEntry) -> bool:
        if not self.is_fenced(item.item_id, item.generation):
            return False
        require_storable(change_attributes(item, change))
        fields: dict[str, Any] = {}
        if change.full_resync:
            fields |= _FULL_RESYNC | {"inconclusive_pulls": 0, "pull_restarts": 0}
        if change.check is not None:
            fields["pending_checks"] = merge_checks(item.pending_checks, [change.check])
        changed = {name: getattr(change, name) for name in ("state", "accounts", "account_states")}
        fields |= {name: value for name, value in changed.items() if value is not None}
        return self._change(item.item_id, entry, **fields)

    def record_webhook(self, item: Item, entry: HistoryEntry, *, here: bool) -> bool:
        if not self.is_fenced(item.item_id, item.generation):
            return False
        imported = self.stored[item.item_id].imported
        switched = None if imported is None else replace(imported, switched_at=entry.at if here else None)
        return self._change(item.item_id, entry, imported=switched)

    def begin_token_rotation(self, item: Item, entry: HistoryEntry) -> bool:
        if not self.is_fenced(item.item_id, item.generation):
            return False
        self.history.add(entry)
        self.set(item.item_id, token_rotation_began_at=entry.at, token_exported_at=None)
        self._raise(item.item_id)
        return True

    def finish_token_rotation(
        self, item_id: ItemId, began_at: datetime, access_token: bytes | None, entry: HistoryEntry
    ) -> bool:
        if item_id not in self.stored or self.stored[item_id].token_rotation_began_at != began_at:
            return False
        if access_token is None:
            self.history.add(entry)
            self.set(item_id, token_rotation_began_at=None)
            return True
        return self._change(item_id, entry, token_rotation_began_at=None, access_token=access_token)

    def record_token_export(self, item: Item, entry: HistoryEntry) -> bool:
        if not self.is_fenced(item.item_id, item.generation):
            return False
        self.history.add(entry)
        self.set(item.item_id, token_exported_at=entry.at)
        return True

    def save_bank_status(self, item_id: ItemId, status: BankStatus) -> None:
        if item_id in self.stored:
            self.set(item_id, bank=status)

    def start_refresh(self, item_id: ItemId, now: datetime, min_interval: timedelta) -> datetime | None:
        last = self.refreshed_at.get(item_id)
        if last is not None and last > now - min_interval:
            return last
        if self.lives(item_id):
            self.refreshed_at[item_id] = now
            self.set(item_id, refreshed_at=now)
        return None

    def withdraw_refresh(self, item: Item, started_at: datetime) -> None:
        item_id, before = item.item_id, item.refreshed_at
        if self.refreshed_at.get(item_id) != started_at:
            return
        del self.refreshed_at[item_id]
        if before is not None:
            self.refreshed_at[item_id] = before
        self.set(item_id, refreshed_at=before)

    def _change(self, item_id: ItemId, entry: HistoryEntry, **fields: Any) -> bool:
        self.history.add(entry)
        self.set(item_id, unfinished_attempts=0, **fields)
        self.plan(item_id, after_request(item_id, entry.at))
        self._raise(item_id)
        return True

    def _raise(self, item_id: ItemId) -> None:
        self.set(item_id, generation=self.stored[item_id].generation + 1)

    # ---- the indexes

    def id_by_link(self, link_id: str) -> ItemId | None:
        found = (item.item_id for item in self.stored.values() if item.link_id == link_id)
        return None if self.index_lags else next(found, None)

    def page(
        self, client_user_id: str | None, state: str | None, limit: int, after: dict[str, str] | None
    ) -> tuple[list[Item], dict[str, str] | None]:
        names = ("state", "fresh_at", "item_id") if client_user_id is None else ("client_user_id", "item_id")
        given = {"state": state} if client_user_id is None else {"client_user_id": client_user_id}
        if after is not None and any(value not in {None, after.get(name)} for name, value in given.items()):
            raise InvalidRequestError("next", "send it with the same state and client_user_id")
        keyed = sorted(((_index_key(item, names), item) for item in self.stored.values()), key=lambda pair: pair[0])
        start = None if after is None else tuple(after[name] for name in names)
        found = [
            (key, replace(item, access_token=b""))
            for key, item in keyed
            if client_user_id in {None, item.client_user_id}
            and state in {None, item.state.name}
            and (start is None or key > start)
        ]
        last = dict(zip(names, found[limit - 1][0], strict=True)) if len(found) > limit else None
        return [item for _, item in found[:limit]], last

    def ids(self, state: StateName) -> Iterator[ItemId]:
        return (item.item_id for item in list(self.stored.values()) if item.state.name == state)

    def due(self, attempt_class: AttemptClass, now: datetime) -> Iterator[DueItem]:
        due = [
            DueItem(format_timestamp(item.next_attempt_at), item.item_id, attempt_class)
            for item in self.stored.values()
            if item.next_attempt_at is not None
            and item.next_attempt_at <= now
            and self.classes.get(item.item_id) is attempt_class
        ]
        if attempt_class is AttemptClass.FIRST_SYNC:
            due += [
                DueItem(format_timestamp(found.next_attempt_at), item_id, attempt_class)
                for item_id, found in self.exchanged.items()
                if found.next_attempt_at is not None and found.next_attempt_at <= now
            ]
        return iter(sorted(due))

    def is_due(self, item: DueItem) -> bool:
        known = self.stored[item.item_id].next_attempt_at
        return known is not None and format_timestamp(known) == item.next_attempt_at

    def synced_since(self, since: datetime) -> bool:
        return any(item.synced_at is not None and item.synced_at >= since for item in self.stored.values())


def _index_key(item: Item, names: tuple[str, ...]) -> tuple[str, ...]:
    fresh_at = item.synced_at or item.linked_at
    parts = {
        "state": item.state.name,
        "fresh_at": "" if fresh_at is None else format_timestamp(fresh_at),
        "client_user_id": item.client_user_id or "",
        "item_id": item.item_id,
    }
    return tuple(parts[name] for name in names)
