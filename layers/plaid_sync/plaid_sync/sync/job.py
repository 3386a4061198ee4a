"""One attempt to sync one Item: its input, its report, and its history entry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.errors import classify
from plaid_sync.domain.history import EntryKind, HistoryEntry
from plaid_sync.domain.item import CHECK_ACCOUNTS, PendingCheck
from plaid_sync.domain.messages import Cause
from plaid_sync.domain.schedule import MAX_UNCONFIRMED
from plaid_sync.domain.state_machine import ItemEvent, event_of_failure
from plaid_sync.domain.transitions import ITEM_WEBHOOK_EVENTS, Action, EventType, transition

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.errors import PlaidError, TransientError
    from plaid_sync.domain.item import Item, ItemFailure, ItemHealth, ItemId
    from plaid_sync.pull.pages import InvalidEntry

_COUNTS: Final = ("added", "modified", "removed", "unchanged", "recovered", "erased", "gone", "pages", "restarts")
_FLAGS: Final = ("full_resync", "cursor_reset", "reconcile_decided")
_WITHDRAWN: Final = EventType.USER_ACCOUNT_REVOKED.value
_ROUTINE_CAUSES: Final = frozenset({Cause.WEBHOOK, Cause.STALE_WEBHOOK, Cause.REFUSED_WEBHOOK, Cause.SWEEP})
_MAX_RECORDED: Final = 10
"""Causes and correlation ids in a history entry."""


class Outcome(StrEnum):
    """How an attempt ended. Each outcome is durable: the messages are deleted."""

    COMMITTED = "committed"
    COVERED = "covered"
    CONTINUES = "continues"
    """A part of a pull of many pages is written: another attempt continues."""
    NOT_READY = "not_ready"
    SUPERSEDED = "superseded"
    """A newer attempt began after the messages were received, and does their work."""
    DEFERRED = "deferred"
    """The call budget allows no call now: attempted again in a minute. The Item has not failed."""
    FAILED = "failed"
    """Recorded on the Item, which is retried."""
    NEEDS_USER = "needs_user"
    REVOKED = "revoked"
    REMOVED = "removed"
    UNREGISTERED = "unregistered"
    """There is no such Item. A link enqueues its first sync after it has registered the Item."""
    UNKNOWN_STATE = "unknown_state"
    """The Item is in a state of a newer version: not synced; it remembers what ITEM webhooks request."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What an attempt did.

    Attributes:
        added: new transactions written.
        modified: changed transactions written.
        removed: tombstones written, recovered ones included.
        unchanged: transactions that were stored already.
        recovered: tombstones for partial writes of a dead attempt.
        erased: rows whose account was withdrawn or erased, or that were erased with their Item.
        gone: rows that left the live rows because their account is gone.
        accounts_gone: accounts that are gone since the last comparison; likewise `accounts_withdrawn` and
            `accounts_returned`.
        quarantined: entries that violate Plaid's schema.
        full_resync: the whole history was pulled.
        cursor_reset: Plaid refused the stored cursor, so that the whole history was pulled.
        cursor_reset_again: the same, within a day of the last time.
        reconcile_decided: no history was ever reported as complete; after several full resyncs the absence of rows
            counts all the same.
        state: the Item's state afterwards; empty where it was not loaded.
        published_events: detail-types that are published.
        until: when an expiring Item stops working.
        code: Plaid's code: of its refusal, of what is wrong with the Item, or of the open warning.
        code_reason: Plaid's `error_code_reason` beside the code.
        request_ids: Plaid's ids of the calls, the newest last.
        failure: why the Item is retried, though it may be committed: Plaid reports that its bank is down.
        next_attempt_at: when the Item is attempted next; None where this attempt did not decide that.
        refresh: how the request of a scheduled refresh ended; empty without one.
        bug: the unexpected exception, where one is the cause.
        kills_workers: its workers died again and again, twice in a row. A transaction recorded that each time, so that
            an outage of AWS, in which claims succeed and outcomes cannot be recorded, is not the cause.
    """

    outcome: Outcome
    added: int = 0
    modified: int = 0
    removed: int = 0
    unchanged: int = 0
    recovered: int = 0
    erased: int = 0
    gone: int = 0
    accounts_gone: int = 0
    accounts_withdrawn: int = 0
    accounts_returned: int = 0
    quarantined: tuple[InvalidEntry, ...] = ()
    pages: int = 0
    restarts: int = 0
    full_resync: bool = False
    cursor_reset: bool = False
    cursor_reset_again: bool = False
    reconcile_decided: bool = False
    generation: int = 0
    state: str = ""
    published_events: tuple[str, ...] = ()
    until: datetime | None = None
    code: str = ""
    code_reason: str | None = None
    request_ids: tuple[str, ...] = ()
    failure: ItemFailure | None = None
    next_attempt_at: datetime | None = None
    refresh: str = ""
    bug: Exception | None = None
    kills_workers: bool = False

    @property
    def changed(self) -> int:
        """The number of rows written."""
        return self.added + self.modified + self.removed


@dataclass(frozen=True, slots=True)
class SyncJob:
    """The input of one attempt.

    Attributes:
        newest_message_at: when the newest of its messages was sent.
        deadline: when the invocation ends.
        checks: what Plaid's ITEM webhooks among the messages request, in the order in which they were queued.
        causes: what requested the sync, for the Item's history.
        webhook_since: when the oldest of its webhooks was accepted; None without a webhook.
        webhook_at: the same of the newest.
        correlation_ids: ids of the requests that led to it.
        call_class: what its calls to Plaid are for.
    """

    item_id: ItemId
    newest_message_at: datetime
    deadline: Deadline
    checks: tuple[PendingCheck, ...] = ()
    causes: tuple[str, ...] = ()
    webhook_since: datetime | None = None
    webhook_at: datetime | None = None
    correlation_ids: tuple[str, ...] = ()
    call_class: CallClass = CallClass.WEBHOOK

    @property
    def is_routine(self) -> bool:
        """Whether only webhooks and the sweep requested it."""
        return {cause.partition(" ")[0] for cause in self.causes} <= _ROUTINE_CAUSES

    @property
    def swept(self) -> bool:
        """Whether the sweep alone requested it."""
        return self.causes == (Cause.SWEEP.value,)


@dataclass(slots=True)
class Attempt:
    """A claimed Item, and the attempt's input.

    Attributes:
        item: as claimed, with all checks that are pending; each checkpoint raises its generation.
        began_at: when the attempt began.
        report: what it has done so far.
        accounts_checked: the accounts were compared with Plaid's list.
        unconfirmed: accounts that webhooks say the user withdrew, and that Plaid lists all the same.
        failed_check: why accounts could not be compared although that was requested.
        hinted: what Plaid served suggests that accounts have changed.
    """

    item: Item
    job: SyncJob
    began_at: datetime
    report: SyncReport = SyncReport(Outcome.FAILED)
    accounts_checked: bool = False
    unconfirmed: frozenset[str] = frozenset()
    failed_check: PlaidError | TransientError | None = None
    hinted: bool = False

    @property
    def hints(self) -> tuple[ItemEvent, ...]:
        """The pending checks of ITEM webhooks as events; those of a newer version are omitted."""
        return tuple(
            ItemEvent(EventType(check.code), None, check.until, check.reported_at)
            for check in self.item.pending_checks
            if check.code in ITEM_WEBHOOK_EVENTS
        )

    @property
    def requests_accounts(self) -> bool:
        """Whether a pending check requests that the accounts are compared."""
        return any(map(self._is_about_accounts, self.item.pending_checks))

    def _is_about_accounts(self, check: PendingCheck) -> bool:
        if check.code not in ITEM_WEBHOOK_EVENTS:
            return check.code == CHECK_ACCOUNTS
        return transition(self.item.state.name, EventType(check.code)).action is Action.CHECK_ACCOUNTS

    @property
    def reported_withdrawn(self) -> frozenset[str]:
        """The accounts that webhooks say the user withdrew."""
        reported = (check.account_id for check in self.item.pending_checks if check.code == _WITHDRAWN)
        return frozenset(account_id for account_id in reported if account_id is not None)

    @property
    def open_checks(self) -> tuple[PendingCheck, ...]:
        """The pending checks that stay after an outcome: those that could not be processed, or not finally."""
        unanswered = self.requests_accounts and not self.accounts_checked
        check = (PendingCheck(CHECK_ACCOUNTS, self.began_at),) if unanswered or self.hinted else ()
        return (*filter(self._stays_open, self.item.pending_checks), *check)

    @property
    def open_withdrawals(self) -> bool:
        """Whether an account is looked at again that a webhook said was withdrawn."""
        return self.accounts_checked and any(check.code == _WITHDRAWN for check in self.open_checks)

    def _stays_open(self, check: PendingCheck) -> bool:
        if check.code == _WITHDRAWN:
            young = self.began_at - (check.reported_at or self.began_at) < MAX_UNCONFIRMED
            return not self.accounts_checked or (check.account_id in self.unconfirmed and young)
        return check.code != CHECK_ACCOUNTS and check.code not in ITEM_WEBHOOK_EVENTS

    def entry(self, report: SyncReport, outcome: str, now: datetime) -> HistoryEntry:
        """Return the history entry of the attempt; counts of zero are omitted."""
        item, job = self.item, self.job
        details: dict[str, Any] = {
            "causes": list(job.causes[:_MAX_RECORDED]),
            "generation": item.generation,
            "state_before": str(item.state.name),
            "state": str(report.state) or None,
            "code": report.code or None,
            "code_reason": report.code_reason,
            "until": report.until,
            **{name: getattr(report, name) or None for name in _COUNTS},
            "quarantined": len(report.quarantined) or None,
            **{name: getattr(report, name) or None for name in _FLAGS},
            "failing_since": None if report.failure is None else report.failure.since,
            "next_attempt_at": None if report.failure is None else report.next_attempt_at,
            "milliseconds": max(0, round((now - self.began_at).total_seconds() * 1000)),
            "correlation_ids": list(job.correlation_ids[:_MAX_RECORDED]) or None,
            "plaid_request_ids": list(report.request_ids) or None,
        }
        suffix = f"g{item.generation}"
        return HistoryEntry(item.item_id, now, suffix, EntryKind.SYNC, outcome, details, report.published_events)

    def accounts_entry(
        self,
        outcome: str,
        now: datetime,
        published_events: tuple[str, ...],
        **details: Any,  # noqa: ANN401 - any value that a history entry can hold
    ) -> HistoryEntry:
        """Return the history entry of what was concluded about accounts."""
        item, job = self.item, self.job
        common: dict[str, Any] = {
            "causes": list(job.causes[:_MAX_RECORDED]),
            "generation": item.generation,
            "state": str(item.state.name),
            "correlation_ids": list(job.correlation_ids[:_MAX_RECORDED]) or None,
        }
        suffix = f"a{item.generation}"
        return HistoryEntry(item.item_id, now, suffix, EntryKind.SYNC, outcome, common | details, published_events)


def finding_of(health: ItemHealth) -> ItemEvent:
    """Return what Plaid's report about an Item means for its state."""
    if health.error_code is None:
        return ItemEvent(EventType.HEALTHY, until=health.consent_until)
    event = event_of_failure(classify(health.error_code, health.error_type))
    return ItemEvent(event, health.error_code, code_reason=health.code_reason)
