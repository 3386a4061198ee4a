"""The generation protocol: bring one Item's rows to Plaid's truth, whatever dies on the way.

Claim (raise the fence), pull (all of the update before the first write), settle (what a dead attempt left),
quarantine (what breaks Plaid's contract), write (fenced transactions, the cursor with the last one).
`docs/decisions.md` argues each step.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from plaid_sync.core.coalescing import covers
from plaid_sync.core.failures import (
    INVALID_FIELD_CODE,
    FailureClass,
    PlaidError,
    RetryableError,
    SupersededError,
)
from plaid_sync.core.items import Cursor, Item, ItemId, ItemStatus
from plaid_sync.core.plan import Commit, RowWrite, changed_only, cut, into_transactions, reconcile, settle
from plaid_sync.core.pulling import MUTATION_PERSISTS, require_time
from plaid_sync.core.quarantine import BrokenEntry, into_parts
from plaid_sync.core.transactions import StoredRow, TransactionRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.core.pulling import Puller, Update
    from plaid_sync.ports import Clock, Quarantine, SyncItems, TokenDecryptor, TransactionTable

_SECONDS_FOR_A_WRITE: Final = 40.0
RESYNC_ON_ATTEMPT: Final = 4
"""Receive count from which a mutation that never ends is answered with a full resync (monetr#3126)."""


class Outcome(StrEnum):
    """How a sync ended. All of them acknowledge the triggers, but for `SUPERSEDED` and `UNREGISTERED`."""

    COMMITTED = "committed"
    COVERED = "covered"
    NOT_READY = "not_ready"
    SUPERSEDED = "superseded"
    NEEDS_USER = "needs_user"
    TERMINAL = "terminal"
    REMOVED = "removed"
    UNREGISTERED = "unregistered"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did.

    Attributes:
        added: new transactions written.
        modified: changed transactions written.
        removed: tombstones written, settled ones included.
        unchanged: transactions that were stored already.
        settled: tombstones for rows that a dead attempt had left.
        quarantined: entries that break Plaid's contract, kept apart.
        full_resync: the whole history was pulled again.
        code: Plaid's error code where it refused.
    """

    outcome: Outcome
    added: int = 0
    modified: int = 0
    removed: int = 0
    unchanged: int = 0
    settled: int = 0
    quarantined: tuple[BrokenEntry, ...] = ()
    pages: int = 0
    restarts: int = 0
    full_resync: bool = False
    generation: int = 0
    code: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class SyncJob:
    """One attempt to sync one Item.

    Attributes:
        newest_trigger_at: when the newest of the triggers that this job answers was sent.
        attempt: how often the oldest of them has been received.
        time_left: seconds until the worker is killed.
    """

    item_id: ItemId
    newest_trigger_at: datetime
    attempt: int
    time_left: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Pulled:
    """A complete update, the rows that a dead attempt may have left, and the broken entries that were met."""

    update: Update
    leftovers: list[StoredRow]
    broken: tuple[BrokenEntry, ...]
    full_resync: bool


@dataclass(frozen=True, slots=True)
class _Writes:
    """All writes of an update, decided."""

    rows: list[RowWrite]
    reconcile_owed: bool
    unchanged: int = 0
    settled: int = 0


@dataclass(frozen=True, slots=True)
class SyncEngine:
    """Syncs Items."""

    items: SyncItems
    transactions: TransactionTable
    quarantine: Quarantine
    tokens: TokenDecryptor
    puller: Puller
    clock: Clock

    def sync(self, job: SyncJob) -> SyncReport:
        """Bring one Item's rows to what Plaid says now.

        Raises:
            PlaidError: Plaid refused, and it is to be tried again (classes `retry`, `institution_down`, `ours`).
            RetryableError: something else failed that passes.
        """
        item = self.items.load(job.item_id)
        if item is None:
            return SyncReport(Outcome.UNREGISTERED)
        if item.status is ItemStatus.REMOVED:
            return SyncReport(Outcome.REMOVED)
        if covers(item, job.newest_trigger_at):
            return SyncReport(Outcome.COVERED)
        claimed = self.items.claim(item, str(uuid.uuid4()))
        try:
            return replace(self._sync_claimed(claimed, job), generation=claimed.generation)
        except SupersededError:
            return SyncReport(Outcome.SUPERSEDED, generation=claimed.generation)
        except PlaidError as error:
            return self._record_trouble(claimed, error)

    def _record_trouble(self, item: Item, error: PlaidError) -> SyncReport:
        if error.failure_class is FailureClass.NEEDS_USER:
            status, outcome = ItemStatus.NEEDS_USER, Outcome.NEEDS_USER
        elif error.failure_class is FailureClass.TERMINAL:
            status, outcome = ItemStatus.TERMINAL, Outcome.TERMINAL
        else:
            raise error
        try:
            self.items.record_trouble(item.item_id, item.generation, status, error.code)
        except SupersededError:
            outcome = Outcome.SUPERSEDED
        return SyncReport(outcome, generation=item.generation, code=error.code, request_id=error.request_id)

    def _sync_claimed(self, item: Item, job: SyncJob) -> SyncReport:
        pulled = self._pull(item, job)
        update, full_resync = pulled.update, pulled.full_resync
        if update.cursor is None:
            if item.cursor is not None:
                raise RetryableError("plaid_lost_the_cursor")
            self.items.record_not_ready(item.item_id, item.generation, update.update_status)
            return SyncReport(Outcome.NOT_READY, pages=update.pages, request_id=update.request_id)
        writes = self._decide(item, pulled)
        self._quarantine(item, pulled.broken, job)
        self._write(item, update, update.cursor, writes, job)
        upserts = [row for row in writes.rows if isinstance(row, TransactionRow)]
        modified = sum(row.transaction_id in update.net.modified for row in upserts)
        return SyncReport(
            Outcome.COMMITTED,
            added=len(upserts) - modified,
            modified=modified,
            removed=len(writes.rows) - len(upserts),
            unchanged=writes.unchanged,
            settled=writes.settled,
            quarantined=pulled.broken,
            pages=update.pages,
            restarts=update.restarts,
            full_resync=full_resync,
            request_id=update.request_id,
        )

    def _leftovers(self, item: Item) -> list[StoredRow]:
        """Return the rows that a dead attempt may have written; read late, so that its last write is settled."""
        if item.writing_since is None:
            return []
        return list(self.transactions.scan_item(item.item_id, since=item.writing_since))

    def _pull(self, item: Item, job: SyncJob) -> _Pulled:
        """Pull the update, from the beginning where the stored cursor can't tell all."""
        token = self.tokens.decrypt(item.item_id, item.access_token)

        def pull_from(cursor: Cursor | None) -> Update:
            return self.puller.pull(token, cursor, item.days_requested, job.time_left)

        def pulled(update: Update, *, full_resync: bool) -> _Pulled:
            return _Pulled(update, self._leftovers(item), tuple(update.net.broken.values()), full_resync)

        if item.reconcile:
            return pulled(pull_from(None), full_resync=True)
        try:
            update = pull_from(item.cursor)
        except (PlaidError, RetryableError) as error:
            if item.cursor is None or not _cursor_is_useless(error, job.attempt):
                raise
            return pulled(pull_from(None), full_resync=True)
        found = pulled(update, full_resync=False)
        untrusted = settle(found.leftovers, update.net.mentioned, item.writing_since).untrusted
        if update.cursor is None or not (untrusted or update.net.removes_unknown):
            return found
        whole = update if item.cursor is None else pull_from(None)
        # Of the two pulls: what the first one could not read, the second one need not mention.
        broken = update.net.broken | whole.net.broken
        return _Pulled(whole, found.leftovers, tuple(broken.values()), full_resync=True)

    def _decide(self, item: Item, pulled: _Pulled) -> _Writes:
        update, full_resync, leftovers = pulled.update, pulled.full_resync, pulled.leftovers
        mentioned = update.net.mentioned
        if full_resync and update.history_complete:
            settled = reconcile(self.transactions.scan_item(item.item_id), mentioned)
        else:
            settled = settle(leftovers, mentioned, item.writing_since).tombstones
        rows, unchanged = self._drop_unchanged(item, update, full_resync=full_resync)
        return _Writes(
            [*rows, *settled],
            reconcile_owed=full_resync and not update.history_complete,
            unchanged=unchanged,
            settled=len(settled),
        )

    def _drop_unchanged(self, item: Item, update: Update, *, full_resync: bool) -> tuple[list[RowWrite], int]:
        # An `added` transaction is new, unless an attempt died or the history is pulled again: don't pay to look.
        everything = full_resync or item.writing_since is not None
        ids = [
            row.transaction_id for row in update.net.rows() if everything or row.transaction_id in update.net.modified
        ]
        stored = self.transactions.rows(item.item_id, ids) if ids else {}
        return changed_only(update.net.changes.values(), stored)

    def _quarantine(self, item: Item, broken: tuple[BrokenEntry, ...], job: SyncJob) -> None:
        """Keep broken entries before anything of the update is written: the cursor never passes one that is not."""
        if not broken:
            return
        parts = [part for entry in broken for part in into_parts(entry)]
        for batch in cut(parts, lambda part: part.stored_bytes):
            require_time(job.time_left, _SECONDS_FOR_A_WRITE)
            self.quarantine.keep(item.item_id, item.generation, batch)

    def _write(self, item: Item, update: Update, cursor: Cursor, writes: _Writes, job: SyncJob) -> None:
        batches = list(into_transactions(writes.rows))
        for number, rows in enumerate(batches, start=1):
            require_time(job.time_left, _SECONDS_FOR_A_WRITE)
            last = number == len(batches)
            commit = Commit(
                expected_cursor=item.cursor,
                cursor=cursor,
                reconcile=writes.reconcile_owed,
                update_status=update.update_status,
                pull_began_at=update.began_at,
                committed_at=self.clock(),
            )
            self.transactions.write(
                item.item_id,
                item.generation,
                rows,
                begin=number == 1 and not last,
                commit=commit if last else None,
            )


def _cursor_is_useless(error: PlaidError | RetryableError, attempt: int) -> bool:
    """Tell whether only a pull from the beginning helps: Plaid rejects the cursor, or never settles on it."""
    if error.code == INVALID_FIELD_CODE:
        return True
    return error.code == MUTATION_PERSISTS and attempt >= RESYNC_ON_ATTEMPT
