"""What the core needs from the outside, as protocols that the adapters fulfil."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from plaid_sync.core.announcing import BusEvent
    from plaid_sync.core.health import ItemHealth
    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Cursor, Item, ItemId
    from plaid_sync.core.pages import Page
    from plaid_sync.core.plan import Commit, RowWrite, Verdict
    from plaid_sync.core.quarantine import Part
    from plaid_sync.core.transactions import StoredRow, TransactionId
    from plaid_sync.core.triggers import SyncTrigger
    from plaid_sync.core.webhook_verification import VerificationKey


class Clock(Protocol):
    """The time now, aware, in UTC."""

    def __call__(self) -> datetime:
        """Return the time."""
        ...


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


class RemovalItems(Protocol):
    """The Items table as the end of an Item uses it. All of it holds only while the Item is removed."""

    def record_plaid_removed(self, item_id: ItemId) -> None:
        """Record that Plaid has let go of the Item, and drop its access token.

        Raises:
            RetryableError: the table cannot take the write now.
        """
        ...

    def record_rows_to_erase(self, item_id: ItemId, rows: int) -> int:
        """Record how many rows there are to erase, unless that is recorded; return what is recorded.

        Raises:
            RetryableError: the table cannot take the write now.
        """
        ...

    def record_removal_completed(self, item: Item, entry: HistoryEntry) -> None:
        """Record that nothing is left to do, in one transaction with the history entry; the second time is harmless.

        Raises:
            RetryableError: the table cannot take the write now, or the wish has become to erase meanwhile.
        """
        ...


class ErasableRows(Protocol):
    """Everything that is stored of an Item's transactions, to be erased."""

    def count(self, item_id: ItemId) -> int:
        """Return how many rows there are, tombstones and quarantined parts included, consistently.

        Raises:
            RetryableError: DynamoDB cannot be asked now.
        """
        ...

    def erase(self, item_id: ItemId, time_left: Callable[[], float]) -> None:
        """Delete them all.

        Raises:
            RetryableError: DynamoDB cannot take the writes now, or time is running out: what is deleted is deleted.
        """
        ...


class BankLogins(Protocol):
    """The claims by which an Item holds its accounts, so that no second Item is linked for them."""

    def release(self, item_id: ItemId, bank_login_ids: Collection[str]) -> None:
        """Release those of a removed Item that it still holds.

        Raises:
            RetryableError: the table cannot take the write now.
        """
        ...


class PlaidItem(Protocol):
    """Plaid's side of one Item, apart from its transactions."""

    def health(self, access_token: str) -> ItemHealth:
        """Return how Plaid says that the Item is (/item/get).

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid could not be reached, or did not answer as documented.
        """
        ...

    def remove(self, access_token: str) -> None:
        """Remove the Item at Plaid, which ends its billing. Removing a removed Item succeeds.

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid could not be reached.
        """
        ...


class TokenDecryptor(Protocol):
    """Opens access tokens."""

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:
        """Return the access token of the Item.

        Raises:
            RetryableError: the key cannot be used now.
        """
        ...


class TokenEncryptor(Protocol):
    """Seals access tokens."""

    def encrypt(self, item_id: ItemId, access_token: str) -> bytes:
        """Return the ciphertext, bound to the Item.

        Raises:
            RetryableError: the key cannot be used now.
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


class SyncQueue(Protocol):
    """The one queue through which every sync is triggered."""

    def send(self, trigger: SyncTrigger, deduplication_id: str) -> None:
        """Enqueue; returns only after the queue has accepted the message.

        Raises:
            RetryableError: it has not.
        """
        ...


class History(Protocol):
    """The history of Items, for what is no part of another transaction."""

    def add(self, entry: HistoryEntry) -> None:
        """Add an entry; adding it again changes nothing.

        Raises:
            RetryableError: the table cannot take the write now.
        """
        ...


class EventBus(Protocol):
    """Where applications listen."""

    def tell(self, events: Sequence[BusEvent]) -> None:
        """Publish all of the events, or raise: then some may be published, and will be again.

        Raises:
            RetryableError: the bus has not taken all of them.
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

    def renew(self, body: str, group_id: str, message_id: str) -> None:
        """Put a copy of a message into the sync queue, whose receives are counted from zero.

        Raises:
            RetryableError: the queue has not accepted it.
        """
        ...

    def park(self, body: str, group_id: str, message_id: str, reason: str) -> None:
        """Put a message that can't be worked on into the dead-letter queue, with the reason.

        Raises:
            RetryableError: the queue has not accepted it.
        """
        ...


class VerificationKeyApi(Protocol):
    """Plaid's /webhook_verification_key/get."""

    def fetch(self, key_id: str) -> VerificationKey | None:
        """Return the key, or None when Plaid knows none of that id.

        Raises:
            RetryableError: Plaid could not be asked.
        """
        ...
