"""The steps of a claimed attempt, up to its outcome: check, pull, write, commit. Failures are the engine's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from plaid_sync.domain import schedule
from plaid_sync.domain.accounts import merge_accounts
from plaid_sync.domain.errors import FailureClass, PlaidError, TransientError
from plaid_sync.domain.item import Checkpoint, StateName
from plaid_sync.domain.state_machine import ItemEvent, apply_events
from plaid_sync.domain.transaction import RowRemoval, TransactionRow
from plaid_sync.domain.transitions import Action, EventType, transition
from plaid_sync.pull.puller import MAX_RESTARTS, MUTATION_PERSISTS, PAGE_SECONDS
from plaid_sync.sync.job import Attempt, Outcome, SyncReport, finding_of
from plaid_sync.sync.planner import (
    MAX_PULL_RESTARTS,
    PART_SECONDS,
    RECONCILE_DELAYS,
    resets_again,
    split,
    split_writes,
)
from plaid_sync.sync.ports import Commit, FollowUp, ItemStateUpdate
from plaid_sync.sync.quarantine import split_entry

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.accounts import Account
    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Cursor, Item, ItemState
    from plaid_sync.domain.transaction import RowWrite
    from plaid_sync.pull.pages import InvalidEntry
    from plaid_sync.pull.puller import Update
    from plaid_sync.sync.accounts import AccountChecks
    from plaid_sync.sync.planner import PlannedWrites, PulledPart, Restart, UpdatePlanner
    from plaid_sync.sync.ports import AccessTokens, PlaidHealth, Quarantine, SyncItems, TransactionsStore

_WRITE_SECONDS: Final = 40.0
_MAX_RESTARTS: Final = 2 * MAX_RESTARTS
"""Of an attempt: after more, those of its first parts included, no pull begins."""
_MAX_REQUEST_IDS: Final = 20
_CHECKS: Final = frozenset({Action.CHECK, Action.CHECK_ACCOUNTS})


@dataclass(frozen=True, slots=True)
class AttemptSteps:
    """Runs claimed attempts.

    Attributes:
        pulled_with: the stack's options of /transactions/sync (`PullOptions.name`).
    """

    items: SyncItems
    transactions: TransactionsStore
    quarantine: Quarantine
    tokens: AccessTokens
    plaid: PlaidHealth
    planner: UpdatePlanner
    accounts: AccountChecks
    clock: Clock
    pulled_with: str = ""

    def run(self, attempt: Attempt) -> SyncReport:
        """Sync a claimed Item up to an outcome, and record that.

        Raises:
            PlaidError: Plaid refused.
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: a transient failure, or time is running out.
        """
        token = self.tokens.decrypt(attempt.item.item_id, attempt.item.access_token)
        self._change_options(attempt)
        self.accounts.close_rows(attempt)
        finding = self.accounts.check(attempt, token, self._check_health(attempt, token))
        report = replace(attempt.report, outcome=Outcome.CONTINUES, state=attempt.item.state.name)
        while True:
            part, report = self._pull(attempt, token, report)
            attempt.report = report
            if part.update.cursor is None:
                return self._record_not_ready(attempt, part, finding, report)
            writes = self.planner.plan(attempt, part)
            report = _with_part(report, part, writes)
            if part.is_complete:
                return self._commit(attempt, part, part.update.cursor, writes, finding, report)
            self._write(attempt, part.invalid, writes.rows, part.checkpoint)
            attempt.report = report
            if not attempt.job.deadline.allows(PAGE_SECONDS + PART_SECONDS):
                return self._record_continues(attempt, report)

    # ---- pull

    def _change_options(self, attempt: Attempt) -> None:
        """Make a full resync due where the Item's rows were pulled with other options than the stack's.

        Both are recorded in one write, so that a worker that dies leaves the resync pending, and no attempt repeats it.
        """
        item = attempt.item
        if item.pulled_with != self.pulled_with:
            has_rows = item.cursor is not None
            attempt.item = self.items.restart_pull(item, from_beginning=has_rows, pulled_with=self.pulled_with)

    def _pull(self, attempt: Attempt, token: str, report: SyncReport) -> tuple[PulledPart, SyncReport]:
        """Pull the next part; where the pull has to start again, do that first."""
        while report.restarts <= _MAX_RESTARTS:
            failed: PlaidError | TransientError | None = None
            try:
                part = self.planner.pull(attempt, token)
            except (PlaidError, TransientError) as error:
                restart, failed = self.planner.restart_after_error(attempt, token, error), error
                if restart is None:
                    raise
            else:
                restart = self.planner.restart_after_pull(attempt.item, part)
                if restart is None:
                    return part, report
                # The next pull need not mention what was invalid in this one.
                self._keep(attempt, part.invalid)
                report = _with_pages(report, part)
            now, item = self.clock.now(), attempt.item
            report = _restarted(report, restart, again=restart.resets_cursor and resets_again(item, now))
            attempt.report = report
            reset_at = now if restart.resets_cursor else None
            attempt.item = self.items.restart_pull(item, from_beginning=restart.from_beginning, reset_at=reset_at)
            if failed and not restart.resets_cursor and attempt.item.pull_restarts > MAX_PULL_RESTARTS:
                raise TransientError(MUTATION_PERSISTS) from failed
        raise TransientError(MUTATION_PERSISTS)

    def _check_health(self, attempt: Attempt, token: str) -> ItemEvent:
        """Call /item/get where a hint or the state suggests a problem; return the finding.

        A successful sync is no proof of health: whether Plaid serves one while the user has to log in is not
        documented.
        """
        state = attempt.item.state.name
        actions = {transition(state, hint.type).action for hint in attempt.hints}
        if state == StateName.ACTIVE and actions.isdisjoint(_CHECKS):
            return ItemEvent(EventType.HEALTHY)
        health = self.planner.puller.within_limits(lambda: self.plaid.health(token), attempt.job.deadline)
        if health.request_id:
            attempt.report = replace(attempt.report, request_ids=(health.request_id,))
        return finding_of(health)

    # ---- outcomes

    def _record_continues(self, attempt: Attempt, report: SyncReport) -> SyncReport:
        """Record that another invocation continues the pull.

        Size is no failure. A pull that started again too often is one, which shows on the Item until it ends.
        """
        item, now = attempt.item, self.clock.now()
        failure = item.failure if item.pull_restarts >= MAX_PULL_RESTARTS else None
        following = schedule.to_continue(now)
        report = replace(report, generation=item.generation, next_attempt_at=following.at)
        update = ItemStateUpdate(
            item.state,
            FollowUp(following, failure, item.pending_checks),
            attempt.entry(report, report.outcome.value, now),
        )
        self.items.record(item, update)
        return report

    def _record_not_ready(
        self, attempt: Attempt, part: PulledPart, finding: ItemEvent, report: SyncReport
    ) -> SyncReport:
        """Record that Plaid has nothing ready; if the Item was synced before, its history may have changed."""
        item, status = attempt.item, part.update.update_status
        report = replace(_with_pages(report, part), outcome=Outcome.NOT_READY)
        reconcile_after = None if item.cursor is None else self.clock.now() + RECONCILE_DELAYS[0]
        state, follow_up, report = self._conclude(attempt, finding, report, status, reconcile_after)
        entry = attempt.entry(report, report.outcome.value, self.clock.now())
        reconcile = item.cursor is not None
        update = ItemStateUpdate(state, follow_up, entry, status, reconcile)
        self.items.record(item, update)
        return report

    def _commit(  # noqa: PLR0913, PLR0917 - the results of the attempt's steps
        self,
        attempt: Attempt,
        part: PulledPart,
        cursor: Cursor,
        writes: PlannedWrites,
        finding: ItemEvent,
        report: SyncReport,
    ) -> SyncReport:
        item, update = attempt.item, part.update
        status, reconciliation = update.update_status, writes.reconciliation
        # One that was requested during a pull in parts has no time yet: the next attempt must not be a routine one.
        reconcile_after = reconciliation.after or self.clock.now() if reconciliation.pending else None
        report = replace(report, outcome=Outcome.COMMITTED)
        # What a sync response says about accounts is a hint, too: the next attempt compares them.
        attempt.hinted = self._hints_at_accounts(attempt, update)
        state, follow_up, report = self._conclude(attempt, finding, report, status, reconcile_after)
        notable = _is_notable(attempt, report) or state != item.state or status != item.update_status
        commit = Commit(
            expected_cursor=item.cursor,
            cursor=cursor,
            update_status=status,
            pull_began_at=part.checkpoint.began_at,
            committed_at=self.clock.now(),
            state=state,
            entry=attempt.entry(report, report.outcome.value, self.clock.now()) if notable else None,
            follow_up=follow_up,
            reconciliation=reconciliation,
            accounts=self._accounts_after(item, update.accounts),
            accounts_checked_at=item.accounts_checked_at,
            pulled_with=item.pulled_with,
        )
        self._write(attempt, part.invalid, writes.rows, commit)
        return report

    def _hints_at_accounts(self, attempt: Attempt, update: Update) -> bool:
        """Return whether Plaid serves an account that it did not list, or lists one that is new since the first sync.

        Bounded in time: Plaid may serve a closed account for ever, and the stored accounts may lack one for want of
        room.
        """
        item, checked_at = attempt.item, attempt.item.accounts_checked_at
        if item.cursor is None or attempt.accounts_checked:
            return False
        if checked_at is not None and self.clock.now() - checked_at < schedule.UNCONFIRMED_LOOKS:
            return False
        known, unlisted = item.known_account_ids, item.account_states.unlisted
        if any(account.account_id not in known for account in update.accounts):
            return True
        return any(row.account_id in unlisted for row in update.net.rows())

    @staticmethod
    def _accounts_after(item: Item, listed: tuple[Account, ...]) -> tuple[Account, ...]:
        closed = item.account_states.without_content
        return merge_accounts(item.accounts, (each for each in listed if each.account_id not in closed))

    def _conclude(
        self,
        attempt: Attempt,
        finding: ItemEvent,
        report: SyncReport,
        update_status: str,
        reconcile_after: datetime | None,
    ) -> tuple[ItemState, FollowUp, SyncReport]:
        """Return the Item's state after the attempt, its next attempt, and the report with both."""
        item, now = attempt.item, self.clock.now()
        result = apply_events(item.state, (*attempt.hints, finding), now)
        code, failure_class = _retry_of(attempt, finding)
        if failure_class is None:
            failure = None
            following = schedule.after_outcome(item, result.state.name, update_status, now, reconcile_after)
        else:
            failure = schedule.next_failure(item.failure, code, failure_class, now)
            # Plaid serves the Item meanwhile: there is no hurry, of whichever class its report is.
            following = schedule.after_failure(item.item_id, FailureClass.INSTITUTION_DOWN, item.failure, failure)
        if attempt.open_withdrawals:
            following = replace(following, at=min(following.at, now + schedule.UNCONFIRMED_LOOKS))
        if attempt.hinted and failure is None:
            following = schedule.to_continue(now)
        report = replace(
            report,
            generation=item.generation,
            state=result.state.name,
            published_events=result.published_events,
            until=result.state.until,
            code=finding.code or result.state.code or "",
            code_reason=finding.code_reason if finding.code else result.state.code_reason,
            failure=failure,
            next_attempt_at=following.at,
        )
        return result.state, FollowUp(following, failure, attempt.open_checks), report

    # ---- writes

    def _keep(self, attempt: Attempt, invalid: tuple[InvalidEntry, ...]) -> None:
        """Keep invalid entries before anything of the update is written: the cursor never passes one that is not."""
        if not invalid:
            return
        parts = [part for entry in invalid for part in split_entry(entry)]
        for batch in split(parts, lambda part: part.stored_bytes):
            attempt.job.deadline.require(_WRITE_SECONDS)
            self.quarantine.keep(attempt.item.item_id, attempt.item.generation, batch)

    def _write(
        self, attempt: Attempt, invalid: tuple[InvalidEntry, ...], rows: list[RowWrite], end: Commit | Checkpoint
    ) -> None:
        """Write a part; its last transaction commits the update, or records the checkpoint."""
        self._keep(attempt, invalid)
        item, batches, provisional = attempt.item, list(split_writes(rows)), isinstance(end, Checkpoint)
        for number, batch in enumerate(batches, start=1):
            attempt.job.deadline.require(_WRITE_SECONDS)
            last = number == len(batches)
            self.transactions.write(
                item.item_id,
                item.generation,
                batch,
                begin=number == 1 and (provisional or not last),
                end=end if last else None,
            )
        if isinstance(end, Checkpoint):
            since = item.generation if item.writing_since is None else item.writing_since
            attempt.item = replace(item, generation=item.generation + 1, checkpoint=end, writing_since=since)


