"""What the sync function tells of a batch: metrics, and a log line for each Item."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from plaid_sync.adapters.telemetry import count, logger, measure
from plaid_sync.core.sync.sync_job import Outcome
from plaid_sync.signals import Signal

if TYPE_CHECKING:
    from plaid_sync.core.items import ItemId
    from plaid_sync.core.sync.batch_result import BatchResult, Failure
    from plaid_sync.core.sync.sync_job import SyncJob, SyncReport

_OUTCOMES: Final = {
    Outcome.COMMITTED: Signal.SYNC_COMMITTED,
    Outcome.COVERED: Signal.SYNC_COVERED,
    Outcome.NOT_READY: Signal.SYNC_NOT_READY,
    Outcome.SUPERSEDED: Signal.SYNC_SUPERSEDED,
    Outcome.NEEDS_USER: Signal.SYNC_NEEDS_USER,
    Outcome.REVOKED: Signal.SYNC_REVOKED,
    Outcome.REMOVED: Signal.SYNC_REMOVED,
}


def tell_batch(result: BatchResult) -> None:
    """Tell what became of a batch."""
    count(Signal.TRIGGERS_COALESCED, result.coalesced)
    count(Signal.TRIGGERS_RENEWED, result.renewed)
    for wait in result.waits:
        measure(Signal.TRIGGER_WAIT, wait)
    for lag in result.lags.values():
        measure(Signal.SYNC_LAG, lag)
    for item_id, report in result.reports.items():
        _tell_report(item_id, report, result.jobs[item_id])
    for failure in result.failures:
        _tell_failure(failure)
    for message_id, reason in result.parked.items():
        count(Signal.MESSAGES_PARKED)
        logger.error("message parked in the dead-letter queue", message_id=message_id, reason=reason)


def _tell_report(item_id: ItemId, report: SyncReport, job: SyncJob) -> None:
    count(_OUTCOMES[report.outcome])
    counts = {
        Signal.TRANSACTIONS_ADDED: report.added,
        Signal.TRANSACTIONS_MODIFIED: report.modified,
        Signal.TRANSACTIONS_REMOVED: report.removed,
        Signal.TRANSACTIONS_UNCHANGED: report.unchanged,
        Signal.ROWS_ERASED: report.erased,
        Signal.ROWS_SETTLED: report.settled,
        Signal.ROWS_QUARANTINED: len(report.quarantined),
        Signal.PAGES_PULLED: report.pages,
        Signal.PAGINATION_RESTARTS: report.restarts,
        Signal.FULL_RESYNCS: int(report.full_resync),
        Signal.SWEEP_REPAIRS: int(job.swept and report.changed > 0),
    }
    for signal, number in counts.items():
        count(signal, number)
    logger.info(
        "item synced",
        extra={
            "item_id": item_id,
            "correlation_ids": " ".join(job.correlation_ids),
            "causes": ", ".join(job.causes),
            "outcome": report.outcome,
            "generation": report.generation,
            "status": report.status,
            "announcements": report.announcements,
            "code": report.code,
            "plaid_request_id": report.request_ids[-1] if report.request_ids else "",
            **{signal.value: number for signal, number in counts.items()},
        },
    )
    for entry in report.quarantined:
        logger.error(
            "entry quarantined",
            item_id=item_id,
            source=entry.source,
            field=entry.field,
            transaction_id=entry.transaction_id,
            entry_id=entry.entry_id,
        )


def _tell_failure(failure: Failure) -> None:
    count(Signal.SYNC_FAILED)
    if failure.unknown:
        count(Signal.UNKNOWN_PLAID_CODES)
    logger.error(
        "sync failed",
        item_id=failure.item_id,
        correlation_ids=" ".join(failure.correlation_ids),
        failure_class=failure.failure_class,
        code=failure.code,
        retry_in_seconds=failure.delay,
        where=_places(failure.bug),
    )


def _places(bug: Exception | None) -> list[str]:
    """Return where an unexpected exception came from; its text could quote bank data and is left out."""
    if bug is None:
        return []
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(bug.__traceback__)]
