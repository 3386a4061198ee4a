"""What the core needs from the outside, as protocols that the adapters fulfil."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from plaid_sync.core.items import Cursor, Item, ItemId, ItemStatus
    from plaid_sync.core.linking import ExchangedItem, NewItem
    from plaid_sync.core.pages import Page
    from plaid_sync.core.plan import Commit, RowWrite
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

    def record_trouble(self, item_id: ItemId, generation: int, status: ItemStatus, code: str) -> None:
        """Record why the Item cannot be synced.

        Raises:
            SupersededError: a newer attempt holds the Item.
        """
        ...

    def record_not_ready(self, item_id: ItemId, generation: int, update_status: str) -> None:
        """Record that Plaid has no data yet: the first call is made, so its webhooks are armed.

        Raises:
            SupersededError: a newer attempt holds the Item.
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


class PlaidLink(Protocol):
    """Plaid's side of linking an Item."""

    def exchange(self, public_token: str) -> ExchangedItem:
        """Exchange a public token, which works once, for an Item and its access token.

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid could not be reached; whether the exchange happened is unknown.
        """
        ...

    def remove(self, access_token: str) -> None:
        """Remove the Item at Plaid, which ends its billing. Removing a removed Item succeeds.

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid could not be reached.
        """
        ...


class LinkItems(Protocol):
    """The Items table as linking uses it."""

    def register(self, item: NewItem) -> None:
        """Store a linked Item; storing it again changes nothing that a sync has written.

        Raises:
            RetryableError: the table cannot take the write now.
        """
        ...

    def adopt(self, link_id: str) -> ItemId | None:
        """Return the Item that the public token with this digest was exchanged for, if it is stored.

        From then on `forget` lets it be: two requests rely on it.
        """
        ...

    def forget(self, item_id: ItemId, link_id: str) -> bool:
        """Delete an Item that this link registered and nobody has used since; tell whether none is left.

        Raises:
            RetryableError: the table cannot take the write now.
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


class ReceivedMessages(Protocol):
    """What the sync function does with messages beyond acknowledging them."""

    def postpone(self, receipt_handles: Collection[str], seconds: int) -> None:
        """Let the messages come back after so many seconds.

        Raises:
            RetryableError: they come back only when the queue's visibility timeout ends.
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
