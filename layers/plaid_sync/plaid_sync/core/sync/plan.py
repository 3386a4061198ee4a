"""What one update writes, decided before the first write (pure).

Settling: an attempt that needs several transactions marks the Item with `writing_since`. If it dies between
them, rows that it wrote are provisional. The next attempt pulls from the same cursor and usually mentions them
again; this module decides what becomes of those that it does not mention.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from plaid_sync.core.sync.transactions import ROW_OVERHEAD_BYTES, Removal, StoredRow, TransactionId, TransactionRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Account, Cursor, Standing

_T = TypeVar("_T")

MAXIMUM_ROWS: Final = 98
"""DynamoDB takes 100 actions in a transaction; one is the Item's, and the last one's has its history entry, too."""
MAXIMUM_BYTES: Final = 3_000_000
"""DynamoDB takes 4 MB in a transaction; the rest is room for attribute names and the Item."""
TOMBSTONE_LIFE: Final = timedelta(days=90)
"""How long a removed transaction is kept: longer than any retry, redrive or reader of the change feed."""

RowWrite = TransactionRow | Removal
"""A row to be made live with this content, or a tombstone."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The Item's part of the last transaction of an update.

    Attributes:
        expected_cursor: the stored cursor that the update started from; the commit holds only while it stands.
        cursor: Plaid's cursor at the end of the update.
        reconcile: a full resync is still owed after this update.
        update_status: Plaid's `transactions_update_status`.
        pull_began_at: every trigger sent (well) before this is covered.
        committed_at: now.
        standing: how the Item stands afterwards.
        entry: what its history records.
        accounts: its accounts as last told, without those that the user has withdrawn.
        revoked_accounts: accounts of which no row is kept.
    """

    expected_cursor: Cursor | None
    cursor: Cursor
    reconcile: bool
    update_status: str
    pull_began_at: datetime
    committed_at: datetime
    standing: Standing
    entry: HistoryEntry
    accounts: tuple[Account, ...] = ()
    revoked_accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt that writes no rows leaves on its Item.

    Attributes:
        update_status: Plaid's `transactions_update_status`, where it told one.
    """

    standing: Standing
    entry: HistoryEntry
    revoked_accounts: frozenset[str] = frozenset()
    update_status: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of rows that the pull does not mention.

    Attributes:
        tombstones: rows that must not stay live.
        untrusted: a provisional change to an older row may have been netted out: only a full resync can tell.
    """

    tombstones: tuple[Removal, ...]
    untrusted: bool


def settle(
    leftovers: Iterable[StoredRow], mentioned: Collection[TransactionId], writing_since: int | None
) -> Settlement:
    """Judge the rows of generation `writing_since` and later, which a dead attempt has left (None: no such)."""
    if writing_since is None:
        return Settlement((), untrusted=False)
    left = [row for row in leftovers if row.transaction_id not in mentioned]
    created = [row for row in left if row.first_generation >= writing_since]
    return Settlement(
        tombstones=_tombstones(created),
        untrusted=len(created) < len(left),
    )


def reconcile(stored: Iterable[StoredRow], mentioned: Collection[TransactionId]) -> tuple[Removal, ...]:
    """Return tombstones for the live rows that a complete pull from the beginning does not mention."""
    return _tombstones(row for row in stored if row.transaction_id not in mentioned)


def changed_only(writes: Iterable[RowWrite], stored: Mapping[TransactionId, StoredRow]) -> tuple[list[RowWrite], int]:
    """Drop writes that would store what is stored already; return the rest and how many were dropped.

    Plaid sends many `modified` transactions that did not change.
    """
    kept: list[RowWrite] = []
    unchanged = 0
    for write in writes:
        known = stored.get(write.transaction_id)
        if known is not None and known.row == write:
            unchanged += 1
        else:
            kept.append(write)
    return kept, unchanged


def without_accounts(writes: Iterable[RowWrite], revoked: Collection[str]) -> Iterator[RowWrite]:
    """Drop transactions of accounts that the user has withdrawn."""
    return (write for write in writes if not (isinstance(write, TransactionRow) and write.account_id in revoked))


def into_transactions(writes: Iterable[RowWrite]) -> Iterator[list[RowWrite]]:
    """Cut the writes to the size of a transaction; yields at least one (perhaps empty) list."""
    return cut(writes, stored_size)


def cut(actions: Iterable[_T], size_of: Callable[[_T], int]) -> Iterator[list[_T]]:
    """Cut actions of so many bytes each to the size of a transaction; yields at least one (perhaps empty) list."""
    batch: list[_T] = []
    size = 0
    for action in actions:
        cost = size_of(action)
        if batch and (len(batch) == MAXIMUM_ROWS or size + cost > MAXIMUM_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(action)
        size += cost
    yield batch


def stored_size(write: RowWrite) -> int:
    """Return about how many bytes the row takes in the table, rounded up."""
    return ROW_OVERHEAD_BYTES if isinstance(write, Removal) else write.stored_bytes


def _tombstones(rows: Iterable[StoredRow]) -> tuple[Removal, ...]:
    return tuple(Removal(row.transaction_id, row.account_id) for row in rows if row.live)
