"""What an attempt pulls, and what it writes: decided before it is written. Nothing is written here.

A pull of few pages is complete before the first write. One of many pages is written part by part, and a checkpoint says
how far it is, so that another invocation continues and memory stays bounded. The stored cursor moves with the last
part. Until then the rows are provisional: `writing_since` marks the Item. If a worker dies, the next attempt continues
from the checkpoint, or pulls from the stored cursor again and usually mentions the rows again; partial-write recovery
decides about those that it does not mention. docs/decisions.md gives the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from plaid_sync.domain.batches import batches
from plaid_sync.domain.errors import (
    CURSOR_NOT_ADVANCING,
    INVALID_FIELD_CODE,
    MISSING_NEXT_CURSOR,
    SCHEMA_VIOLATION,
    FailureClass,
    PlaidError,
    TransientError,
    is_known,
)
from plaid_sync.domain.item import HISTORY_INITIAL, HISTORY_NOT_READY, Checkpoint, Cursor, in_ranges
from plaid_sync.domain.pendings import paired, pending_links
from plaid_sync.domain.transaction import ROW_OVERHEAD_BYTES, RowRemoval, TransactionRow
from plaid_sync.pull.pages import NetChanges
from plaid_sync.pull.puller import MUTATION_PERSISTS, PAGE_SECONDS
from plaid_sync.sync.ports import Reconciliation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from plaid_sync.domain.accounts import AccountStates
    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import GenerationRanges, Item
    from plaid_sync.domain.transaction import PendingLink, RowWrite, StoredRow, TransactionId
    from plaid_sync.pull.pages import InvalidEntry
    from plaid_sync.pull.puller import Puller, Update
    from plaid_sync.sync.job import Attempt
    from plaid_sync.sync.ports import TransactionsStore

_T = TypeVar("_T")

MAX_ROWS: Final = 97
"""DynamoDB takes 100 actions in a transaction; one is the Item's, one the feed's, and the last transaction has the
history entry."""
MAX_BYTES: Final = 3_000_000
"""DynamoDB takes 4 MB in a transaction; the rest is room for attribute names and the Item."""
PART_ENTRIES: Final = 5_000
"""Entries of a pull that are kept in memory; then they are written, and a checkpoint. Ten pages."""
PART_SECONDS: Final = 60.0
"""Writing a part takes some five seconds; recovering at the end of a long history some twenty more."""
MIN_RESET_INTERVAL: Final = timedelta(hours=1)
"""A cursor that Plaid refuses is replaced at most that often: a pull of the whole history is expensive."""
MAX_PULL_RESTARTS: Final = 3
"""Restarts from checkpoints since the last commit; more show on the Item as a failure, until a pull ends."""
_REFUSALS: Final = frozenset({INVALID_FIELD_CODE, MISSING_NEXT_CURSOR, CURSOR_NOT_ADVANCING})
"""Plaid's response leads nowhere because of the cursor."""
_RESET_REPEATED: Final = timedelta(days=1)
RECONCILE_DELAYS: Final = (timedelta(hours=1), timedelta(hours=4), timedelta(hours=16))
"""After a full resync that met an incomplete history; after the last one, absence counts all the same."""
_MAX_UNKNOWN_PULLS: Final = 2
"""Full resyncs whose responses say nothing about the history: then absence counts all the same."""


@dataclass(frozen=True, slots=True)
class Restart:
    """A pull starts again.

    Attributes:
        from_beginning: with the whole history, as a full resync.
        resets_cursor: because Plaid refuses the stored cursor, or checkpoint after checkpoint.
    """

    from_beginning: bool
    resets_cursor: bool = False


@dataclass(frozen=True, slots=True)
class PulledPart:
    """A pull, or a part of one.

    Attributes:
        update: its changes; its cursor is None while Plaid has nothing ready.
        written: the generations under which earlier parts were written.
        checkpoint: where the pull continues once this part is written, too.
        is_complete: it ends the pull, and there is time to commit it.
        whole: it is the whole pull: nothing of it was written before.
        full_resync: the pull is of the whole history, and the Item may have rows that it does not mention.
        partial_writes: the rows that dead attempts may have left; known once the pull is complete.
    """

    update: Update
    written: GenerationRanges
    checkpoint: Checkpoint
    is_complete: bool
    whole: bool
    full_resync: bool
    partial_writes: tuple[StoredRow, ...] = ()

    @property
    def invalid(self) -> tuple[InvalidEntry, ...]:
        """The entries that violate Plaid's schema."""
        return tuple(self.update.net.invalid.values())


