"""Ports of the sync, and the types that they exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from plaid_sync.domain.ports import TokenDecryptor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from plaid_sync.domain.accounts import Account, AccountStates
    from plaid_sync.domain.budget import CallClass
    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import (
        AccountList,
        Checkpoint,
        Cursor,
        Item,
        ItemFailure,
        ItemHealth,
        ItemId,
        ItemState,
        PendingCheck,
    )
    from plaid_sync.domain.schedule import NextAttempt
    from plaid_sync.domain.transaction import RowWrite, StoredRow, TransactionId
    from plaid_sync.sync.quarantine import Part


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim records on the Item.

    Attributes:
        attempt_id: identifies the attempt, should the call be repeated; a later one's is greater, by their clocks.
        next_attempt: when the Item is attempted again if this attempt has no outcome.
        repeated: the same invocation claims it again: it does not count as another unfinished attempt.
        webhook_at: when the newest webhook of the attempt was accepted; None without one.
    """

    attempt_id: str
    next_attempt: NextAttempt
    repeated: bool = False
    webhook_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An Item as an attempt finds it.

    Attributes:
        item: None when it is not registered.
        claimed: the attempt has claimed it already.
    """

    item: Item | None
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What an Item remembers about its next attempt once an attempt has an outcome.

    Attributes:
        failure: set where the attempt failed and is retried.
        pending_checks: what no attempt has processed yet.
    """

    next_attempt: NextAttempt
    failure: ItemFailure | None = None
    pending_checks: tuple[PendingCheck, ...] = ()


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What is pending of a full resync after an update.

    Attributes:
        pending: it is still pending.
        after: when it may begin; None: with the next attempt.
        inconclusive_pulls: how many full resyncs ended without a complete history.
        history_complete: whether Plaid has reported the history as complete once.
    """

    pending: bool = False
    after: datetime | None = None
    inconclusive_pulls: int = 0
    history_complete: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """The Item's part of the last transaction of an update.

    Attributes:
        expected_cursor: the stored cursor that the update started from; the commit holds only while it is stored.
        cursor: Plaid's cursor at the end of the update.
        update_status: Plaid's `transactions_update_status`.
        pull_began_at: every message sent (well) before this is covered.
        state: the Item's state afterwards.
        entry: its history entry; None where nothing has changed.
        accounts: its accounts as last seen.
        accounts_checked_at: when they were last compared with /accounts/get.
        pulled_with: the options that its rows are pulled with.
    """

    expected_cursor: Cursor | None
    cursor: Cursor
    update_status: str
    pull_began_at: datetime
    committed_at: datetime
    state: ItemState
    entry: HistoryEntry | None
    follow_up: FollowUp
    reconciliation: Reconciliation
    accounts: tuple[Account, ...] = ()
    accounts_checked_at: datetime | None = None
    pulled_with: str = ""


@dataclass(frozen=True, slots=True)
class AccountsUpdate:
    """What an attempt concluded about an Item's accounts, beside the accounts themselves, which the Item has.

    Attributes:
        states: the accounts that are not simply listed.
        pending_checks: the Item's, and those for the rows of the accounts whose state changed.
        claim_keys: the account claims that the Item holds.
        full_resync: a full resync is pending from now on, and begins at once.
        entry: its history entry.
    """

    states: AccountStates
    pending_checks: tuple[PendingCheck, ...]
    claim_keys: frozenset[str]
    full_resync: bool
    entry: HistoryEntry


@dataclass(frozen=True, slots=True)
class ItemStateUpdate:
    """What an attempt that does not complete an update records on its Item.

    Attributes:
        entry: the history entry; None where an earlier one says the same.
        update_status: Plaid's `transactions_update_status`; None where there was no response.
        reconcile: a full resync is pending, too.
    """

    state: ItemState
    follow_up: FollowUp
    entry: HistoryEntry | None
    update_status: str | None = None
    reconcile: bool = False


class SyncItems(Protocol):
    """The Items table as the sync uses it."""

    def load(self, item_id: ItemId) -> Item | None:
        """Return the Item as last committed, or None when it is not registered."""
        ...

    def find(self, item_id: ItemId, claim: Claim, covered_after: datetime) -> FoundItem:
        """Claim an Item in one call, where nothing has to be decided before; else return it as it is.

        It is not claimed if it is removed or in a state of a newer version, if an attempt that began later holds it,
        or if a pull is committed that began after `covered_after`: then it may be covered.

        Raises:
            TransientError: DynamoDB cannot accept the write now.
        """
        ...

    def claim(self, item: Item, claim: Claim) -> Item:
        """Raise the generation of an Item as it was loaded by one, for this attempt, and return the Item.

        The Item remembers its next attempt and its `pending_checks` from now on: a worker that dies loses nothing.

        Args:
            item: as loaded, with the checks that the attempt's messages request.
            claim: the rest.

        Raises:
            TransientError: the Item was modified concurrently, or DynamoDB cannot accept the write now.
        """
        ...

    def postpone(self, item: Item, next_attempt: NextAttempt) -> None:
        """Set the next attempt of an Item, unless a concurrent write has set it.

        Raises:
            TransientError: DynamoDB cannot accept the write now.
        """
        ...

    def raise_generation(self, item: Item, generation: int) -> Item:
        """Raise the generation to that of rows that are newer than their Item, and request a full resync.

        The next claim is above them. Return the Item.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: DynamoDB cannot accept the write now.
        """
        ...

    def restart_pull(
        self, item: Item, *, from_beginning: bool, reset_at: datetime | None = None, pulled_with: str | None = None
    ) -> Item:
        """Drop the checkpoint of an attempt's pull, and raise its generation by one; return the Item.

        Args:
            item: the Item as claimed.
            from_beginning: a full resync is pending from now on, and begins at once.
            reset_at: set where Plaid refuses the stored cursor.
            pulled_with: the options that the Item's rows are pulled with from now on; None for the same.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: DynamoDB cannot accept the write now.
        """
        ...

    def record_accounts(self, item: Item, update: AccountsUpdate) -> Item:
        """Record what was concluded about accounts, in one transaction with its history entry; return the Item.

        The generation is raised by one.

        Args:
            item: as claimed, with its accounts, the time of the comparison and its institution as they are now.
            update: the rest.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: DynamoDB cannot accept the write now.
        """
        ...

    def complete_checks(self, item: Item, pending_checks: tuple[PendingCheck, ...]) -> Item:
        """Record the checks that are left, and raise the generation by one; return the Item.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: DynamoDB cannot accept the write now.
        """
        ...

    def record(self, item: Item, update: ItemStateUpdate) -> None:
        """Record the outcome of an attempt that does not complete an update, in one transaction with its history entry.

        Args:
            item: the Item as claimed, or a removed Item as loaded: its generation is the fence.
            update: what is recorded.

        Raises:
            SupersededError: a newer attempt holds the Item, or its state changed.
            TransientError: DynamoDB cannot accept the write now.
        """
        ...


class TransactionsStore(Protocol):
    """The Transactions table, written under the Item's fence."""

    def rows(
        self, item_id: ItemId, ids: Collection[TransactionId], deadline: Deadline
    ) -> Mapping[TransactionId, StoredRow]:
        """Return those of the rows that exist, with their content, consistently.

        Raises:
            TransientError: DynamoDB cannot be read now, or time is running out.
        """
        ...

    def scan_item(self, item_id: ItemId, deadline: Deadline, since: int = 0) -> Iterator[StoredRow]:
        """Iterate over the Item's rows of generation `since` and later, consistently, without their content.

        Tombstones are among them.

        Raises:
            TransientError: DynamoDB cannot be read now, or time is running out.
        """
        ...

    def write(
        self,
        item_id: ItemId,
        generation: int,
        writes: Collection[RowWrite],
        *,
        begin: bool,
        end: Commit | Checkpoint | None = None,
    ) -> None:
        """Write rows, and the Item's part, in one transaction that holds only while `generation` is newest.

        Args:
            item_id: the Item.
            generation: the fence that the writer holds.
            writes: at most `planner.MAX_ROWS` rows.
            begin: other transactions follow: mark the Item as being written since `generation`, if unmarked.
            end: set on the last transaction. A commit moves the cursor and clears the mark; a checkpoint records how
                far the pull is, and raises the generation by one.

        Raises:
            SupersededError: a newer attempt holds the Item.
            RowNewerThanItemError: a row is of a later generation than its Item.
            TransientError: the Item or a row changed in another way, or DynamoDB cannot accept the write now.
        """
        ...


