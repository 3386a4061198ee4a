"""What the life of an Item needs from the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Item, ItemId, ItemStatus
    from plaid_sync.core.lifecycle.announcing import BusEvent
    from plaid_sync.core.lifecycle.health import ItemHealth
    from plaid_sync.core.lifecycle.sweeping import DueItem


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


class SweptItems(Protocol):
    """The Items table as the sweep uses it. Both raise `RetryableError`."""

    def due(self, status: ItemStatus, now: datetime, limit: int) -> Sequence[DueItem]:
        """Return up to `limit` Items in a state that are due, the longest due first."""
        ...

    def put_off(self, item: DueItem, until: datetime) -> None:
        """Let an Item be due later, unless somebody else has said when, meanwhile."""
        ...


class ItemGauges(Protocol):
    """How the Items are, in numbers; the last moments may be missing. All raise `RetryableError`."""

    def counts(self) -> dict[ItemStatus, int]:
        """Return how many Items there are in each state."""
        ...

    def stalest_success(self) -> datetime | None:
        """Return when the stalest of the active and expiring Items was last synced, or linked; None without any.

        One that was in trouble and has just been repaired counts from then: its first sync is on its way.
        """
        ...

    def removals_unfinished(self) -> int:
        """Return of how many removed Items something is left to do."""
        ...

    def quarantined_rows(self) -> int:
        """Return how many rows are in quarantine, as far as they can be counted at once."""
        ...


class WaitingTriggers(Protocol):
    """The length of the sync queue."""

    def __call__(self) -> int:
        """Return about how many messages can be received now.

        Raises:
            RetryableError: the queue can't be reached.
        """
        ...
