"""Ports of the sync, and the types that they exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import Account, Cursor, Item, ItemHealth, ItemId, ItemState
    from plaid_sync.domain.transaction import RowWrite, StoredRow, TransactionId
    from plaid_sync.sync.quarantine import Part


@dataclass(frozen=True, slots=True)
class Commit:
    """The Item's part of the last transaction of an update.

    Attributes:
        expected_cursor: the stored cursor that the update started from; the commit holds only while it is stored.
        cursor: Plaid's cursor at the end of the update.
        reconcile: a full resync is still pending after this update.
        update_status: Plaid's `transactions_update_status`.
        pull_began_at: every message sent (well) before this is covered.
        state: the Item's state afterwards.
        accounts: its accounts as last seen, without those that the user withdrew.
        revoked_accounts: accounts of which no row is kept.
    """

    expected_cursor: Cursor | None
    cursor: Cursor
    reconcile: bool
    update_status: str
    pull_began_at: datetime
    committed_at: datetime
    state: ItemState
    entry: HistoryEntry
    accounts: tuple[Account, ...] = ()
    revoked_accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ItemStateUpdate:
    """What an attempt that writes no rows records on its Item.

    Attributes:
        update_status: Plaid's `transactions_update_status`; None where there was no response.
    """

    state: ItemState
    entry: HistoryEntry
    revoked_accounts: frozenset[str] = frozenset()
    update_status: str | None = None


class SyncItems(Protocol):
    """The Items table as the sync uses it."""

    def load(self, item_id: ItemId) -> Item | None:
        """Return the Item as last committed, or None when it is not registered."""
        ...

    def claim(self, item: Item, attempt_id: str) -> Item:
        """Raise the generation of an Item as it was loaded by one, for this attempt, and return the Item.

        Raises:
            TransientError: the Item was modified concurrently, or DynamoDB cannot accept the write now.
        """
        ...

    def raise_generation(self, item: Item, generation: int) -> None:
        """Raise the generation above that of rows that are newer than their Item, and request a full resync.

        Does nothing if a newer attempt holds the Item.

        Raises:
            TransientError: DynamoDB cannot accept the write now.
        """
        ...

    def revoke_accounts(self, item: Item, accounts: Collection[str]) -> None:
        """Record, under the fence, the accounts of which no row is accepted any more.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: DynamoDB cannot accept the write now.
        """
        ...

    def record(self, item: Item, update: ItemStateUpdate) -> None:
        """Record the result of an attempt that writes no rows, in one transaction with its history entry.

        Args:
            item: the Item as claimed: its generation is the fence.
            update: what is recorded.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: DynamoDB cannot accept the write now.
        """
        ...


class TransactionsStore(Protocol):
    """The Transactions table, written under the Item's fence."""

    def rows(self, item_id: ItemId, ids: Collection[TransactionId]) -> Mapping[TransactionId, StoredRow]:
        """Return those of the rows that exist, with their content, consistently."""
        ...

    def scan_item(self, item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        """Iterate over the Item's rows of generation `since` and later, consistently, without their content.

        Tombstones are among them.
        """
        ...

    def write(
        self, item_id: ItemId, generation: int, writes: Collection[RowWrite], *, begin: bool, commit: Commit | None
    ) -> None:
        """Write rows, and the Item's part, in one transaction that holds only while `generation` is newest.

        Args:
            item_id: the Item.
            generation: the fence that the writer holds.
            writes: at most `planner.MAX_ROWS` rows.
            begin: more transactions follow: mark the Item as being written since `generation`, if unmarked.
            commit: set on the last transaction: moves the cursor and clears the mark.

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

    def finish(self, item: Item, deadline: Deadline, causes: tuple[str, ...]) -> int:
        """Do what is left of a removal; return how many rows were erased.

        Raises:
            PlaidError: Plaid does not remove the Item.
            TransientError: a transient failure, or time is running out.
        """
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


class ReceivedMessages(Protocol):
    """What the sync function does with messages beyond acknowledging them."""

    def change_visibility(self, receipt_handles: Collection[str], seconds: int) -> None:
        """Make the messages visible again after so many seconds.

        Raises:
            TransientError: they return only when the queue's visibility timeout ends.
        """
        ...

    def requeue(self, body: str, group_id: str, message_id: str, attributes: Mapping[str, str]) -> None:
        """Send a copy of a message, whose receive count starts at zero.

        Raises:
            TransientError: the queue has not accepted it.
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