@dataclass(frozen=True, slots=True)
class PlannedWrites:
    """What a part of an update writes.

    Attributes:
        reconciliation: what is pending of a full resync afterwards.
        recovered: how many of the rows are tombstones for partial writes, or reconciled.
        decided: absence counts although the history was never reported as complete.
    """

    rows: list[RowWrite]
    reconciliation: Reconciliation
    unchanged: int = 0
    recovered: int = 0
    decided: bool = False


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
    """Pulls an update, part by part, and decides what it writes.

    Attributes:
        keeps_gone_rows: whether the rows of accounts that are gone stay live.
    """

    transactions: TransactionsStore
    puller: Puller
    keeps_gone_rows: bool = False

    def pull(self, attempt: Attempt, token: str) -> PulledPart:
        """Pull the next part: from the checkpoint, from the stored cursor, or a full resync from the beginning.

        Raises:
            PlaidError: Plaid refused (`restart_after_error` says whether the pull starts again).
            TransientError: Plaid is unreachable, did not respond as documented, or time is running out.
        """
        item, deadline = attempt.item, attempt.job.deadline
        checkpoint = item.checkpoint
        full = item.reconcile_is_due(self.puller.clock.now()) if checkpoint is None else checkpoint.from_beginning
        if checkpoint is not None:
            update = self._part(token, checkpoint.cursor, item, deadline, 0)
        else:
            start = None if full else item.cursor
            update = self.puller.restarting(lambda restarts: self._part(token, start, item, deadline, restarts))
        not_ready = checkpoint is None and (item.cursor is None or update.update_status == HISTORY_NOT_READY)
        if update.cursor is None and not not_ready:
            raise TransientError(MISSING_NEXT_CURSOR)
        written = () if checkpoint is None else checkpoint.written
        following = Checkpoint(
            update.cursor or _NO_CURSOR,
            item.cursor,
            full,
            update.began_at if checkpoint is None else checkpoint.began_at,
            _with_generation(written, item.generation),
            update.net.removes_unknown or (checkpoint is not None and checkpoint.removes_unknown),
        )
        # Decided once: what is written as a whole drops rows that are stored already, and must end with a commit.
        complete = not update.has_more and deadline.allows(PART_SECONDS)
        part = PulledPart(update, written, following, complete, complete and checkpoint is None, full)
        return replace(part, partial_writes=self._partial_writes(attempt, part)) if complete else part

    def _part(self, token: str, cursor: Cursor | None, item: Item, deadline: Deadline, restarts: int) -> Update:
        net = NetChanges()

        def ends() -> bool:
            full = len(net.changes) + len(net.invalid) >= PART_ENTRIES
            return full or not deadline.allows(PAGE_SECONDS + PART_SECONDS)

        return self.puller.pull_once(net, token, cursor, item.days_requested, deadline, restarts, ends)

    def _partial_writes(self, attempt: Attempt, part: PulledPart) -> tuple[StoredRow, ...]:
        """Return the rows that a dead attempt may have written; read late, so that its last write has arrived.

        Rows of accounts without content are erased already, and those of this pull are not partial.
        """
        item = attempt.item
        if item.writing_since is None:
            return ()
        erased = item.account_states.without_content
        rows = self.transactions.scan_item(item.item_id, attempt.job.deadline, item.writing_since)
        return tuple(
            row for row in rows if not in_ranges(row.generation, part.written) and row.account_id not in erased
        )

    def _closed(self, item: Item) -> frozenset[str]:
        """Return the accounts of which no row may be live."""
        return item.account_states.without_rows(keeps_gone=self.keeps_gone_rows)

    # ---- when a pull starts again

    def restart_after_error(self, attempt: Attempt, token: str, error: PlaidError | TransientError) -> Restart | None:
        """Return how the pull starts again after an error; None where that does not help, or not yet."""
        item = attempt.item
        mutated = isinstance(error, PlaidError) and error.failure_class is FailureClass.RESTART
        certain = mutated or error.code in _REFUSALS
        if not (certain or _is_suspect(item, error)):
            return None
        again = Restart(from_beginning=False)
        if item.checkpoint is None:
            from_beginning = item.cursor is None or item.reconcile_is_due(self.puller.clock.now())
            return None if from_beginning else self._reset(attempt, token, certain=certain)
        if item.pull_restarts < MAX_PULL_RESTARTS:
            return again
        # After a mutation no checkpoint is of use. Another error may pass: keep what is pulled, and try again later.
        return self._reset(attempt, token, certain=certain) or (again if mutated else None)

    def _reset(self, attempt: Attempt, token: str, *, certain: bool) -> Restart | None:
        """Return a restart that replaces the stored cursor, or the checkpoint of a first sync; None too soon."""
        item, now = attempt.item, self.puller.clock.now()
        if item.cursor_reset_at is not None and now - item.cursor_reset_at < MIN_RESET_INTERVAL:
            return None
        if not certain and not self._serves_the_beginning(attempt, token):
            return None
        return Restart(from_beginning=item.cursor is not None, resets_cursor=True)

    def _serves_the_beginning(self, attempt: Attempt, token: str) -> bool:
        """Return whether Plaid serves the first page: an outage with an unknown code must reset no cursor."""
        days_requested, plaid = attempt.item.days_requested, self.puller.plaid
        try:
            self.puller.within_limits(lambda: plaid.sync_page(token, None, days_requested), attempt.job.deadline)
        except (PlaidError, TransientError):
            return False
        return True

    def restart_after_pull(self, item: Item, part: PulledPart) -> Restart | None:
        """Return how the pull starts again where a complete pull leaves a doubt about stored rows."""
        if not part.is_complete or part.update.cursor is None:
            return None
        if part.full_resync or item.cursor is None:
            return Restart(from_beginning=False) if _tail_is_in_doubt(part) else None
        recovery = _recovery(item, part)
        needed = recovery.needs_full_resync or part.checkpoint.removes_unknown
        return Restart(from_beginning=True) if needed else None

    # ---- what is written

    def plan(self, attempt: Attempt, part: PulledPart) -> PlannedWrites:
        """Return what a part writes: what changed, and at the end tombstones for rows that are recovered or gone."""
        planned = self._plan(attempt, part)
        return replace(planned, rows=[*planned.rows, *self._links(attempt, planned.rows)])

    def _plan(self, attempt: Attempt, part: PulledPart) -> PlannedWrites:
        item, update = attempt.item, part.update
        rows, unchanged = self._changes(attempt, part)
        if not part.is_complete:
            return PlannedWrites(rows, _unchanged_reconciliation(item, update), unchanged)
        recovery = _recovery(item, part)
        full = part.full_resync or (
            item.cursor is None and (recovery.needs_full_resync or part.checkpoint.removes_unknown)
        )
        reconciliation, conclusive, decided = _reconciliation(item, update, self.puller.clock.now(), full=full)
        recovered = recovery.tombstones
        if conclusive:
            stored = self.transactions.scan_item(item.item_id, attempt.job.deadline)
            kept = item.account_states.gone if self.keeps_gone_rows else frozenset()
            others = (
                row for row in stored if not in_ranges(row.generation, part.written) and row.account_id not in kept
            )
            recovered = reconcile(others, update.net.mentioned, item.account_states.gone)
        return PlannedWrites([*rows, *recovered], reconciliation, unchanged, len(recovered), decided)

    def _links(self, attempt: Attempt, rows: list[RowWrite]) -> list[PendingLink]:
        """Return the links of stored pending rows that this update does not write to posted ones that it does.

        A first sync finds none: it brings a pending transaction or its posted one.
        """
        named = {} if attempt.item.cursor is None else pending_links(rows)
        if not named:
            return []
        read = self.transactions.rows(attempt.item.item_id, named.keys(), attempt.job.deadline)
        new = {
            key
            for key, row in read.items()
            if row.annotated or row.posted_transaction_id != named[key].posted_transaction_id
        }
        return [link for key, link in named.items() if key in new]

    def _changes(self, attempt: Attempt, part: PulledPart) -> tuple[list[RowWrite], int]:
        """Return the changes to write, and how many are stored already."""
        item, net = attempt.item, part.update.net
        # Whether Plaid keeps serving rows of an account that it does not list is not documented.
        closed = self._closed(item)
        allowed = [*without_accounts(net.changes.values(), closed), *self._moved(attempt, net, closed)]
        if not part.whole:
            # Everything that the pull mentions gets one of its generations: at the end a row without one is not
            # mentioned, and no invocation has to remember what the others pulled.
            unreadable = list(without_accounts(self._mentioned_only(attempt, part), closed))
            return [*allowed, *unreadable], len(unreadable)
        # An `added` transaction is new, unless an attempt died or the history is pulled: do not pay for the read.
        everything = part.full_resync or item.writing_since is not None
        ids = [row.transaction_id for row in net.rows() if everything or row.transaction_id in net.modified]
        read = self.transactions.rows(item.item_id, ids, attempt.job.deadline) if ids else {}
        # A row that is newer than its Item is written, which shows that the generation must be raised.
        stored = {key: row for key, row in read.items() if row.generation < item.generation}
        return drop_unchanged(allowed, stored)

    def _moved(self, attempt: Attempt, net: NetChanges, closed: frozenset[str]) -> list[RowRemoval]:
        """Return the removals of stored rows that Plaid now serves in a closed account: they moved there."""
        served = {row.transaction_id: row.account_id for row in net.rows() if row.account_id in closed}
        if not served:
            return []
        item = attempt.item
        read = self.transactions.rows(item.item_id, served.keys(), attempt.job.deadline)
        removals = (closing(row, served[row.transaction_id], item.account_states) for row in read.values())
        return [removal for removal in removals if removal is not None]

    def _mentioned_only(self, attempt: Attempt, part: PulledPart) -> list[RowWrite]:
        """Return the stored rows that the part mentions by an invalid entry alone: they are not gone."""
        ids = part.update.net.mentioned - part.update.net.changes.keys()
        read = self.transactions.rows(attempt.item.item_id, ids, attempt.job.deadline) if ids else {}
        return [row.row for row in read.values() if row.row is not None]


