"""The sync protocol: bring one Item's rows to Plaid's truth, at whichever call the worker dies.

Claim (raise the generation), pull (the whole update before the first write), recover (a dead attempt's partial writes),
quarantine (entries that violate Plaid's schema), write (fenced transactions, the cursor with the last one).
docs/protocol.md states the protocol; docs/decisions.md gives the reasons.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import (
    FailureClass,
    PlaidError,
    RemovalIncompleteError,
    RowNewerThanItemError,
    SupersededError,
    TransientError,
    classify,
)
from plaid_sync.domain.item import StateName
from plaid_sync.domain.state_machine import ItemEvent, apply_events, event_of_failure
from plaid_sync.domain.transaction import RowRemoval, TransactionRow
from plaid_sync.domain.transitions import Action, EventType, transition
from plaid_sync.pull.pages import merge_accounts
from plaid_sync.sync.job import Attempt, Outcome, SyncJob, SyncReport
from plaid_sync.sync.planner import split, split_writes
from plaid_sync.sync.ports import Commit, ItemStateUpdate
from plaid_sync.sync.quarantine import split_entry

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Cursor, Item, ItemState
    from plaid_sync.domain.ports import TokenDecryptor
    from plaid_sync.domain.transaction import RowWrite, TransactionId
    from plaid_sync.pull.pages import InvalidEntry
    from plaid_sync.pull.puller import Update
    from plaid_sync.sync.planner import PulledUpdate, UpdatePlanner
    from plaid_sync.sync.ports import PlaidHealth, Quarantine, Removals, SyncItems, TransactionsStore

MAX_CLOCK_SKEW: Final = timedelta(seconds=120)
"""Two clocks (SQS's and a worker's), each trusted to a minute."""
_WRITE_SECONDS: Final = 40.0
_MAX_REQUEST_IDS: Final = 20
_ACKNOWLEDGED: Final = {FailureClass.NEEDS_USER: Outcome.NEEDS_USER, FailureClass.TERMINAL: Outcome.REVOKED}
"""Failures that acknowledge the messages: they are recorded, and a retry changes nothing."""


@dataclass(frozen=True, slots=True)
class SyncEngine:
    """Syncs one Item."""

    items: SyncItems
    transactions: TransactionsStore
    quarantine: Quarantine
    tokens: TokenDecryptor
    plaid: PlaidHealth
    planner: UpdatePlanner
    removals: Removals
    clock: Clock

    def sync(self, job: SyncJob) -> SyncReport:
        """Bring the Item's rows to Plaid's truth.

        Raises:
            PlaidError: Plaid refused, and the failure class asks for a retry.
            TransientError: a transient failure.
            RemovalIncompleteError: the Item is removed, and its removal is incomplete.
        """
        began_at = self.clock.now()
        item = self.items.load(job.item_id)
        if item is None:
            return SyncReport(Outcome.UNREGISTERED)
        if (report := self._report_without_sync(item, job)) is not None:
            return report
        claimed = self.items.claim(item, str(uuid.uuid4()))
        if not claimed.state.is_known:  # a newer version wrote it since `load`
            return _unknown_state(claimed, job)
        attempt = Attempt(claimed, job, began_at)
        try:
            return self._sync_claimed(attempt)
        except SupersededError:
            return SyncReport(Outcome.SUPERSEDED, generation=claimed.generation)
        except RowNewerThanItemError as error:
            # The Items table was restored from a backup: its cursor is older than its rows.
            self.items.raise_generation(claimed, error.generation)
            raise
        except PlaidError as error:
            return self._record_failure(attempt, error)

    def _report_without_sync(self, item: Item, job: SyncJob) -> SyncReport | None:
        """Return the report of an Item that needs no sync, or must not have one."""
        if not item.state.is_known:
            return _unknown_state(item, job)
        if item.removed:
            return self._finish_removal(item, job)
        if not job.hints and is_covered(item, job.newest_message_at):
            return SyncReport(Outcome.COVERED, state=item.state.name)
        return None

    def _finish_removal(self, item: Item, job: SyncJob) -> SyncReport:
        try:
            erased = self.removals.finish(item, job.deadline, job.causes)
        except PlaidError as error:
            raise RemovalIncompleteError(error.failure_class, error.code) from error
        except TransientError as error:
            raise RemovalIncompleteError(FailureClass.TRANSIENT, error.code) from error
        return SyncReport(Outcome.REMOVED, erased=erased, state=item.state.name)

    def _record_failure(self, attempt: Attempt, error: PlaidError) -> SyncReport:
        """Record a failure of the Item; a failure to retry is raised.

        Raises:
            PlaidError: it is transient, or not the Item's: the messages return, and with them their hints.
        """
        item, outcome = attempt.item, _ACKNOWLEDGED.get(error.failure_class)
        hints = attempt.job.hints if outcome is not None else ()
        failure = ItemEvent(event_of_failure(error.failure_class), error.code)
        result = apply_events(item.state, (*hints, failure), self.clock.now())
        report = SyncReport(
            outcome or Outcome.NOT_READY,
            generation=item.generation,
            state=result.state.name,
            published_events=result.published_events,
            code=error.code,
            request_ids=(error.request_id,) if error.request_id else (),
        )
        if outcome is not None or result.state != item.state:
            entry = attempt.entry(report, str(outcome or result.state.name), self.clock.now())
            try:
                self.items.record(item, ItemStateUpdate(result.state, entry, attempt.revoked_accounts))
            except SupersededError:
                return SyncReport(Outcome.SUPERSEDED, generation=item.generation, code=error.code)
        if outcome is None:
            raise error
        return report

    def _sync_claimed(self, attempt: Attempt) -> SyncReport:
        item = attempt.item
        token = self.tokens.decrypt(item.item_id, item.access_token)
        erased = self._erase_withdrawn_accounts(attempt)
        finding, request_ids = self._check_health(attempt, token)
        pulled = self.planner.pull(attempt, token)
        result = apply_events(item.state, (*attempt.job.hints, finding), self.clock.now())
        retry = _retry_class(item.state.name, finding)
        report = SyncReport(
            Outcome.NOT_READY,
            retry=retry,
            erased=len(erased),
            pages=pulled.update.pages,
            restarts=pulled.update.restarts,
            generation=item.generation,
            state=result.state.name,
            # The events about accounts are published when their messages are processed for the last time.
            published_events=result.published_events if retry is None else result.state_events,
            until=result.state.until,
            code=finding.code or result.state.code or "",
            request_ids=(*request_ids, *pulled.update.request_ids)[-_MAX_REQUEST_IDS:],
        )
        if pulled.update.cursor is None:
            return self._record_not_ready(attempt, pulled.update, result.state, report)
        return self._commit(attempt, pulled, pulled.update.cursor, result.state, report, erased)

    def _check_health(self, attempt: Attempt, token: str) -> tuple[ItemEvent, tuple[str, ...]]:
        """Call /item/get where a hint or the state suggests a problem; return the finding with the call's id.

        A successful sync is no proof of health: whether Plaid serves one while the user has to log in is not
        documented.
        """
        state = attempt.item.state.name
        actions = {transition(state, hint.type).action for hint in attempt.job.hints}
        if state == StateName.ACTIVE and Action.CHECK not in actions:
            return ItemEvent(EventType.HEALTHY), ()
        health = self.planner.puller.within_limits(lambda: self.plaid.health(token), attempt.job.deadline)
        request_ids = (health.request_id,) if health.request_id else ()
        if health.error_code is None:
            return ItemEvent(EventType.HEALTHY, until=health.consent_until), request_ids
        return ItemEvent(event_of_failure(classify(health.error_code)), health.error_code), request_ids

    def _record_not_ready(self, attempt: Attempt, update: Update, state: ItemState, report: SyncReport) -> SyncReport:
        if attempt.item.cursor is not None:
            raise TransientError("missing_next_cursor")
        entry = attempt.entry(report, report.outcome.value, self.clock.now())
        self.items.record(attempt.item, ItemStateUpdate(state, entry, attempt.revoked_accounts, update.update_status))
        return report

    def _commit(  # noqa: PLR0913, PLR0917 - the results of the attempt's steps
        self,
        attempt: Attempt,
        pulled: PulledUpdate,
        cursor: Cursor,
        state: ItemState,
        begun: SyncReport,
        erased: frozenset[TransactionId],
    ) -> SyncReport:
        item, update = attempt.item, pulled.update
        writes = self.planner.plan(attempt, pulled, erased)
        self._quarantine(item, pulled.invalid, attempt.job)
        upserts = [row for row in writes.rows if isinstance(row, TransactionRow)]
        modified = sum(row.transaction_id in update.net.modified for row in upserts)
        report = replace(
            begun,
            outcome=Outcome.COMMITTED,
            added=len(upserts) - modified,
            modified=modified,
            removed=len(writes.rows) - len(upserts),
            unchanged=writes.unchanged,
            recovered=writes.recovered,
            quarantined=pulled.invalid,
            full_resync=pulled.full_resync,
        )
        accounts = merge_accounts(item.accounts, update.accounts)
        commit = Commit(
            expected_cursor=item.cursor,
            cursor=cursor,
            reconcile=writes.reconcile_pending,
            update_status=update.update_status,
            pull_began_at=update.began_at,
            committed_at=self.clock.now(),
            state=state,
            entry=attempt.entry(report, report.outcome.value, self.clock.now()),
            accounts=tuple(account for account in accounts if account.account_id not in attempt.revoked_accounts),
            revoked_accounts=attempt.revoked_accounts,
        )
        self._write(item, writes.rows, commit, attempt.job)
        return report

    def _erase_withdrawn_accounts(self, attempt: Attempt) -> frozenset[TransactionId]:
        """Erase the rows of accounts that the user withdrew, before the outcome of the sync is known; return their ids.

        Under the fence, so that no older attempt can restore one; read after the claim, so that none is missed.
        """
        item, withdrawn = attempt.item, attempt.withdrawn
        if not withdrawn:
            return frozenset()
        if not withdrawn <= item.revoked_accounts:
            # First of all: from now on no row of theirs is accepted, even if this attempt and its message are lost.
            self.items.revoke_accounts(item, attempt.revoked_accounts)
        rows: list[RowWrite] = [
            RowRemoval(row.transaction_id, row.account_id, erase=True)
            for row in self.transactions.scan_item(item.item_id)
            if row.account_id in withdrawn
        ]
        for batch in split_writes(rows) if rows else ():
            attempt.job.deadline.require(_WRITE_SECONDS)
            self.transactions.write(item.item_id, item.generation, batch, begin=False, commit=None)
        return frozenset(row.transaction_id for row in rows)

    def _quarantine(self, item: Item, invalid: tuple[InvalidEntry, ...], job: SyncJob) -> None:
        """Keep invalid entries before anything of the update is written: the cursor never passes one that is not."""
        if not invalid:
            return
        parts = [part for entry in invalid for part in split_entry(entry)]
        for batch in split(parts, lambda part: part.stored_bytes):
            job.deadline.require(_WRITE_SECONDS)
            self.quarantine.keep(item.item_id, item.generation, batch)

    def _write(self, item: Item, rows: list[RowWrite], commit: Commit, job: SyncJob) -> None:
        batches = list(split_writes(rows))
        for number, batch in enumerate(batches, start=1):
            job.deadline.require(_WRITE_SECONDS)
            last = number == len(batches)
            self.transactions.write(
                item.item_id,
                item.generation,
                batch,
                begin=number == 1 and not last,
                commit=commit if last else None,
            )


def is_covered(item: Item, message_sent_at: datetime) -> bool:
    """Return whether the committed pull (surely) began after the message was sent, and nothing is pending."""
    if item.pull_began_at is None or item.state.name != StateName.ACTIVE:
        return False
    if item.reconcile or item.writing_since is not None:
        return False
    return message_sent_at + MAX_CLOCK_SKEW < item.pull_began_at


def _unknown_state(item: Item, job: SyncJob) -> SyncReport:
    """Return the report of an Item that a newer version syncs. Plaid does not repeat hints: they wait for it."""
    retry = FailureClass.INSTITUTION_DOWN if job.hints else None
    return SyncReport(Outcome.UNKNOWN_STATE, state=item.state.name, retry=retry)


def _retry_class(state: str, finding: ItemEvent) -> FailureClass | None:
    """Return how soon the messages must return although the sync succeeded: Plaid reports a failure of the Item."""
    if finding.code is None or transition(state, finding.type).action is not Action.RETRY:
        return None
    return classify(finding.code)
