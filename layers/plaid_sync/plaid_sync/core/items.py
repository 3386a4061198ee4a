"""An Item: one bank connection, as the Items table keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

if TYPE_CHECKING:
    from datetime import datetime

ItemId = NewType("ItemId", str)
Cursor = NewType("Cursor", str)

MAXIMUM_HISTORY_DAYS: Final = 730
"""Most history that Plaid gives (https://plaid.com/docs/api/products/transactions/)."""


class ItemStatus(StrEnum):
    """Whether an Item is synced, and if not, who can change that (docs/items.md)."""

    ACTIVE = "active"
    """Nothing is wrong."""
    EXPIRING = "expiring"
    """It works, until a known time: the user has to renew the connection before."""
    DEGRADED = "degraded"
    """The bank is down: tried again in hours, by itself."""
    NEEDS_USER = "needs_user"
    """Only the user can repair it."""
    REVOKED = "revoked"
    """It has ended at Plaid or at the bank, and its rows stay as they are."""
    REMOVED = "removed"
    """It was deleted through the API: nothing writes to it any more."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """Plaid's warning that an Item stops working unless the user renews it.

    Attributes:
        code: the webhook's code: `PENDING_EXPIRATION` or `PENDING_DISCONNECT`.
        until: when it stops.
    """

    code: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How an Item stands.

    Attributes:
        code: what Plaid says is wrong: an error code, or the warning's.
        since: since when the status and the code are what they are.
        expiry: the warning that stands, kept while the bank is down or the user is needed.
        answered_until: the latest deadline that a repair has answered: a late copy of its warning is old news.
    """

    status: ItemStatus
    code: str | None = None
    since: datetime | None = None
    expiry: Expiry | None = None
    answered_until: datetime | None = None

    @property
    def until(self) -> datetime | None:
        """When it stops working, of an expiring Item."""
        return self.expiry.until if self.status is ItemStatus.EXPIRING and self.expiry is not None else None


@dataclass(frozen=True, slots=True)
class Account:
    """An account of an Item, as Plaid names it (no balances).

    Attributes:
        mask: the last two to four characters of its number.
    """

    account_id: str
    name: str | None = None
    mask: str | None = None
    kind: str | None = None
    subtype: str | None = None


@dataclass(frozen=True, slots=True)
class ItemRemoval:
    """What became of the wish to remove an Item.

    Attributes:
        erase: whether its transactions are erased, too.
        rows_to_erase: how many rows there were when nothing could be written any more.
        plaid_removed: Plaid has let go of the Item: its billing has ended, and its access token is gone.
        completed: nothing is left to do.
    """

    erase: bool
    rows_to_erase: int | None = None
    plaid_removed: bool = False
    completed: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """The sync state of one Item.

    Attributes:
        access_token: ciphertext under the token key, with the item_id as encryption context; empty once Plaid has
            removed the Item.
        generation: the fence. Every claim raises it; only the holder of the newest may write.
        cursor: Plaid's cursor at the end of the last complete update; None before the first.
        writing_since: generation of the first attempt that may have died between its transactions.
        reconcile: a full resync is owed: pull from the beginning and tombstone what Plaid no longer has.
        days_requested: history to ask for when the first sync initialises Transactions at Plaid.
        pull_began_at: when the pull behind the stored cursor began, by the worker's clock.
        accounts: its accounts as last seen.
        revoked_accounts: accounts whose data the user has withdrawn: no row of theirs is kept.
        bank_login_ids: the claims by which it holds its accounts (see `core.linking.bank_logins`).
        removal: set once it is removed.
    """

    item_id: ItemId
    access_token: bytes
    generation: int
    standing: Standing
    cursor: Cursor | None = None
    writing_since: int | None = None
    reconcile: bool = False
    days_requested: int | None = None
    pull_began_at: datetime | None = None
    accounts: tuple[Account, ...] = ()
    revoked_accounts: frozenset[str] = field(default_factory=frozenset)
    bank_login_ids: frozenset[str] = field(default_factory=frozenset)
    removal: ItemRemoval | None = None

    @property
    def status(self) -> ItemStatus:
        """Whether it is synced, and if not, who can change that."""
        return self.standing.status
