"""What is stored when an Item is linked, all of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.core.failures import PlaidSyncError

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Account, ItemId, Standing


@dataclass(frozen=True, slots=True)
class NewItem:
    """An Item to be stored.

    Attributes:
        access_token: ciphertext.
        link_id: digest of the public token: a retry finds its Item by it.
        client_user_id: the caller's reference of the user; None without a link session.
        claims: fingerprints of its accounts, which no other Item may hold.
    """

    item_id: ItemId
    access_token: bytes
    link_id: str
    days_requested: int
    linked_at: datetime
    client_user_id: str | None = None
    institution_id: str | None = None
    accounts: tuple[Account, ...] = ()
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replacement:
    """The removal of the Item that the new one takes the place of.

    Attributes:
        standing: how it stands afterwards.
        erase: whether its transactions are erased.
        entry: what its history records.
    """

    item_id: ItemId
    standing: Standing
    erase: bool
    entry: HistoryEntry


@dataclass(frozen=True, slots=True)
class Registration:
    """A linked Item with what belongs to it.

    Attributes:
        entry: what its history records.
        yielding: Items whose claims it may take: they are removed, or are replaced.
        replacement: set where it replaces an Item that is not removed yet.
    """

    item: NewItem
    entry: HistoryEntry
    yielding: frozenset[ItemId] = frozenset()
    replacement: Replacement | None = None


class ClaimHeldError(PlaidSyncError):
    """Another Item holds one of the accounts.

    Attributes:
        holder: which; None where it can't be told.
    """

    def __init__(self, holder: ItemId | None) -> None:
        super().__init__(f"Item {holder} holds one of the accounts")
        self.holder = holder