_NO_CURSOR: Final = Cursor("")
"""While Plaid has nothing ready, there is no checkpoint to write."""


def _with_generation(written: GenerationRanges, generation: int) -> GenerationRanges:
    """Return the ranges with one more generation, which is later than all of them."""
    if written and written[-1][1] == generation - 1:
        return (*written[:-1], (written[-1][0], generation))
    return (*written, (generation, generation))


def _recovery(item: Item, part: PulledPart) -> PartialWriteRecovery:
    return recover_partial_writes(part.partial_writes, part.update.net.mentioned, item.writing_since, part.written)


def _tail_is_in_doubt(part: PulledPart) -> bool:
    """Return whether a dead attempt changed a row between two parts that an earlier part may have mentioned.

    If the rest of the pull does not mention the row, Plaid has netted out that change: what the row was is lost.
    """
    if not part.written:
        return False
    (began, _), *_ = part.written
    return any(
        row.generation > began
        and (row.first_generation < began or in_ranges(row.first_generation, part.written))
        and row.transaction_id not in part.update.net.mentioned
        for row in part.partial_writes
    )


def _is_suspect(item: Item, error: PlaidError | TransientError) -> bool:
    """Return whether an error persists that may be the cursor's.

    How Plaid refuses a cursor that it has dropped is not documented.
    """
    if item.failure is None or item.failure.code != error.code:
        return False
    unknown = isinstance(error, PlaidError) and not is_known(error.code)
    return unknown or error.code == MUTATION_PERSISTS or error.code.startswith(SCHEMA_VIOLATION)


