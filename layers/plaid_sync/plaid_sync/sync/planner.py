"""What an attempt pulls, and what it writes: decided before the first write. Nothing is written here.

The stored cursor is enough, unless Plaid rejects it or a dead attempt left partial writes that it cannot account for:
then the whole history is pulled. An attempt that needs several transactions marks the Item with `writing_since`. If it
dies between them, the rows that it wrote are provisional. The next attempt pulls from the same cursor and usually
mentions them again; partial-write recovery decides about those that it does not mention. docs/decisions.md gives the
reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from plaid_sync.domain.errors import INVALID_FIELD_CODE, PlaidError, TransientError
from plaid_sync.domain.transaction import ROW_OVERHEAD_BYTES, RowRemoval, TransactionRow
from plaid_sync.pull.puller import MUTATION_PERSISTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from plaid_sync.domain.item import Cursor
    from plaid_sync.domain.transaction import RowWrite, StoredRow, TransactionId
    from plaid_sync.pull.pages import InvalidEntry
    from plaid_sync.pull.puller import Puller, Update
    from plaid_sync.sync.job import Attempt
    from plaid_sync.sync.ports import TransactionsStore

_T = TypeVar("_T")

MAX_ROWS: Final = 98
"""DynamoDB takes 100 actions in a transaction; one is the Item's, and the last transaction has the history entry."""
MAX_BYTES: Final = 3_000_000
"""DynamoDB takes 4 MB in a transaction; the rest is room for attribute names and the Item."""
RESYNC_AFTER_RECEIVES: Final = 4
"""Receives from which a mutation that never ends leads to a full resync (monetr#3126)."""


@dataclass(frozen=True, slots=True)
class PulledUpdate:
    """A complete update, the rows that a dead attempt may have left, and the invalid entries that Plaid sent."""

    update: Update
    partial_writes: list[StoredRow]
    invalid: tuple[InvalidEntry, ...]
    full_resync: bool


@dataclass(frozen=True, slots=True)
class PlannedWrites:
    """What an update writes.

    Attributes:
        reconcile_pending: the history was pulled, but was incomplete, so that absence was not conclusive.
        recovered: how many of the rows are tombstones for partial writes, or reconciled.
    """

    rows: list[RowWrite]
    reconcile_pending: bool
    unchanged: int
    recovered: int


@dataclass(frozen=True, slots=True)
class PartialWriteRecovery:
    """What becomes of rows that the pull does not mention.

    Attributes:
        tombstones: rows that must not stay live.
        needs_full_resync: a provisional change to an older row may have been netted out by Plaid.
    """

    tombstones: tuple[RowRemoval, ...]
    needs_full_resync: bool


@dataclass(frozen=True, slots=True)
class UpdatePlanner:
    """Pulls an update and decides what it writes."""

    transactions: TransactionsStore
    puller: Puller

    def pull(self, attempt: Attempt, token: str) -> PulledUpdate:
        """Pull the update, from the beginning where the stored cursor is not enough."""
        item, job = attempt.item, attempt.job

        def pull_from(cursor: Cursor | None) -> Update:
            return self.puller.pull(token, cursor, item.days_requested, job.deadline)

        def pulled(update: Update, *, full_resync: bool) -> PulledUpdate:
            return PulledUpdate(
                update, self._partial_writes(attempt), tuple(update.net.invalid.values()), full_resync=full_resync
            )

        if item.reconcile:
            return pulled(pull_from(None), full_resync=True)
        try:
            update = pull_from(item.cursor)
        except (PlaidError, TransientError) as error:
            if item.cursor is None or not _cursor_is_useless(error, job.receives):
                raise
            return pulled(pull_from(None), full_resync=True)
        found = pulled(update, full_resync=False)
        recovery = recover_partial_writes(found.partial_writes, update.net.mentioned, item.writing_since)
        if update.cursor is None or not (recovery.needs_full_resync or update.net.removes_unknown):
            return found
        full = update if item.cursor is None else pull_from(None)
        # Entries of both pulls: the second one need not mention what was invalid in the first one.
        invalid = update.net.invalid | full.net.invalid
        return PulledUpdate(full, found.partial_writes, tuple(invalid.values()), full_resync=True)

    def _partial_writes(self, attempt: Attempt) -> list[StoredRow]:
        """Return the rows that a dead attempt may have written; read late, so that its last write has arrived.

        Rows of withdrawn accounts are erased already.
        """
        item = attempt.item
        if item.writing_since is None:
            return []
        rows = self.transactions.scan_item(item.item_id, since=item.writing_since)
        return [row for row in rows if row.account_id not in attempt.revoked_accounts]

    def plan(self, attempt: Attempt, pulled: PulledUpdate, erased: Collection[TransactionId]) -> PlannedWrites:
        """Return what the update writes: what changed, and tombstones for rows that are recovered or gone.

        Rows that this attempt erased are left out.
        """
        item, update, full_resync = attempt.item, pulled.update, pulled.full_resync
        mentioned = update.net.mentioned
        if full_resync and update.history_complete:
            recovered = reconcile(self.transactions.scan_item(item.item_id), mentioned)
        else:
            recovered = recover_partial_writes(pulled.partial_writes, mentioned, item.writing_since).tombstones
        changes, unchanged = self._drop_unchanged(attempt, update, full_resync=full_resync)
        rows = [row for row in changes if row.transaction_id not in erased]
        return PlannedWrites(
            [*rows, *recovered],
            reconcile_pending=full_resync and not update.history_complete,
            unchanged=unchanged,
            recovered=len(recovered),
        )

    def _drop_unchanged(self, attempt: Attempt, update: Update, *, full_resync: bool) -> tuple[list[RowWrite], int]:
        item = attempt.item
        # An `added` transaction is new, unless an attempt died or the history is pulled: do not pay for the read.
        everything = full_resync or item.writing_since is not None
        ids = [
            row.transaction_id for row in update.net.rows() if everything or row.transaction_id in update.net.modified
        ]
        read = self.transactions.rows(item.item_id, ids) if ids else {}
        # A row that is newer than its Item is written, which shows that the generation must be raised.
        stored = {key: row for key, row in read.items() if row.generation < item.generation}
        # Whether Plaid keeps serving rows of an account that the user withdrew is not documented.
        allowed = without_accounts(update.net.changes.values(), attempt.revoked_accounts)
        return drop_unchanged(allowed, stored)


