"""The generation protocol: bring one Item's rows to Plaid's truth, whatever dies on the way.

Claim (raise the fence), pull (all of the update before the first write), settle (what a dead attempt left),
quarantine (what breaks Plaid's contract), write (fenced transactions, the cursor with the last one).
`docs/decisions.md` argues each step.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from plaid_sync.core.error_codes import FailureClass, classify
from plaid_sync.core.failures import (
    PlaidError,
    RemovalUnfinishedError,
    RetryableError,
    RowNewerThanItemError,
    SupersededError,
)
from plaid_sync.core.items import Cursor, Item, ItemStatus
from plaid_sync.core.lifecycle.standing import Occurrence, found, judge
from plaid_sync.core.lifecycle.states import TABLE, Action, Event
from plaid_sync.core.sync.accounts import merged, shared
from plaid_sync.core.sync.coalescing import covers
from plaid_sync.core.sync.plan import (
    Commit,
    RowWrite,
    Verdict,
    cut,
    into_transactions,
)
from plaid_sync.core.sync.pulling import require_time
from plaid_sync.core.sync.quarantine import BrokenEntry, into_parts
from plaid_sync.core.sync.sync_job import Attempt, Outcome, SyncJob, SyncReport, sync_entry
from plaid_sync.core.sync.transactions import Removal, TransactionRow

if TYPE_CHECKING:
    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Standing
    from plaid_sync.core.lifecycle.removal import Remover
    from plaid_sync.core.sync.catching_up import CatchUp, Pulled
    from plaid_sync.core.sync.pulling import Update
    from plaid_sync.core.sync.transactions import TransactionId
    from plaid_sync.ports.common import Clock, TokenDecryptor
    from plaid_sync.ports.lifecycle import PlaidItem
    from plaid_sync.ports.sync import Quarantine, SyncItems, TransactionTable

_SECONDS_FOR_A_WRITE: Final = 40.0
_REQUEST_IDS_KEPT: Final = 20
_ACKNOWLEDGED: Final = {FailureClass.NEEDS_USER: Outcome.NEEDS_USER, FailureClass.TERMINAL: Outcome.REVOKED}
"""What ends a trigger although Plaid refused: it is recorded, and a retry changes nothing."""


@dataclass(frozen=True, slots=True)
class SyncEngine:
    """Syncs one Item."""

    items: SyncItems
    transactions: TransactionTable
    quarantine: Quarantine
    tokens: TokenDecryptor
    plaid: PlaidItem
    catch_up: CatchUp
    remover: Remover
    clock: Clock

    def sync(self, job: SyncJob) -> SyncReport:
        """Bring the Item's rows to Plaid's truth.

        Raises:
            PlaidError: Plaid refused in a way that asks to try again, soon or in hours.
            RetryableError: something else failed that passes.
            RemovalUnfinishedError: the Item was removed, and something is left to do about it.
        """
        began_at = self.clock()
        item = self.items.load(job.item_id)
        if item is None:
            return SyncReport(Outcome.UNREGISTERED)
        if item.status is ItemStatus.REMOVED:
            return self._finish_removal(item, job)
        if not job.hints and covers(item, job.newest_trigger_at):
            return SyncReport(Outcome.COVERED, status=item.status)
        claimed = self.items.claim(item, str(uuid.uuid4()))
        attempt = Attempt(claimed, job, began_at)
        try:
            return self._sync_claimed(attempt)
        except SupersededError:
            return SyncReport(Outcome.SUPERSEDED, generation=claimed.generation)
        except RowNewerThanItemError as error:
            # The Items table was restored from a backup, so that its cursor has forgotten what its rows have seen.
            self.items.raise_fence(claimed, error.generation)
            raise
        except PlaidError as error:
            return self._record_failure(attempt, error)

    def _finish_removal(self, item: Item, job: SyncJob) -> SyncReport:
        try:
            erased = self.remover.finish(item, job.time_left, job.causes)
        except PlaidError as error:
            raise RemovalUnfinishedError(error.failure_class, error.code) from error
        except RetryableError as error:
            raise RemovalUnfinishedError(FailureClass.RETRY, error.code) from error
        return SyncReport(Outcome.REMOVED, erased=erased, status=item.status)

    def _record_failure(self, attempt: Attempt, error: PlaidError) -> SyncReport:
        """Record what Plaid says is wrong with the Item; what passes by itself is raised.

        Raises:
            PlaidError: it passes, or is not the Item's fault: the triggers come back, and with them their hints.
        """
        item, outcome = attempt.item, _ACKNOWLEDGED.get(error.failure_class)
        hints = attempt.job.hints if outcome is not None else ()
        failure = Occurrence(found(error.failure_class), error.code)
        judged = judge(item.standing, (*hints, failure), self.clock())
        report = SyncReport(
            outcome or Outcome.NOT_READY,
            generation=item.generation,
            status=judged.standing.status,
            announcements=judged.announcements,
            code=error.code,
            request_ids=(error.request_id,) if error.request_id else (),
        )
        if outcome is not None or judged.standing != item.standing:
            what = report.outcome if outcome is not None else judged.standing.status
            entry = self._entry(attempt, report, str(what))
            try:
                self.items.record(item, Verdict(judged.standing, entry, attempt.revoked_accounts))
            except SupersededError:
                return SyncReport(Outcome.SUPERSEDED, generation=item.generation, code=error.code)
        if outcome is None:
            raise error
        return report

    def _sync_claimed(self, attempt: Attempt) -> SyncReport:
        item = attempt.item
        token = self.tokens.decrypt(item.item_id, item.access_token)
        erased = self._erase_withdrawn_accounts(attempt)
        finding, checked = self._look(attempt, token)
        pulled = self.catch_up.pull(attempt, token)
        judged = judge(item.standing, (*attempt.job.hints, finding), self.clock())
        again = _again(item.status, finding)
        report = SyncReport(
            Outcome.NOT_READY,
            again=again,
            erased=len(erased),
            pages=pulled.update.pages,
            restarts=pulled.update.restarts,
            generation=item.generation,
            status=judged.standing.status,
            # What the hints say about accounts is told when they have come for the last time.
            announcements=judged.announcements if again is None else judged.about_the_item,
            until=judged.standing.until,
            code=finding.code or judged.standing.code or "",
            request_ids=(*checked, *pulled.update.request_ids)[-_REQUEST_IDS_KEPT:],
        )
        if pulled.update.cursor is None:
            return self._record_not_ready(attempt, pulled.update, judged.standing, report)
        return self._commit(attempt, pulled, pulled.update.cursor, judged.standing, report, erased)

    def _look(self, attempt: Attempt, token: str) -> tuple[Occurrence, tuple[str, ...]]:
        """Ask Plaid how the Item is, where anything says that it may not be well; return it with the call's id.

        That a sync succeeds is no proof: whether Plaid serves one while the user has to log in is not documented.
        """
        item, hints = attempt.item, attempt.job.hints
        actions = {TABLE[item.status, hint.event].action for hint in hints}
        if item.status is ItemStatus.ACTIVE and Action.CHECK not in actions:
            return Occurrence(Event.HEALTHY), ()
        health = self.catch_up.puller.within_limits(lambda: self.plaid.health(token), attempt.job.time_left)
        request_ids = (health.request_id,) if health.request_id else ()
        if health.error_code is None:
            return Occurrence(Event.HEALTHY, until=health.consent_until), request_ids
        return Occurrence(found(classify(health.error_code)), health.error_code), request_ids

    def _record_not_ready(self, attempt: Attempt, update: Update, standing: Standing, report: SyncReport) -> SyncReport:
        if attempt.item.cursor is not None:
            raise RetryableError("plaid_lost_the_cursor")
        entry = self._entry(attempt, report, str(report.outcome))
        verdict = Verdict(standing, entry, attempt.revoked_accounts, update.update_status)
        self.items.record(attempt.item, verdict)
        return report

    def _commit(  # noqa: PLR0913, PLR0917 - what the attempt has found out
        self,
        attempt: Attempt,
        pulled: Pulled,
        cursor: Cursor,
        standing: Standing,
        begun: SyncReport,
        erased: frozenset[TransactionId],
    ) -> SyncReport:
        item, update = attempt.item, pulled.update
        writes = self.catch_up.decide(attempt, pulled, erased)
        self._quarantine(item, pulled.broken, attempt.job)
        upserts = [row for row in writes.rows if isinstance(row, TransactionRow)]
        modified = sum(row.transaction_id in update.net.modified for row in upserts)
        report = replace(
            begun,
            outcome=Outcome.COMMITTED,
            added=len(upserts) - modified,
            modified=modified,
            removed=len(writes.rows) - len(upserts),
            unchanged=writes.unchanged,
            settled=writes.settled,
            quarantined=pulled.broken,
            full_resync=pulled.full_resync,
        )
        commit = Commit(
            expected_cursor=item.cursor,
            cursor=cursor,
            reconcile=writes.reconcile_owed,
            update_status=update.update_status,
            pull_began_at=update.began_at,
            committed_at=self.clock(),
            standing=standing,
            entry=self._entry(attempt, report, str(report.outcome)),
            accounts=shared(merged(item.accounts, update.accounts), attempt.revoked_accounts),
            revoked_accounts=attempt.revoked_accounts,
        )
        self._write(item, writes.rows, commit, attempt.job)
        return report

    def _entry(self, attempt: Attempt, report: SyncReport, outcome: str) -> HistoryEntry:
        return sync_entry(attempt, report, outcome, self.clock())

    def _erase_withdrawn_accounts(self, attempt: Attempt) -> frozenset[TransactionId]:
        """Erase the rows of accounts that the user has withdrawn, whatever becomes of the sync; return which.

        Under the fence, so that no older attempt can bring one back; read after the claim, so that none is missed.
        """
        item, withdrawn = attempt.item, attempt.withdrawn
        if not withdrawn:
            return frozenset()
        if not withdrawn <= item.revoked_accounts:
            # First of all: whatever becomes of this attempt and its trigger, none of their rows is let in any more.
            self.items.withdraw_accounts(item, attempt.revoked_accounts)
        rows: list[RowWrite] = [
            Removal(row.transaction_id, row.account_id, erase=True)
            for row in self.transactions.scan_item(item.item_id)
            if row.account_id in withdrawn
        ]
        for batch in into_transactions(rows) if rows else ():
            require_time(attempt.job.time_left, _SECONDS_FOR_A_WRITE)
            self.transactions.write(item.item_id, item.generation, batch, begin=False, commit=None)
        return frozenset(row.transaction_id for row in rows)

    def _quarantine(self, item: Item, broken: tuple[BrokenEntry, ...], job: SyncJob) -> None:
        """Keep broken entries before anything of the update is written: the cursor never passes one that is not."""
        if not broken:
            return
        parts = [part for entry in broken for part in into_parts(entry)]
        for batch in cut(parts, lambda part: part.stored_bytes):
            require_time(job.time_left, _SECONDS_FOR_A_WRITE)
            self.quarantine.keep(item.item_id, item.generation, batch)

    def _write(self, item: Item, rows: list[RowWrite], commit: Commit, job: SyncJob) -> None:
        batches = list(into_transactions(rows))
        for number, batch in enumerate(batches, start=1):
            require_time(job.time_left, _SECONDS_FOR_A_WRITE)
            last = number == len(batches)
            self.transactions.write(
                item.item_id,
                item.generation,
                batch,
                begin=number == 1 and not last,
                commit=commit if last else None,
            )


def _again(status: ItemStatus, finding: Occurrence) -> FailureClass | None:
    """Tell whether the triggers have to come back although the sync succeeded: Plaid says that the Item is not well."""
    if finding.code is None or TABLE[status, finding.event].action is not Action.RETRY:
        return None
    return classify(finding.code)
