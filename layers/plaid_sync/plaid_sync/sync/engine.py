"""The sync protocol: bring one Item's rows to Plaid's truth, at whichever call the worker dies.

Claim (raise the generation, remember the next attempt), pull (one part, or several with checkpoints), recover (a dead
attempt's partial writes), quarantine (entries that violate Plaid's schema), write (fenced transactions, the cursor with
the last one). A failure is recorded on the Item, with the time of its next attempt.
docs/protocol.md states the protocol; docs/decisions.md gives the reasons.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain import schedule
from plaid_sync.domain.clock import MAX_CLOCK_SKEW, format_timestamp, parse_timestamp
from plaid_sync.domain.errors import (
    CURSOR_CHANGED,
    ITEM_MODIFIED,
    TRANSACTION_CANCELED,
    WORKER_DIED,
    CallBudgetError,
    FailureClass,
    PlaidError,
    RowNewerThanItemError,
    SupersededError,
    TransientError,
)
from plaid_sync.domain.item import StateName, merge_checks
from plaid_sync.domain.state_machine import ItemEvent, apply_events, event_of_failure
from plaid_sync.sync.job import Attempt, Outcome, SyncJob, SyncReport
from plaid_sync.sync.ports import Claim, FollowUp, FoundItem, ItemStateUpdate

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item
    from plaid_sync.sync.ports import Removals, SyncItems
    from plaid_sync.sync.refresh import ScheduledRefresh
    from plaid_sync.sync.steps import AttemptSteps

MAX_UNFINISHED_ATTEMPTS: Final = 5
"""After so many attempts without an outcome the Item kills its workers: it is retried with a backoff."""
_RETRY_PAUSES: Final = (0.3, 2.0)
"""Seconds before a failure that passes in seconds is retried within the invocation."""
_RETRY_SECONDS: Final = 150.0
_PASS_IN_SECONDS: Final = frozenset({ITEM_MODIFIED, TRANSACTION_CANCELED, CURSOR_CHANGED})
_FINAL: Final = {FailureClass.NEEDS_USER: Outcome.NEEDS_USER, FailureClass.TERMINAL: Outcome.REVOKED}
"""Failures that no retry repairs: the Item's state says so."""


