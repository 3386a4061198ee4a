"""Catching up with Plaid: what an attempt pulls, and what it writes of it. Nothing is written here.

The stored cursor tells all, unless Plaid rejects it or a dead attempt has left rows that nobody can vouch for: then the
whole history does. `docs/decisions.md` argues each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.core.error_codes import INVALID_FIELD_CODE
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.sync.plan import RowWrite, changed_only, reconcile, settle, without_accounts
from plaid_sync.core.sync.pulling import MUTATION_PERSISTS

if TYPE_CHECKING:
    from collections.abc import Collection

    from plaid_sync.core.items import Cursor
    from plaid_sync.core.sync.pulling import Puller, Update
    from plaid_sync.core.sync.quarantine import BrokenEntry
    from plaid_sync.core.sync.sync_job import Attempt
    from plaid_sync.core.sync.transactions import StoredRow, TransactionId
    from plaid_sync.ports.sync import TransactionTable

RESYNC_ON_ATTEMPT: Final = 4
"""Receive count from which a mutation that never ends is answered with a full resync (monetr#3126)."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A complete update, the rows that a dead attempt may have left, and the broken entries that were met."""

    update: Update
    leftovers: list[StoredRow]
    broken: tuple[BrokenEntry, ...]
    full_resync: bool


@dataclass(frozen=True, slots=True)
class Writes:
    """What an update writes.

    Attributes:
        reconcile_owed: the history was pulled again, but not completely, so that nothing could be told gone.
    """

    rows: list[RowWrite]
    reconcile_owed: bool
    unchanged: int
    settled: int


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Pulls an update and decides what it writes."""

    transactions: TransactionTable
    puller: Puller

    def _leftovers(self, attempt: Attempt) -> list[StoredRow]:
        """Return the rows that a dead attempt may have written; read late, so that its last write is settled.

        Those of withdrawn accounts have been settled: they are erased.
        """
        item = attempt.item
        if item.writing_since is None:
            return []
        left = self.transactions.scan_item(item.item_id, since=item.writing_since)
        return [row for row in left if row.account_id not in attempt.revoked_accounts]

    def pull(self, attempt: Attempt, token: str) -> Pulled:
        """Pull the update, from the beginning where the stored cursor can't tell all."""
        item, job = attempt.item, attempt.job

        def pull_from(cursor: Cursor | None) -> Update:
            return self.puller.pull(token, cursor, item.days_requested, job.time_left)

        def pulled(update: Update, *, full_resync: bool) -> Pulled:
            return Pulled(update, self._leftovers(attempt), tuple(update.net.broken.values()), full_resync)

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
        return Pulled(whole, found.leftovers, tuple(broken.values()), full_resync=True)

    def decide(self, attempt: Attempt, pulled: Pulled, erased: Collection[TransactionId]) -> Writes:
        """Return what the update writes: what changed, and tombstones for what is settled or gone.

        Of rows that this attempt has erased there is nothing more to say.
        """
        item = attempt.item
        update, full_resync, leftovers = pulled.update, pulled.full_resync, pulled.leftovers
        mentioned = update.net.mentioned
        if full_resync and update.history_complete:
            settled = reconcile(self.transactions.scan_item(item.item_id), mentioned)
        else:
            settled = settle(leftovers, mentioned, item.writing_since).tombstones
        changes, unchanged = self._drop_unchanged(attempt, update, full_resync=full_resync)
        rows = [row for row in changes if row.transaction_id not in erased]
        return Writes(
            [*rows, *settled],
            reconcile_owed=full_resync and not update.history_complete,
            unchanged=unchanged,
            settled=len(settled),
        )

    def _drop_unchanged(self, attempt: Attempt, update: Update, *, full_resync: bool) -> tuple[list[RowWrite], int]:
        item = attempt.item
        # An `added` transaction is new, unless an attempt died or the history is pulled again: don't pay to look.
        everything = full_resync or item.writing_since is not None
        ids = [
            row.transaction_id for row in update.net.rows() if everything or row.transaction_id in update.net.modified
        ]
        read = self.transactions.rows(item.item_id, ids) if ids else {}
        # One newer than its Item is not left so: writing it shows that the fence has to be raised.
        stored = {key: row for key, row in read.items() if row.generation < item.generation}
        # Whether Plaid goes on serving rows of an account that the user has withdrawn is not documented.
        allowed = without_accounts(update.net.changes.values(), attempt.revoked_accounts)
        return changed_only(allowed, stored)


def _cursor_is_useless(error: PlaidError | RetryableError, attempt: int) -> bool:
    """Tell whether only a pull from the beginning helps: Plaid rejects the cursor, or never settles on it."""
    if error.code == INVALID_FIELD_CODE:
        return True
    return error.code == MUTATION_PERSISTS and attempt >= RESYNC_ON_ATTEMPT
