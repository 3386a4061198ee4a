"""An Item: one bank connection, as the Items table keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

if TYPE_CHECKING:
    from datetime import datetime

ItemId = NewType("ItemId", str)
Cursor = NewType("Cursor", str)

MAXIMUM_HISTORY_DAYS: Final = 730
"""Most history that Plaid gives (https://plaid.com/docs/api/products/transactions/)."""


class ItemStatus(StrEnum):
    """Whether an Item can be synced, and if not, who can change that."""

    ACTIVE = "active"
    NEEDS_USER = "needs_user"
    TERMINAL = "terminal"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Item:
    """The sync state of one Item.

    Attributes:
        access_token: ciphertext under the token key, with the item_id as encryption context.
        generation: the fence. Every claim raises it; only the holder of the newest may write.
        cursor: Plaid's cursor at the end of the last complete update; None before the first.
        writing_since: generation of the first attempt that may have died between its transactions.
        reconcile: a full resync is owed: pull from the beginning and tombstone what Plaid no longer has.
        days_requested: history to ask for when the first sync initialises Transactions at Plaid.
        pull_began_at: when the pull behind the stored cursor began, by the worker's clock.
    """

    item_id: ItemId
    access_token: bytes
    generation: int
    status: ItemStatus
    cursor: Cursor | None = None
    writing_since: int | None = None
    reconcile: bool = False
    days_requested: int | None = None
    pull_began_at: datetime | None = None
