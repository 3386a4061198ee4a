"""One attempt to sync one Item: its input, its report, and its history entry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.history import EntryKind, HistoryEntry
from plaid_sync.domain.messages import Cause
from plaid_sync.domain.transitions import EventType

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.errors import FailureClass
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.state_machine import ItemEvent
    from plaid_sync.pull.pages import InvalidEntry

_COUNTS: Final = ("added", "modified", "removed", "unchanged", "recovered", "erased", "pages", "restarts")
_MAX_RECORDED: Final = 10
"""Causes and correlation ids in a history entry."""


class Outcome(StrEnum):
    """How a sync ended. All of them acknowledge the messages, except `SUPERSEDED` and `UNREGISTERED`."""

    COMMITTED = "committed"
    COVERED = "covered"
    NOT_READY = "not_ready"
    SUPERSEDED = "superseded"
    NEEDS_USER = "needs_user"
    REVOKED = "revoked"
    REMOVED = "removed"
    UNREGISTERED = "unregistered"
    UNKNOWN_STATE = "unknown_state"
    """The Item is in a state of a newer version: not synced. Messages with hints return to the queue."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did.

    Attributes:
        retry: set where the messages must return to the queue all the same; decides the backoff.
        added: new transactions written.
        modified: changed transactions written.
        removed: tombstones written, recovered ones included.
        unchanged: transactions that were stored already.
        recovered: tombstones for partial writes of a dead attempt.
        erased: rows whose account the user withdrew, or that were erased with their Item.
        quarantined: entries that violate Plaid's schema.
        full_resync: the whole history was pulled.
        state: the Item's state afterwards; empty where it was not loaded.
        published_events: detail-types that are published.
        until: when an expiring Item stops working.
        code: Plaid's code: of its refusal, of what is wrong with the Item, or of the open warning.
        request_ids: Plaid's ids of the calls, the newest last.
    """

    outcome: Outcome
    retry: FailureClass | None = None
    added: int = 0
    modified: int = 0
    removed: int = 0
    unchanged: int = 0
    recovered: int = 0
    erased: int = 0
    quarantined: tuple[InvalidEntry, ...] = ()
    pages: int = 0
    restarts: int = 0
    full_resync: bool = False
    generation: int = 0
    state: str = ""
    published_events: tuple[str, ...] = ()
    until: datetime | None = None
    code: str = ""
    request_ids: tuple[str, ...] = ()

    @property
    def changed(self) -> int:
        """The number of rows written."""
        return self.added + self.modified + self.removed


@dataclass(frozen=True, slots=True)
class SyncJob:
    """The input of one attempt.

    Attributes:
        newest_message_at: when the newest of its messages was sent.
        receives: how often the oldest of them has been received.
        deadline: when the invocation ends.
        hints: the events of Plaid's ITEM webhooks among the messages, in the order in which they were queued.
        causes: what requested the sync, for the Item's history.
        webhook_since: when the oldest of its webhooks was accepted; None without a webhook.
        correlation_ids: ids of the requests that led to it.
    """

    item_id: ItemId
    newest_message_at: datetime
    receives: int
    deadline: Deadline
    hints: tuple[ItemEvent, ...] = ()
    causes: tuple[str, ...] = ()
    webhook_since: datetime | None = None
    correlation_ids: tuple[str, ...] = ()

    @property
    def swept(self) -> bool:
        """Whether the sweep alone requested it."""
        return self.causes == (Cause.SWEEP.value,)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed Item, and the attempt's input.

    Attributes:
        began_at: when the attempt began.
    """

    item: Item
    job: SyncJob
    began_at: datetime

    @property
    def withdrawn(self) -> frozenset[str]:
        """The accounts that the hints say the user withdrew."""
        hinted = (hint.account_id for hint in self.job.hints if hint.type is EventType.USER_ACCOUNT_REVOKED)
        return frozenset(account_id for account_id in hinted if account_id is not None)

    @property
    def revoked_accounts(self) -> frozenset[str]:
        """The accounts of which no row may be kept."""
        return self.item.revoked_accounts | self.withdrawn

    def entry(self, report: SyncReport, outcome: str, now: datetime) -> HistoryEntry:
        """Return the history entry of the attempt; counts of zero are omitted."""
        item, job = self.item, self.job
        details: dict[str, Any] = {
            "causes": list(job.causes[:_MAX_RECORDED]),
            "withdrawn_accounts": sorted(self.withdrawn) or None,
            "generation": item.generation,
            "state_before": str(item.state.name),
            "state": str(report.state) or None,
            "code": report.code or None,
            "until": report.until,
            **{name: getattr(report, name) or None for name in _COUNTS},
            "quarantined": len(report.quarantined) or None,
            "full_resync": report.full_resync or None,
            "milliseconds": max(0, round((now - self.began_at).total_seconds() * 1000)),
            "correlation_ids": list(job.correlation_ids[:_MAX_RECORDED]) or None,
            "plaid_request_ids": list(report.request_ids) or None,
        }
        suffix = f"g{item.generation}"
        return HistoryEntry(item.item_id, now, suffix, EntryKind.SYNC, outcome, details, report.published_events)
