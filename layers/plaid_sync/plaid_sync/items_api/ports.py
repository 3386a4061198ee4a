"""Ports of the Items API. Those of link sessions are shapes, not types: this package does not import `linking`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from plaid_sync.domain.ports import TokenDecryptor, TokenEncryptor

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime, timedelta

    from plaid_sync.domain.accounts import Account, AccountStates
    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import (
        AccountList,
        BankStatus,
        Item,
        ItemHealth,
        ItemId,
        ItemState,
        PendingCheck,
        RemovalReason,
    )
    from plaid_sync.items_api.transaction_query import Order, TransactionFilter

PageKey = dict[str, str]
"""The key of a page's last entry: the next page begins after it."""


@dataclass(frozen=True, slots=True)
class ItemChange:
    """What a request changes about an Item; None: nothing of that kind.

    Attributes:
        check: what the next attempt has to do beyond a sync.
        full_resync: the next attempt pulls from the beginning.
    """

    state: ItemState | None = None
    accounts: tuple[Account, ...] | None = None
    account_states: AccountStates | None = None
    check: PendingCheck | None = None
    full_resync: bool = False


@dataclass(frozen=True, slots=True)
class RotatedToken:
    """The access token that replaced another one.

    Attributes:
        request_id: Plaid's id of the call; empty where there was none.
    """

    access_token: str = field(repr=False)
    request_id: str = ""


class PlaidItemCalls(Protocol):
    """Plaid's endpoints about one Item, apart from its transactions. All raise `PlaidError` and `TransientError`."""

    def health(self, access_token: str, seconds: float) -> ItemHealth:
        """Return Plaid's report about the Item, within so many seconds."""
        ...

    def accounts(self, access_token: str) -> AccountList:
        """Return the Item's accounts."""
        ...

    def refresh(self, access_token: str) -> str:
        """Request that Plaid fetches new transactions from the bank; return Plaid's id of the call."""
        ...

    def invalidate_access_token(self, access_token: str) -> RotatedToken:
        """Replace the access token; the old one is dead at once.

        Raises:
            OutcomeUnknownError: Plaid's response is lost: whether the token was replaced is unknown.
        """
        ...

    def set_webhook(self, access_token: str, url: str | None) -> str:
        """Change the URL of the Item's webhooks, None for no webhooks; return Plaid's id of the call."""
        ...


@dataclass(frozen=True, slots=True)
class PlaidResponse:
    """A response of Plaid's, as it is passed through.

    Attributes:
        status: the HTTP status.
        request_id: Plaid's id of the call; empty where there was none.
        code: Plaid's error code, or `HTTP_<status>` where an error has none; None for a success.
        retry_after: the header of that name; empty where there was none.
        age_seconds: how long ago Plaid sent it, if it was stored since.
    """

    status: int
    body: bytes = field(repr=False)
    content_type: str
    request_id: str = ""
    code: str | None = None
    retry_after: str = ""
    age_seconds: int | None = None


class PlaidEndpoints(Protocol):
    """Plaid's endpoints of other products."""

    def call(self, endpoint: str, access_token: str, request: dict[str, Any]) -> PlaidResponse:
        """Call an endpoint with the fields of its request, and the token; a refusal is a response, too.

        Raises:
            TransientError: Plaid did not respond.
        """
        ...


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A stored response.

    Attributes:
        digest: of what it depends on.
        invalidation: the number of the last one before Plaid was called.
        fetched_at: when Plaid was called.
    """

    digest: str
    invalidation: int
    fetched_at: datetime
    response: PlaidResponse


class ResponseCache(Protocol):
    """Stored responses, one for each Item. All raise `TransientError`."""

    def look_up(self, item_id: ItemId) -> tuple[int, CachedResponse | None]:
        """Return the number of the last invalidation, and the stored response, if it is readable; consistently.

        No two invalidations have the same number; 0 where there was none for days.
        """
        ...

    def store(self, item_id: ItemId, entry: CachedResponse, until: datetime) -> None:
        """Store a response in place of the Item's last one, unless it is too large."""
        ...