def _is_notable(attempt: Attempt, report: SyncReport) -> bool:
    """Return whether a committed look is worth a history entry: it found something, ended a failure or was requested.

    A look that finds nothing, of which there are several a day, leaves its time on the Item.
    """
    item = attempt.item
    was_quiet = item.cursor is not None and item.failure is None and not item.pending_checks and not item.reconcile
    # What an attempt wrote that died, or was deferred, is published with the next entry.
    was_quiet = was_quiet and item.unfinished_attempts <= 1 and item.writing_since is None
    found = replace(report, pages=0, request_ids=(), next_attempt_at=None)
    nothing = SyncReport(Outcome.COMMITTED, generation=report.generation, state=report.state)
    return not (was_quiet and attempt.job.is_routine and found == nothing)


def _restarted(report: SyncReport, restart: Restart, *, again: bool) -> SyncReport:
    """Return the report of a pull that starts again: it writes again what its parts wrote before."""
    return replace(
        report,
        added=0,
        modified=0,
        removed=0,
        unchanged=0,
        recovered=0,
        restarts=report.restarts + 1,
        cursor_reset=report.cursor_reset or restart.resets_cursor,
        cursor_reset_again=report.cursor_reset_again or again,
    )


def _with_pages(report: SyncReport, part: PulledPart) -> SyncReport:
    update = part.update
    return replace(
        report,
        pages=report.pages + update.pages,
        restarts=report.restarts + update.restarts,
        full_resync=part.full_resync,
        request_ids=(*report.request_ids, *update.request_ids)[-_MAX_REQUEST_IDS:],
    )


