"""The telemetry of a batch of the sync function: metrics, and a log line for each Item."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from plaid_sync.aws.telemetry import count, logger, measure
from plaid_sync.domain.clock import format_optional_timestamp, format_timestamp
from plaid_sync.domain.errors import is_known
from plaid_sync.domain.text import is_error_code
from plaid_sync.metrics import Metric
from plaid_sync.sync.job import Outcome

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId
    from plaid_sync.sync.batch import BatchResult, Returned
    from plaid_sync.sync.job import SyncJob, SyncReport

_OUTCOMES: Final = {Outcome.COMMITTED: Metric.SYNC_COMMITTED, Outcome.UNKNOWN_STATE: Metric.UNKNOWN_STATES}
"""The outcomes that are counted. The log has each, in `outcome`."""
_COUNTED: Final = (
    Metric.TRANSACTIONS_ADDED,
    Metric.TRANSACTIONS_MODIFIED,
    Metric.TRANSACTIONS_REMOVED,
    Metric.ROWS_QUARANTINED,
    Metric.CURSOR_RESETS_REPEATED,
    Metric.RECONCILES_DECIDED,
    Metric.SWEEP_REPAIRS,
    Metric.SCHEDULED_REFRESHES,
)
"""The figures of a sync that are metrics, too."""


def emit_batch_telemetry(result: BatchResult) -> None:
    """Emit the metrics and logs of a batch."""
    notable = {
        "returned": len(result.failed_message_ids),
        "coalesced": result.coalesced,
        "visibility_failures": result.visibility_failures,
    }
    if any(notable.values()):
        logger.info("batch completed", extra=notable)
    for wait in result.waits:
        measure(Metric.MESSAGE_WAIT, wait)
    for lag in result.lags.values():
        measure(Metric.SYNC_LAG, lag)
    for item_id, report in result.reports.items():
        _emit_report(item_id, report, result.jobs[item_id])
    for returned in result.returned:
        _log_returned(returned)
    for message_id, reason in result.dead_lettered.items():
        logger.error("message dead-lettered", message_id=message_id, reason=reason)


def report_orphaned(item_id: ItemId) -> None:
    """Report a removed Item that lives on at Plaid."""
    count(Metric.ITEM_ORPHANED)
    logger.critical("removed item orphaned at plaid", item_id=item_id)


def _emit_report(item_id: ItemId, report: SyncReport, job: SyncJob) -> None:
    figures = _figures(report, job)
    for metric in _COUNTED:
        count(metric, figures[metric])
    if is_error_code(report.code) and not is_known(report.code):
        logger.warning("unknown plaid code", item_id=item_id, code=report.code)
    if report.outcome is Outcome.FAILED:
        _emit_failure(item_id, report, job)
    elif report.outcome is Outcome.DEFERRED:
        _log_deferred(item_id, report, job)
    else:
        if report.outcome in _OUTCOMES:
            count(_OUTCOMES[report.outcome])
        _log_success(item_id, report, job, figures)
    for entry in report.quarantined:
        logger.error(
            "entry quarantined",
            item_id=item_id,
            source=entry.source,
            field=entry.field,
            transaction_id=entry.transaction_id,
            entry_id=entry.entry_id,
        )


def _figures(report: SyncReport, job: SyncJob) -> dict[str, int]:
    """Return the figures of a sync, by their names in the log."""
    return {
        "TransactionsAdded": report.added,
        "TransactionsModified": report.modified,
        "TransactionsRemoved": report.removed + report.gone,
        "TransactionsUnchanged": report.unchanged,
        "RowsErased": report.erased,
        "AccountsGone": report.accounts_gone,
        "AccountsWithdrawn": report.accounts_withdrawn,
        "AccountsReturned": report.accounts_returned,
        "PartialWritesRecovered": report.recovered,
        "RowsQuarantined": len(report.quarantined),
        "PagesPulled": report.pages,
        "PaginationRestarts": report.restarts,
        "FullResyncs": int(report.full_resync),
        "CursorResets": int(report.cursor_reset),
        "CursorResetsRepeated": int(report.cursor_reset_again),
        "ReconcilesDecided": int(report.reconcile_decided),
        "SweepRepairs": int(job.swept and report.changed > 0),
        "ScheduledRefreshes": int(report.refresh == "requested"),
    }


def _log_success(item_id: ItemId, report: SyncReport, job: SyncJob, figures: dict[str, int]) -> None:
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
            "code_reason": report.code_reason,
            "plaid_request_id": report.request_ids[-1] if report.request_ids else "",
            **{name: number for name, number in figures.items() if number},
        },
    )


def _log_deferred(item_id: ItemId, report: SyncReport, job: SyncJob) -> None:
    """Log an attempt that the call budget deferred."""
    logger.info(
        "sync deferred",
        item_id=item_id,
        correlation_ids=" ".join(job.correlation_ids),
        call_class=job.call_class,
        next_attempt_at=format_optional_timestamp(report.next_attempt_at),
    )


def _emit_failure(item_id: ItemId, report: SyncReport, job: SyncJob) -> None:
    failure = report.failure
    failure_class = "" if failure is None else failure.failure_class
    count(Metric.SYNC_FAILED)
    logger.error(
        "sync failed",
        item_id=item_id,
        correlation_ids=" ".join(job.correlation_ids),
        failure_class=failure_class,
        code=report.code,
        failing_since=None if failure is None else format_timestamp(failure.since),
        next_attempt_at=format_optional_timestamp(report.next_attempt_at),
        where=_frames(report.bug),
    )


def _log_returned(returned: Returned) -> None:
    """Log why messages return to the queue: no outcome could be recorded on their Item."""
    logger.error(
        "messages returned",
        item_id=returned.item_id,
        correlation_ids=" ".join(returned.correlation_ids),
        code=returned.code,
        where=_frames(returned.bug),
    )


def _frames(bug: Exception | None) -> list[str]:
    """Return where an unexpected exception came from; its text could quote bank data and is omitted."""
    if bug is None:
        return []
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(bug.__traceback__)]
