"""What a sync is asked for, what it reports, and what it leaves in its Item's history."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.lifecycle.states import Event
from plaid_sync.core.triggers import Cause

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.core.error_codes import FailureClass
    from plaid_sync.core.items import Item, ItemId, ItemStatus
    from plaid_sync.core.lifecycle.standing import Occurrence
    from plaid_sync.core.lifecycle.states import Announcement
    from plaid_sync.core.sync.quarantine import BrokenEntry

_COUNTS: Final = ("added", "modified", "removed", "unchanged", "settled", "erased", "pages", "restarts")
_CAUSES_KEPT: Final = 10


class Outcome(StrEnum):
    """How a sync ended. All of them acknowledge the triggers, but for `SUPERSEDED` and `UNREGISTERED`."""

    COMMITTED = "committed"
    COVERED = "covered"
    NOT_READY = "not_ready"
    SUPERSEDED = "superseded"
    NEEDS_USER = "needs_user"
    REVOKED = "revoked"
    REMOVED = "removed"
    UNREGISTERED = "unregistered"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did.

    Attributes:
        again: set where the triggers have to come back all the same, and how soon.
        added: new transactions written.
        modified: changed transactions written.
        removed: tombstones written, settled ones included.
        unchanged: transactions that were stored already.
        settled: tombstones for rows that a dead attempt had left.
        erased: rows whose account the user has withdrawn, or that went with their Item.
        quarantined: entries that break Plaid's contract, kept apart.
        full_resync: the whole history was pulled again.
        status: how the Item stands afterwards.
        announcements: what the event bus is told.
        until: when it stops working, of an expiring Item.
        code: Plaid's code: of its refusal, of what it says is wrong with the Item, or of the warning that stands.
        request_ids: Plaid's ids of the calls, the newest last.
    """

    outcome: Outcome
    again: FailureClass | None = None
    added: int = 0
    modified: int = 0
    removed: int = 0
    unchanged: int = 0
    settled: int = 0
    erased: int = 0
    quarantined: tuple[BrokenEntry, ...] = ()
    pages: int = 0
    restarts: int = 0
    full_resync: bool = False
    generation: int = 0
    status: ItemStatus | None = None
    announcements: tuple[Announcement, ...] = ()
    until: datetime | None = None
    code: str = ""
    request_ids: tuple[str, ...] = ()

    @property
    def changed(self) -> int:
        """How many rows it wrote."""
        return self.added + self.modified + self.removed


@dataclass(frozen=True, slots=True)
class SyncJob:
    """One attempt to sync one Item.

    Attributes:
        newest_trigger_at: when the newest of the triggers that this job answers was sent.
        attempt: how often the oldest of them has been received.
        time_left: seconds until the worker is killed.
        hints: what Plaid's ITEM webhooks among the triggers tell, in the order in which they were queued.
        causes: who asked for it, in words for the Item's history.
        webhook_since: when the oldest of its webhooks was accepted; None where none is among the triggers.
        correlation_ids: what marks the requests that led to it.
    """

    item_id: ItemId
    newest_trigger_at: datetime
    attempt: int
    time_left: Callable[[], float]
    hints: tuple[Occurrence, ...] = ()
    causes: tuple[str, ...] = ()
    webhook_since: datetime | None = None
    correlation_ids: tuple[str, ...] = ()

    @property
    def swept(self) -> bool:
        """Whether nobody but the sweep has asked for it."""
        return self.causes == (Cause.SWEEP.value,)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed Item, and what the attempt works with.

    Attributes:
        began_at: when the attempt began.
    """

    item: Item
    job: SyncJob
    began_at: datetime

    @property
    def withdrawn(self) -> frozenset[str]:
        """The accounts that the job says the user has withdrawn."""
        told = (hint.account_id for hint in self.job.hints if hint.event is Event.USER_ACCOUNT_REVOKED)
        return frozenset(account_id for account_id in told if account_id is not None)

    @property
    def revoked_accounts(self) -> frozenset[str]:
        """The accounts of which no row may be kept."""
        return self.item.revoked_accounts | self.withdrawn


def sync_entry(attempt: Attempt, report: SyncReport, outcome: str, now: datetime) -> HistoryEntry:
    """Return what an Item's history records of an attempt; counts of nothing are left out."""
    item, job = attempt.item, attempt.job
    counts = {name: getattr(report, name) or None for name in _COUNTS}
    details: dict[str, Any] = {
        "causes": list(job.causes[:_CAUSES_KEPT]),
        "withdrawn_accounts": sorted(attempt.withdrawn) or None,
        "generation": item.generation,
        "status_before": item.status.value,
        "status": report.status.value if report.status else None,
        "code": report.code or None,
        "until": report.until,
        **counts,
        "quarantined": len(report.quarantined) or None,
        "full_resync": report.full_resync or None,
        "milliseconds": max(0, round((now - attempt.began_at).total_seconds() * 1000)),
        "correlation_ids": list(job.correlation_ids[:_CAUSES_KEPT]) or None,
        "plaid_request_ids": list(report.request_ids) or None,
    }
    return HistoryEntry(
        item.item_id, now, f"g{item.generation}", EntryKind.SYNC, outcome, details, report.announcements
    )
