"""The telemetry of a batch of the sync function: metrics, and a log line for each Item."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from plaid_sync.aws.telemetry import count, logger, measure
from plaid_sync.metrics import Metric
from plaid_sync.sync.job import Outcome

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId
    from plaid_sync.sync.batch import BatchResult, Failure
    from plaid_sync.sync.job import SyncJob, SyncReport

_OUTCOMES: Final = {
    Outcome.COMMITTED: Metric.SYNC_COMMITTED,
    Outcome.COVERED: Metric.SYNC_COVERED,
    Outcome.NOT_READY: Metric.SYNC_NOT_READY,
    Outcome.SUPERSEDED: Metric.SYNC_SUPERSEDED,
    Outcome.NEEDS_USER: Metric.SYNC_NEEDS_USER,
    Outcome.REVOKED: Metric.SYNC_REVOKED,
    Outcome.REMOVED: Metric.SYNC_REMOVED,
    Outcome.UNKNOWN_STATE: Metric.UNKNOWN_STATES,
}


def emit_batch_telemetry(result: BatchResult) -> None:
    """Emit the metrics and logs of a batch."""
    count(Metric.MESSAGES_COALESCED, result.coalesced)
    count(Metric.MESSAGES_REQUEUED, result.requeued)
    for wait in result.waits:
        measure(Metric.MESSAGE_WAIT, wait)
    for lag in result.lags.values():
        measure(Metric.SYNC_LAG, lag)
    for item_id, report in result.reports.items():
        _emit_report(item_id, report, result.jobs[item_id])
    for failure in result.failures:
        _emit_failure(failure)
    for message_id, reason in result.dead_lettered.items():
        count(Metric.MESSAGES_DEAD_LETTERED)
        logger.error("message dead-lettered", message_id=message_id, reason=reason)


def _emit_report(item_id: ItemId, report: SyncReport, job: SyncJob) -> None:
    count(_OUTCOMES[report.outcome])
    counts = {
        Metric.TRANSACTIONS_ADDED: report.added,
        Metric.TRANSACTIONS_MODIFIED: report.modified,
        Metric.TRANSACTIONS_REMOVED: report.removed,
        Metric.TRANSACTIONS_UNCHANGED: report.unchanged,
        Metric.ROWS_ERASED: report.erased,
        Metric.PARTIAL_WRITES_RECOVERED: report.recovered,
        Metric.ROWS_QUARANTINED: len(report.quarantined),
        Metric.PAGES_PULLED: report.pages,
        Metric.PAGINATION_RESTARTS: report.restarts,
        Metric.FULL_RESYNCS: int(report.full_resync),
        Metric.SWEEP_REPAIRS: int(job.swept and report.changed > 0),
    }
    for metric, number in counts.items():
        count(metric, number)
    logger.info(
        "item synced",
        extra={
            "item_id": item_id,
            "correlation_ids": " ".join(job.correlation_ids),
            "causes": ", ".join(job.causes),
            "outcome": report.outcome,
            "generation": report.generation,
            "state": report.state,
            "published_events": report.published_events,
            "code": report.code,
            "plaid_request_id": report.request_ids[-1] if report.request_ids else "",
            **{metric.value: number for metric, number in counts.items()},
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


def _emit_failure(failure: Failure) -> None:
    count(Metric.SYNC_FAILED)
    if failure.unknown:
        count(Metric.UNKNOWN_PLAID_CODES)
    logger.error(
        "sync failed",
        item_id=failure.item_id,
        correlation_ids=" ".join(failure.correlation_ids),
        failure_class=failure.failure_class,
        code=failure.code,
        retry_in_seconds=failure.delay,
        where=_frames(failure.bug),
    )


def _frames(bug: Exception | None) -> list[str]:
    """Return where an unexpected exception came from; its text could quote bank data and is omitted."""
    if bug is None:
        return []
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(bug.__traceback__)]