@dataclass(frozen=True, slots=True)
class SyncEngine:
    """Syncs one Item.

    Attributes:
        refresh: follows routine attempts; None for no scheduled refresh.
    """

    items: SyncItems
    steps: AttemptSteps
    removals: Removals
    clock: Clock
    refresh: ScheduledRefresh | None = None

    def sync(self, job: SyncJob) -> SyncReport:
        """Bring the Item's rows to Plaid's truth, or record on the Item why that failed.

        What passes in seconds is retried at once, unless the Item failed before.

        Raises:
            TransientError: nothing could be recorded: the messages must return.
        """
        for number, pause in enumerate((*_RETRY_PAUSES, None)):
            last = pause is None or not job.deadline.allows(_RETRY_SECONDS)
            report = self._attempt(job, number, last=last)
            if report is not None:
                return report
            self.clock.sleep(pause or 0.0)
        raise TransientError(ITEM_MODIFIED)

    def _attempt(self, job: SyncJob, number: int, *, last: bool) -> SyncReport | None:
        """Attempt once; return None where another attempt should follow at once."""
        began_at = self.clock.now()
        claim = _claim_of(job, began_at, repeated=number > 0)
        found = self._find(job, claim)
        if (item := found.item) is None:
            return self._roll_back(job)
        if not found.claimed:
            if (report := self._report_without_sync(item, job)) is not None:
                return report
            item = replace(item, pending_checks=merge_checks(item.pending_checks, job.checks))
            claim = replace(claim, attempt_id=_later_id(claim.attempt_id, item.attempt_id))
            try:
                item = self.items.claim(item, claim if item.state.is_known else replace(claim, repeated=True))
            except TransientError as error:
                if error.code == ITEM_MODIFIED and not last:
                    return None
                raise
        if not item.state.is_known:
            return SyncReport(Outcome.UNKNOWN_STATE, state=item.state.name)
        return self._sync_claimed(Attempt(item, job, began_at), last=last or item.failure is not None)

    def _find(self, job: SyncJob, claim: Claim) -> FoundItem:
        """Claim the Item, or only load it where something is to be decided before."""
        if job.checks:
            # They are merged with those that are pending.
            return FoundItem(self.items.load(job.item_id))
        return self.items.find(job.item_id, claim, job.newest_message_at + MAX_CLOCK_SKEW)

    def _sync_claimed(self, attempt: Attempt, *, last: bool) -> SyncReport | None:
        """Sync a claimed Item; a failure is recorded, unless it is retried at once: then return None."""
        item = attempt.item
        if item.unfinished_attempts > MAX_UNFINISHED_ATTEMPTS:
            # Claimed, because a worker that is only paused could commit without the checks of this attempt's messages.
            again = item.failure is not None and item.failure.code == WORKER_DIED
            report = self._record_failure(attempt, WORKER_DIED, FailureClass.CLIENT_ERROR)
            return replace(report, kills_workers=again)
        try:
            report = self._run(attempt)
            return report if self.refresh is None else self.refresh.follow(attempt, report)
        except SupersededError:
            return SyncReport(Outcome.SUPERSEDED, generation=attempt.item.generation)
        except Exception as error:  # noqa: BLE001 - a bug that one Item meets must show on it, and fail no other
            if _passes_in_seconds(error) and not last:
                return None
            return self._record_error(attempt, error)

    def _roll_back(self, job: SyncJob) -> SyncReport:
        """Remove at Plaid what a link left unregistered; after a failure the sweep requests it again."""
        try:
            self.removals.roll_back(job.item_id)
        except (PlaidError, TransientError) as error:
            return SyncReport(Outcome.FAILED, code=error.code)
        return SyncReport(Outcome.UNREGISTERED)

    def _report_without_sync(self, item: Item, job: SyncJob) -> SyncReport | None:
        """Return the report of an Item that needs no sync, or must not have one."""
        if not item.state.is_known:
            # A newer version syncs it. Plaid does not repeat hints: they wait on the Item for that version.
            if job.checks:
                return None
            self.items.postpone(item, schedule.after_unknown_state(item.item_id, self.clock.now()))
            return SyncReport(Outcome.UNKNOWN_STATE, state=item.state.name)
        if item.removed:
            return self._finish_removal(item, job)
        if not job.checks and is_covered(item, job.newest_message_at, self.clock.now()):
            return SyncReport(Outcome.COVERED, state=item.state.name)
        return None

    def _finish_removal(self, item: Item, job: SyncJob) -> SyncReport:
        attempt = Attempt(item, job, self.clock.now())
        try:
            erased = self.removals.finish(item, job.deadline, job.causes)
        except Exception as error:  # noqa: BLE001 - as below
            return self._record_error(attempt, error)
        return SyncReport(Outcome.REMOVED, erased=erased, state=item.state.name)

    def _run(self, attempt: Attempt) -> SyncReport:
        try:
            return self.steps.run(attempt)
        except RowNewerThanItemError as error:
            # The Items table was restored from a backup: its cursor is older than its rows.
            attempt.item = self.items.raise_generation(attempt.item, error.generation)
            raise

    def _record_error(self, attempt: Attempt, error: Exception) -> SyncReport:
        if isinstance(error, CallBudgetError):
            return self._defer(attempt)
        self.steps.tokens.forget(attempt.item.item_id)
        if isinstance(error, PlaidError):
            return self._record_failure(attempt, error.code, error.failure_class, error)
        if isinstance(error, TransientError):
            return self._record_failure(attempt, error.code, FailureClass.TRANSIENT)
        report = self._record_failure(attempt, type(error).__name__, FailureClass.CLIENT_ERROR)
        return replace(report, bug=error)

    def _defer(self, attempt: Attempt) -> SyncReport:
        """Record that the Item is attempted again in a minute; what is pending stays, and so does its failure.

        Raises:
            TransientError: it cannot be recorded.
        """
        item, now = attempt.item, self.clock.now()
        following = schedule.after_deferral(item, attempt.job.call_class, now)
        report = replace(attempt.report, outcome=Outcome.DEFERRED, state=item.state.name, next_attempt_at=following.at)
        # The sweep repeats it, and no longer knows what requested it.
        notable = not attempt.job.is_routine or report.changed
        entry = attempt.entry(report, report.outcome.value, now) if notable else None
        update = ItemStateUpdate(item.state, FollowUp(following, item.failure, item.pending_checks), entry)
        try:
            self.items.record(item, update)
        except SupersededError:
            return replace(report, outcome=Outcome.SUPERSEDED)
        return report

    def _record_failure(
        self, attempt: Attempt, code: str, failure_class: FailureClass, refusal: PlaidError | None = None
    ) -> SyncReport:
        """Record a failure on the Item, with the time of its next attempt.

        The history gets the first one, each change of state or class, each `worker_died`, and then fewer and fewer.

        Raises:
            TransientError: it cannot be recorded.
        """
        item, now, outcome = attempt.item, self.clock.now(), _FINAL.get(failure_class, Outcome.FAILED)
        final = outcome is not Outcome.FAILED and not item.removed
        request_id, code_reason = (refusal.request_id, refusal.code_reason) if refusal else ("", None)
        event = ItemEvent(event_of_failure(failure_class), code, code_reason=code_reason)
        result = apply_events(item.state, (*(attempt.hints if final else ()), event), now)
        failure = None if final else schedule.next_failure(item.failure, code, failure_class, now)
        if failure is None:
            following = schedule.after_outcome(item, result.state.name, item.update_status, now)
        else:
            following = schedule.after_failure(item.item_id, failure_class, item.failure, failure)
        report = replace(
            attempt.report,
            outcome=outcome if final else Outcome.FAILED,
            generation=item.generation,
            state=result.state.name,
            published_events=result.published_events,
            code=code,
            code_reason=code_reason,
            request_ids=(*attempt.report.request_ids, *((request_id,) if request_id else ())),
            failure=failure,
            next_attempt_at=following.at,
        )
        notable = final or result.state != item.state or schedule.is_notable(item.failure, failure)
        # In a transaction: while those are refused, attempts end without an outcome although no worker dies.
        notable = notable or code == WORKER_DIED
        update = ItemStateUpdate(
            result.state,
            FollowUp(following, failure, attempt.open_checks if final else item.pending_checks),
            attempt.entry(report, report.outcome.value, now) if notable else None,
        )
        try:
            self.items.record(item, update)
        except SupersededError:
            return SyncReport(Outcome.SUPERSEDED, generation=item.generation, code=code)
        return report


