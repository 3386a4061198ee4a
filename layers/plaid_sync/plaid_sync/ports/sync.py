"""What the sync of an Item needs from the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from plaid_sync.core.items import Cursor, Item, ItemId
    from plaid_sync.core.sync.pages import Page
    from plaid_sync.core.sync.plan import Commit, RowWrite, Verdict
    from plaid_sync.core.sync.quarantine import Part
    from plaid_sync.core.sync.transactions import StoredRow, TransactionId


class SyncItems(Protocol):
    """The Items table as the sync uses it."""

    def load(self, item_id: ItemId) -> Item | None:
        """Return the Item as last committed, or None when it is not registered."""
        ...

    def claim(self, item: Item, attempt_id: str) -> Item:
        """Raise the generation of an Item as it was loaded by one, for this attempt, and return the Item.

        Raises:
            RetryableError: the Item is no longer as it was loaded, or DynamoDB cannot take the write now.
        """
        ...

    def raise_fence(self, item: Item, generation: int) -> None:
        """Raise the generation above that of rows which are newer than their Item, and owe it a full resync.

        Whoever holds the Item by then has nothing to fear: nothing is changed.

        Raises:
            RetryableError: DynamoDB cannot take the write now.
        """
        ...

    def withdraw_accounts(self, item: Item, accounts: Collection[str]) -> None:
        """Record, under the fence, the accounts of which no row is let in any more.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            RetryableError: DynamoDB cannot take the write now.
        """
        ...

    def record(self, item: Item, verdict: Verdict) -> None:
        """Record what an attempt has found that writes no rows, in one transaction with its history entry.

        Args:
            item: the Item as claimed: its generation is the fence.
            verdict: what is recorded.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            RetryableError: DynamoDB cannot take the write now.
        """
        ...


class TransactionTable(Protocol):
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
        self,
        item_id: ItemId,
        generation: int,
        writes: Collection[RowWrite],
        *,
        begin: bool,
        commit: Commit | None,
    ) -> None:
        """Write rows, and the Item's part, in one transaction that holds only while `generation` is newest.

        Args:
            item_id: the Item.
            generation: the fence that the writer holds.
            writes: at most `plan.MAXIMUM_ROWS` rows.
            begin: more transactions follow: mark the Item as being written since `generation`, if unmarked.
            commit: set on the last transaction: moves the cursor and clears the mark.

        Raises:
            SupersededError: a newer attempt holds the Item.
            RowNewerThanItemError: no attempt of the Item can have written one of the rows.
            RetryableError: the Item or a row changed in another way, or DynamoDB cannot take the write now.
        """
        ...


class Quarantine(Protocol):
    """The Quarantine table, written under the Item's fence."""

    def keep(self, item_id: ItemId, generation: int, parts: Collection[Part]) -> None:
        """Keep parts of broken entries in one transaction that holds only while `generation` is newest.

        Keeping a part again changes nothing.

        Args:
            item_id: the Item.
            generation: the fence that the writer holds.
            parts: as many as `plan.cut` allows.

        Raises:
            SupersededError: a newer attempt holds the Item.
            RetryableError: DynamoDB cannot take the write now.
        """
        ...


class PlaidTransactions(Protocol):
    """Plaid's /transactions/sync."""

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:
        """Fetch the page after `cursor` (None: from the beginning).

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid could not be reached, or did not answer as documented.
        """
        ...


class ReceivedMessages(Protocol):
    """What the sync function does with messages beyond acknowledging them."""

    def postpone(self, receipt_handles: Collection[str], seconds: int) -> None:
        """Let the messages come back after so many seconds.

        Raises:
            RetryableError: they come back only when the queue's visibility timeout ends.
        """
        ...

    def renew(self, body: str, group_id: str, message_id: str, attributes: Mapping[str, str]) -> None:
        """Put a copy of a message into the sync queue, whose receives are counted from zero.

        Raises:
            RetryableError: the queue has not accepted it.
        """
        ...

    def park(self, body: str, group_id: str, message_id: str, reason: str, attributes: Mapping[str, str]) -> None:
        """Put a message that can't be worked on into the dead-letter queue, with the reason beside its attributes.

        Raises:
            RetryableError: the queue has not accepted it.
        """
        ...