def _with_part(report: SyncReport, part: PulledPart, writes: PlannedWrites) -> SyncReport:
    """Return the report with what a part adds to it."""
    net = part.update.net
    upserts = [row for row in writes.rows if isinstance(row, TransactionRow)]
    # A row without a change is written again because an invalid entry mentions it.
    changed = [row for row in upserts if row.transaction_id in net.changes]
    modified = sum(row.transaction_id in net.modified for row in changed)
    return replace(
        _with_pages(report, part),
        added=report.added + len(changed) - modified,
        modified=report.modified + modified,
        removed=report.removed + sum(isinstance(row, RowRemoval) for row in writes.rows),
        unchanged=report.unchanged + writes.unchanged,
        recovered=report.recovered + writes.recovered,
        quarantined=(*report.quarantined, *part.invalid),
        reconcile_decided=writes.decided,
    )


def _retry_of(attempt: Attempt, finding: ItemEvent) -> tuple[str, FailureClass | None]:
    """Return the code and the class of a failure although Plaid serves the Item; None for no retry.

    Plaid reports a failure of the Item, or its accounts could not be compared.
    """
    retried = transition(attempt.item.state.name, finding.type).action is Action.RETRY
    if finding.code is not None and retried:
        return finding.code, FailureClass(finding.type.value)
    error = attempt.failed_check
    if error is None:
        return "", None
    return error.code, error.failure_class if isinstance(error, PlaidError) else FailureClass.TRANSIENT