def _cursor_is_useless(error: PlaidError | TransientError, receives: int) -> bool:
    """Return whether only a pull from the beginning helps: Plaid rejects the cursor, or never settles on it."""
    if error.code == INVALID_FIELD_CODE:
        return True
    return error.code == MUTATION_PERSISTS and receives >= RESYNC_AFTER_RECEIVES


def recover_partial_writes(
    partial_writes: Iterable[StoredRow], mentioned: Collection[TransactionId], writing_since: int | None
) -> PartialWriteRecovery:
    """Decide about the rows of generation `writing_since` and later, which a dead attempt left (None: none)."""
    if writing_since is None:
        return PartialWriteRecovery((), needs_full_resync=False)
    unmentioned = [row for row in partial_writes if row.transaction_id not in mentioned]
    created = [row for row in unmentioned if row.first_generation >= writing_since]
    return PartialWriteRecovery(
        tombstones=_tombstones(created),
        needs_full_resync=len(created) < len(unmentioned),
    )


def reconcile(stored: Iterable[StoredRow], mentioned: Collection[TransactionId]) -> tuple[RowRemoval, ...]:
    """Return tombstones for the live rows that a complete pull from the beginning does not mention."""
    return _tombstones(row for row in stored if row.transaction_id not in mentioned)


def drop_unchanged(writes: Iterable[RowWrite], stored: Mapping[TransactionId, StoredRow]) -> tuple[list[RowWrite], int]:
    """Drop writes of rows that are stored already; return the rest and how many were dropped.

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
    """Drop transactions of accounts that the user withdrew."""
    return (write for write in writes if not (isinstance(write, TransactionRow) and write.account_id in revoked))


def split_writes(writes: Iterable[RowWrite]) -> Iterator[list[RowWrite]]:
    """Split the writes into transactions; yields at least one (perhaps empty) list."""
    return split(writes, stored_size)


def split(actions: Iterable[_T], size_of: Callable[[_T], int]) -> Iterator[list[_T]]:
    """Split actions of so many bytes each into transactions; yields at least one (perhaps empty) list."""
    batch: list[_T] = []
    size = 0
    for action in actions:
        cost = size_of(action)
        if batch and (len(batch) == MAX_ROWS or size + cost > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(action)
        size += cost
    yield batch


def stored_size(write: RowWrite) -> int:
    """Return about how many bytes the row takes in the table, rounded up."""
    return ROW_OVERHEAD_BYTES if isinstance(write, RowRemoval) else write.stored_bytes


def _tombstones(rows: Iterable[StoredRow]) -> tuple[RowRemoval, ...]:
    return tuple(RowRemoval(row.transaction_id, row.account_id) for row in rows if row.live)