def resets_again(item: Item, now: datetime) -> bool:
    """Return whether a stored cursor is reset that was reset not long ago."""
    return item.cursor_reset_at is not None and now - item.cursor_reset_at < _RESET_REPEATED


def _unchanged_reconciliation(item: Item, update: Update) -> Reconciliation:
    complete = item.history_complete or update.history_complete
    return Reconciliation(item.reconcile, item.reconcile_after, item.inconclusive_pulls, complete)


def _reconciliation(item: Item, update: Update, now: datetime, *, full: bool) -> tuple[Reconciliation, bool, bool]:
    """Return what is pending afterwards, whether absence counts, and whether it does without a complete history.

    Plaid may never report a history as complete, and what an unknown or a missing status means is not documented: so
    the number of full resyncs is bounded.
    """
    unchanged = _unchanged_reconciliation(item, update)
    if not full:
        return unchanged, False, False
    settled = Reconciliation(history_complete=unchanged.history_complete)
    incomplete = update.update_status in {HISTORY_INITIAL, HISTORY_NOT_READY}
    if update.history_complete or (item.history_complete and not incomplete):
        return settled, True, False
    pulls = item.inconclusive_pulls + 1
    if pulls > len(RECONCILE_DELAYS) or (pulls >= _MAX_UNKNOWN_PULLS and not incomplete):
        return settled, True, True
    after = now + RECONCILE_DELAYS[pulls - 1]
    return Reconciliation(True, after, pulls, unchanged.history_complete), False, False  # noqa: FBT003 - a field