class ApiItems(Protocol):
    """The Items table as the API changes it, with a history entry for each change. All raise `TransientError`."""

    def load(self, item_id: ItemId) -> Item | None:
        """Return an Item, consistently; None where there is none."""
        ...

    def remove(
        self, item: Item, state: ItemState, entry: HistoryEntry, *, erase: bool, reason: RemovalReason | None = None
    ) -> bool:
        """Mark an Item removed; return False where it is removed already, or gone: load it again."""
        ...

    def remove_here(self, item: Item, state: ItemState, entry: HistoryEntry, *, erase: bool) -> bool:
        """Mark an Item removed that lives on at Plaid, and drop its token; return False where it was modified since."""
        ...

    def also_erase_transactions(self, item: Item, entry: HistoryEntry) -> bool:
        """Erase the rows of a removed Item that kept them; return False where it was modified since it was loaded."""
        ...

    def change(self, item: Item, change: ItemChange, entry: HistoryEntry) -> bool:
        """Change an Item, and supersede its attempts; return False where it was modified since it was loaded."""
        ...

    def record_webhook(self, item: Item, entry: HistoryEntry, *, here: bool) -> bool:
        """Record whether Plaid sends the Item's webhooks to this stack; return False where it was modified since.

        Supersede its attempts: they may have read what a webhook to the other URL then reported.
        """
        ...

    def begin_token_rotation(self, item: Item, entry: HistoryEntry) -> bool:
        """Record that the access token is about to be replaced; return False where the Item was modified since."""
        ...

    def finish_token_rotation(
        self, item_id: ItemId, began_at: datetime, access_token: bytes | None, entry: HistoryEntry
    ) -> bool:
        """Store the new access token of the rotation that began then, and supersede the Item's attempts.

        Without one, the old token is still valid. Return False where that rotation is completed, or another one began.
        """
        ...

    def record_token_export(self, item: Item, entry: HistoryEntry) -> bool:
        """Record that the access token is given out; return False where the Item was modified since it was loaded."""
        ...

    def save_bank_status(self, item_id: ItemId, status: BankStatus) -> None:
        """Store Plaid's connection to the bank, without history; does nothing where there is no Item."""
        ...

    def start_refresh(self, item_id: ItemId, now: datetime, min_interval: timedelta) -> datetime | None:
        """Record a refresh, if the last one is at least `min_interval` ago; otherwise return when that was."""
        ...

    def withdraw_refresh(self, item: Item, started_at: datetime) -> None:
        """Forget a refresh that was recorded then, and never requested: the last one is that of the Item as loaded."""
        ...


class TokenCipher(TokenDecryptor, TokenEncryptor, Protocol):
    """Encrypts and decrypts access tokens."""


class RecipientCipher(Protocol):
    """Encrypts to a public key that a caller gives."""

    def encrypt(self, text: str, recipient: str) -> str:
        """Return a text that only the holder of the recipient's private key can decrypt.

        Raises:
            InvalidRequestError: `recipient` is no public key.
        """
        ...


class ItemLists(Protocol):
    """The indexes of the Items table."""

    def page(
        self, client_user_id: str | None, state: str | None, limit: int, after: PageKey | None
    ) -> tuple[list[Item], PageKey | None]:
        """Return up to `limit` Items, filtered by user and state where given, and where the page ends.

        Raises:
            InvalidRequestError: `after` is no key of this list.
            TransientError: the table cannot be read now.
        """
        ...


class HistoryStore(Protocol):
    """The history of Items. Both raise `TransientError`."""

    def add(self, entry: HistoryEntry) -> None:
        """Add an entry; idempotent."""
        ...

    def page(self, item_id: ItemId, limit: int, after: str | None = None) -> tuple[list[HistoryEntry], str | None]:
        """Return up to `limit` entries, newest first, and where the page ends."""
        ...


@dataclass(frozen=True, slots=True)
class RowSelection:
    """Which live transactions a list has, and in which order.

    Attributes:
        account_ids: the accounts; None for all, which only the order by id has.
        newer_than: only rows of later generations.
        not_newer_than: only rows up to this generation.
    """

    order: Order
    filter: TransactionFilter
    account_ids: Collection[str] | None = None
    newer_than: int | None = None
    not_newer_than: int | None = None


@dataclass(frozen=True, slots=True)
class ListedPage:
    """A page of transactions.

    Attributes:
        documents: Plaid's whole objects by their ids; None for one whose row another program damaged.
        end: the key of the last row that was read, if more may follow.
        left_out: whether there were rows of later generations than selected.
    """

    documents: dict[str, dict[str, Any] | None]
    end: str | None = None
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class ListedRow:
    """One row.

    Attributes:
        document: Plaid's whole object; None where its content is erased, was never known, or is damaged.
        removed_at: when the transaction was removed, in ISO 8601; None while it is live.
        damaged: whether another program damaged the content.
        annotations: the application's own.
        posted_transaction_id: the row that named this one as its pending transaction, where that is known.
    """

    document: dict[str, Any] | None
    removed_at: str | None = None
    damaged: bool = False
    annotations: dict[str, Any] = field(default_factory=dict)
    posted_transaction_id: str | None = None


class TransactionPages(Protocol):
    """An Item's transactions. All raise `TransientError`."""

    def page(self, item_id: ItemId, selection: RowSelection, limit: int, after: str) -> ListedPage:
        """Return up to `limit` transactions after a key; an empty one is before all."""
        ...

    def row(self, item_id: ItemId, transaction_id: str) -> ListedRow | None:
        """Return a live or removed transaction, consistently; None where there is none."""
        ...

    def count(self, item_id: ItemId) -> tuple[int, bool]:
        """Return how many there are, and whether all were counted."""
        ...