def _claim_of(job: SyncJob, began_at: datetime, *, repeated: bool) -> Claim:
    return Claim(_attempt_id(began_at), schedule.after_claim(job.item_id, began_at), repeated, job.webhook_at)


def _attempt_id(began_at: datetime) -> str:
    return f"{format_timestamp(began_at)}#{uuid.uuid4().hex[:12]}"


def _later_id(attempt_id: str, held: str) -> str:
    """Return an id that is greater than the held one, whose clock may be ahead: no late copy of its claim may hold."""
    held_at = parse_timestamp(held.partition("#")[0])
    if attempt_id > held or held_at is None:
        return attempt_id
    return _attempt_id(held_at + timedelta(milliseconds=1))


def _passes_in_seconds(error: Exception) -> bool:
    if isinstance(error, PlaidError):
        return error.failure_class is FailureClass.TRANSIENT
    return isinstance(error, RowNewerThanItemError) or getattr(error, "code", "") in _PASS_IN_SECONDS


def is_covered(item: Item, message_sent_at: datetime, now: datetime) -> bool:
    """Return whether the committed pull (surely) began after the message was sent, and nothing is pending."""
    if item.pull_began_at is None or item.state.name != StateName.ACTIVE or item.failure is not None:
        return False
    if item.pending_checks or item.writing_since is not None or item.reconcile_is_due(now):
        return False
    return message_sent_at + MAX_CLOCK_SKEW < item.pull_began_at