def recover_partial_writes(
    partial_writes: Iterable[StoredRow],
    mentioned: Collection[TransactionId],
    writing_since: int | None,
    written: GenerationRanges = (),
) -> PartialWriteRecovery:
    """Decide about the rows of generation `writing_since` and later, which a dead attempt left (None: none).

    A row that a part of this pull created (its first generation is in `written`) exists, but a dead attempt may have
    changed it since.
    """
    if writing_since is None:
        return PartialWriteRecovery((), needs_full_resync=False)
    unmentioned = [row for row in partial_writes if row.transaction_id not in mentioned]
    created = [
        row
        for row in unmentioned
        if row.first_generation >= writing_since and not in_ranges(row.first_generation, written)
    ]
    return PartialWriteRecovery(
        tombstones=_tombstones(created),
        needs_full_resync=len(created) < len(unmentioned),
    )


def reconcile(
    stored: Iterable[StoredRow], mentioned: Collection[TransactionId], gone: Collection[str] = frozenset()
) -> tuple[RowRemoval, ...]:
    """Return tombstones for the rows that a complete pull from the beginning does not mention.

    They do not expire while their account is gone; after its return they do.
    """
    unmentioned = (row for row in stored if row.transaction_id not in mentioned)
    return tuple(
        RowRemoval(row.transaction_id, row.account_id, kept=row.account_id in gone)
        for row in unmentioned
        if row.live or (row.kept and row.account_id not in gone)
    )


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


def without_accounts(writes: Iterable[RowWrite], closed: Collection[str]) -> Iterator[RowWrite]:
    """Drop transactions of closed accounts."""
    return (write for write in writes if not (isinstance(write, TransactionRow) and write.account_id in closed))


def closing(row: StoredRow, account_id: str | None, states: AccountStates) -> RowRemoval | None:
    """Return the removal of a row whose account is closed; None where it is closed already.

    Args:
        row: as stored.
        account_id: the account that Plaid says it is in; its own, or the one that it moved to.
        states: the states of the Item's accounts.
    """
    if account_id in states.without_content:
        return None if row.erased else RowRemoval(row.transaction_id, erase=True)
    return RowRemoval(row.transaction_id, account_id, kept=True) if row.live else None


def split_writes(writes: Collection[RowWrite]) -> Iterator[list[RowWrite]]:
    """Split the writes into transactions; yields at least one (perhaps empty) list.

    A pending row and its posted one stay together, so that annotations move with them.
    """
    transactions = batches(paired(writes), lambda pair: sum(map(stored_size, pair)), MAX_ROWS, MAX_BYTES, len)
    for pairs in transactions if writes else ([],):
        yield [write for pair in pairs for write in pair]


def split(actions: Iterable[_T], size_of: Callable[[_T], int]) -> Iterator[list[_T]]:
    """Split actions of so many bytes each into transactions; yields at least one (perhaps empty) list."""
    transactions = batches(actions, size_of, MAX_ROWS, MAX_BYTES)
    yield next(transactions, [])
    yield from transactions


def stored_size(write: RowWrite) -> int:
    """Return about how many bytes the row takes in the table, rounded up."""
    return write.stored_bytes if isinstance(write, TransactionRow) else ROW_OVERHEAD_BYTES


def _tombstones(rows: Iterable[StoredRow]) -> tuple[RowRemoval, ...]:
    return tuple(RowRemoval(row.transaction_id, row.account_id) for row in rows if row.live)