class UpdateMode(Protocol):
    """An update mode that the application reports as finished."""

    @property
    def began_after(self) -> datetime | None:
        """When its link token was created; None where that is unknown."""
        ...

    @property
    def finished_at(self) -> datetime | None:
        """When the user finished it; None where Plaid does not list that."""
        ...

    @property
    def request_id(self) -> str:
        """Plaid's id of the call; empty where there was none."""
        ...


class UpdateModeSessions(Protocol):
    """Link sessions of update mode."""

    def update_mode(self, link_token: str, item_id: ItemId) -> UpdateMode:
        """Return the update mode of an Item that a link token opened.

        Raises:
            RefusedError: there is no such session, it is another Item's, or Plaid lists that it is not finished.
            PlaidError: Plaid refused.
            TransientError: it cannot be read now.
        """
        ...


class CreatedLinkToken(Protocol):
    """A link token, as its response shows it."""

    @property
    def link_token(self) -> str:
        """The token, which opens Link."""
        ...

    @property
    def expiration(self) -> datetime | None:
        """When it expires; None where that is unreadable."""
        ...

    @property
    def hosted_link_url(self) -> str | None:
        """Where Plaid hosts Link, if that was requested."""
        ...


class ImportReport(Protocol):
    """What an import of an Item did, or would do."""

    @property
    def item_id(self) -> ItemId:
        """The Item."""
        ...

    @property
    def is_new(self) -> bool:
        """Whether this request completed the import."""
        ...

    @property
    def document(self) -> dict[str, Any]:
        """The report, as its response shows it."""
        ...


ERASED_KINDS: Final = ("items", "rows", "history", "links")
"""What the receipt of an erased user counts: rows are transactions, tombstones and quarantined entries."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The erasure of a user, as it is recorded.

    Attributes:
        in_progress: whether it is not completed: no link of the user is stored.
        item_ids: the user's Items, until it is completed.
        requested_at: when it began; None where none ever did.
        settles_at: when no write can arrive any more that began before; None while something is left.
        erased_at: when it was completed; None where none was, or it is in progress.
        counts: what was erased, by `ERASED_KINDS`.
    """

    in_progress: bool
    item_ids: frozenset[ItemId]
    requested_at: datetime | None
    settles_at: datetime | None
    erased_at: datetime | None
    counts: Mapping[str, int]


class UserRecords(Protocol):
    """Everything that is stored of a user. All raise `TransientError`, also where time is running out.

    What is erased is counted once, in the user's receipt. All can be repeated.
    """

    def load(self, client_user_id: str) -> Erasure | None:
        """Return a user's Items and erasure, consistently; None where there are none."""
        ...

    def begin(self, client_user_id: str) -> None:
        """Begin an erasure: from now on no link of the user is stored."""
        ...

    def add_items(self, client_user_id: str, item_ids: Collection[ItemId]) -> None:
        """Remember Items until the erasure is completed."""
        ...

    def settle(self, client_user_id: str, until: datetime) -> None:
        """Record when no write can arrive any more that began before, unless that is recorded."""
        ...

    def complete(self, client_user_id: str) -> None:
        """Complete an erasure: forget the Items, and keep the receipt for 90 days."""
        ...

    def item_ids(self, client_user_id: str) -> frozenset[ItemId]:
        """Return the Items that indexes and links name, those of unfinished links included."""
        ...

    def exists(self, client_user_id: str) -> bool:
        """Return whether anything is stored of the user; the last moments may be missing."""
        ...

    def is_exchanged(self, item_id: ItemId) -> bool:
        """Return whether a link left an Item at Plaid that is neither registered nor rolled back yet."""
        ...

    def rows_left(self, item_id: ItemId) -> int:
        """Return how many transactions and quarantined entries there are of an Item."""
        ...

    def erase_links(self, client_user_id: str, item_ids: Collection[ItemId], deadline: Deadline) -> int:
        """Erase link sessions, links, account claims and registration blocks; return how many."""
        ...

    def erase_history(self, client_user_id: str, item_ids: Collection[ItemId], deadline: Deadline) -> int:
        """Erase the history of Items, and the user's webhooks that are about none; return how many entries."""
        ...

    def erase_shared(self, item_ids: Collection[ItemId], deadline: Deadline) -> int:
        """Erase what the functions share about Items, and keep for a day; return how many rows, which do not count."""
        ...

    def erase_item(self, client_user_id: str, item_id: ItemId, item: Item | None) -> int:
        """Erase an Item whose removal is completed, or that was rolled back (None); return whether there was one."""
        ...
