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

_OUTCOMES: Final = {
    Outcome.COMMITTED: Metric.SYNC_COMMITTED,
    Outcome.COVERED: Metric.SYNC_COVERED,
    Outcome.CONTINUES: Metric.SYNC_CONTINUES,
    Outcome.NOT_READY: Metric.SYNC_NOT_READY,
    Outcome.SUPERSEDED: Metric.SYNC_SUPERSEDED,
    Outcome.NEEDS_USER: Metric.SYNC_NEEDS_USER,
    Outcome.REVOKED: Metric.SYNC_REVOKED,
    Outcome.REMOVED: Metric.SYNC_REMOVED,
    Outcome.UNREGISTERED: Metric.SYNC_UNREGISTERED,
    Outcome.UNKNOWN_STATE: Metric.UNKNOWN_STATES,
}


def emit_batch_telemetry(result: BatchResult) -> None:
    """Emit the metrics and logs of a batch."""
    count(Metric.MESSAGES_COALESCED, result.coalesced)
    count(Metric.MESSAGES_RETURNED, len(result.failed_message_ids))
    count(Metric.VISIBILITY_FAILURES, result.visibility_failures)
    for wait in result.waits:
        measure(Metric.MESSAGE_WAIT, wait)
    for lag in result.lags.values():
        measure(Metric.SYNC_LAG, lag)
    for item_id, report in result.reports.items():
        _emit_report(item_id, report, result.jobs[item_id])
    for returned in result.returned:
        _log_returned(returned)
    for message_id, reason in result.dead_lettered.items():
        count(Metric.MESSAGES_DEAD_LETTERED)
        logger.error("message dead-lettered", message_id=message_id, reason=reason)


def report_orphaned(item_id: ItemId) -> None:
    """Report a removed Item that lives on at Plaid."""
    count(Metric.ITEM_ORPHANED)
    logger.critical("removed item orphaned at plaid", item_id=item_id)


def _emit_report(item_id: ItemId, report: SyncReport, job: SyncJob) -> None:
    counts = {
        Metric.TRANSACTIONS_ADDED: report.added,
        Metric.TRANSACTIONS_MODIFIED: report.modified,
        Metric.TRANSACTIONS_REMOVED: report.removed + report.gone,
        Metric.TRANSACTIONS_UNCHANGED: report.unchanged,
        Metric.ROWS_ERASED: report.erased,
        Metric.ACCOUNTS_GONE: report.accounts_gone,
        Metric.ACCOUNTS_WITHDRAWN: report.accounts_withdrawn,
        Metric.ACCOUNTS_RETURNED: report.accounts_returned,
        Metric.PARTIAL_WRITES_RECOVERED: report.recovered,
        Metric.ROWS_QUARANTINED: len(report.quarantined),
        Metric.PAGES_PULLED: report.pages,
        Metric.PAGINATION_RESTARTS: report.restarts,
        Metric.FULL_RESYNCS: int(report.full_resync),
        Metric.CURSOR_RESETS: int(report.cursor_reset),
        Metric.CURSOR_RESETS_REPEATED: int(report.cursor_reset_again),
        Metric.RECONCILES_DECIDED: int(report.reconcile_decided),
        Metric.SWEEP_REPAIRS: int(job.swept and report.changed > 0),
    }
    for metric, number in counts.items():
        count(metric, number)
    if is_error_code(report.code) and not is_known(report.code):
        count(Metric.UNKNOWN_PLAID_CODES)
    if report.outcome is Outcome.FAILED:
        _emit_failure(item_id, report, job)
    else:
        count(_OUTCOMES[report.outcome])
        _log_success(item_id, report, job, {metric.value: number for metric, number in counts.items()})
    for entry in report.quarantined:
        logger.error(
            "entry quarantined",
            item_id=item_id,
            source=entry.source,
            field=entry.field,
            transaction_id=entry.transaction_id,
            entry_id=entry.entry_id,
        )


def _log_success(item_id: ItemId, report: SyncReport, job: SyncJob, counts: dict[str, int]) -> None:
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
            **counts,
        },
    )


def _emit_failure(item_id: ItemId, report: SyncReport, job: SyncJob) -> None:
    failure = report.failure
    failure_class = "" if failure is None else failure.failure_class
    count(Metric.SYNC_FAILED, by=failure_class)
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