class Quarantine(Protocol):
    """The Quarantine table, written under the Item's fence."""

    def keep(self, item_id: ItemId, generation: int, parts: Collection[Part]) -> None:
        """Keep parts of invalid entries in one transaction that holds only while `generation` is newest; idempotent.

        Args:
            item_id: the Item.
            generation: the fence that the writer holds.
            parts: as many as `planner.split` allows.

        Raises:
            SupersededError: a newer attempt holds the Item.
            TransientError: DynamoDB cannot accept the write now.
        """
        ...


class Removals(Protocol):
    """The removal of Items (`plaid_sync.removal`)."""

    def roll_back(self, item_id: ItemId) -> bool:
        """Remove an Item at Plaid that a link left unregistered; return whether there was one.

        Raises:
            PlaidError: Plaid does not remove the Item.
            TransientError: a transient failure.
        """
        ...

    def finish(self, item: Item, deadline: Deadline, causes: tuple[str, ...]) -> int:
        """Do what is left of a removal; return how many rows were erased.

        Raises:
            PlaidError: Plaid does not remove the Item.
            TransientError: a transient failure, or time is running out.
        """
        ...


class AccountClaims(Protocol):
    """The claims by which an Item holds its accounts, so that no second Item is linked for them."""

    def take(self, item: Item, keys: Collection[str]) -> frozenset[str]:
        """Take those of the claims that are free; return those that the Item holds now; idempotent.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...

    def release(self, item_id: ItemId, bank_login_ids: Collection[str]) -> None:
        """Release those that the Item still holds.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...


class AccessTokens(TokenDecryptor, Protocol):
    """Decrypts access tokens, and may keep them for some minutes."""

    def forget(self, item_id: ItemId) -> None:
        """Keep the token no longer: an attempt failed with it."""
        ...


class PlaidHealth(Protocol):
    """Plaid's /item/get."""

    def health(self, access_token: str) -> ItemHealth:
        """Return Plaid's report about the Item.

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable, or did not respond as documented.
        """
        ...


class PlaidAccounts(PlaidHealth, Protocol):
    """Plaid's /accounts/get, and /item/get."""

    def accounts(self, access_token: str) -> AccountList:
        """Return the Item's accounts, and Plaid's report about the Item.

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable, or did not respond as documented.
        """
        ...


class ClassifiedCalls(Protocol):
    """The call budget of this process (`domain.budget`).

    Attributes:
        call_class: what its next calls are for.
    """

    call_class: CallClass


class AttemptAnswers(Protocol):
    """Requests for attempts, which webhooks left whose messages the queue refused."""

    def answer(self, item_id: ItemId) -> None:
        """Delete the request: a message is there now, and what was requested before its attempt is covered.

        Raises:
            TransientError: the table cannot accept the write now; the sweep sends another message.
        """
        ...


class ReceivedMessages(Protocol):
    """What the sync function does with the messages of its batch while it runs."""

    def change_visibility(self, receipt_handles: Collection[str], seconds: int) -> list[str]:
        """Hide the messages for so many seconds from now on (0: return them); return those for which that failed.

        Does not raise: a message whose visibility cannot be changed returns when its visibility timeout ends.
        """
        ...

    def delete(self, receipt_handles: Collection[str]) -> list[str]:
        """Delete messages before the batch ends; return those for which that failed.

        Does not raise: what is not deleted now is deleted at the end of the batch.
        """
        ...

    def dead_letter(
        self, body: str, group_id: str, message_id: str, reason: str, attributes: Mapping[str, str]
    ) -> None:
        """Send a message that cannot be processed to the dead-letter queue, with the reason beside its attributes.

        Raises:
            TransientError: the queue has not accepted it.
        """
        ...
