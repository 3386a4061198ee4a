"""The sweep: every minute it enqueues the Items whose next attempt has come; every four, it emits gauges of all Items.

Event: the schedule's, which is not read. Returns `{"enqueued", "deferred"}`.
Environment: `plaid_sync.config.SweepSettings`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import client, deadline_of
from plaid_sync.aws.dynamodb.attempts import SharedAttempts
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.aws.dynamodb.quarantine import count_rows
from plaid_sync.aws.event_source import is_stopped
from plaid_sync.aws.sqs import SqsSyncQueue
from plaid_sync.aws.telemetry import correlation_id, count, gauge, logger, measure, metrics
from plaid_sync.config import SweepSettings, from_environment
from plaid_sync.domain.clock import SystemClock
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import StateName
from plaid_sync.metrics import Metric
from plaid_sync.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock
    from plaid_sync.sweep import ItemGauges, SweepResult

_GAUGES_EVERY: Final = timedelta(minutes=3, seconds=30)
"""With every fourth run: each five minutes of an alarm have a measurement."""


@dataclass(slots=True)
class Sweep:
    """The wired function.

    Attributes:
        quarantined_rows: returns how many rows are in quarantine, up to a limit.
        events_stopped: returns whether nothing polls the history's stream, from which events are published.
        gauges_at: when this process emitted the gauges last.
    """

    sweeper: Sweeper
    gauges: ItemGauges
    quarantined_rows: Callable[[], int]
    events_stopped: Callable[[], bool]
    gauges_at: datetime | None = None


def build_sweep(environment: Mapping[str, str], clock: Clock | None = None) -> Sweep:
    """Wire the sweep; nothing is called yet."""
    settings, dynamodb, sqs = from_environment(SweepSettings, environment), client("dynamodb"), client("sqs")
    functions = client("lambda")
    items, clock = ItemIndexes(dynamodb, settings.items_table), clock or SystemClock()
    attempts = SharedAttempts(dynamodb, settings.shared_table, clock)
    queue = SqsSyncQueue(sqs, settings.sync_queue_url, correlation_id)
    sweeper = Sweeper(items, attempts, queue, clock, settings.plaid_calls_per_minute)
    return Sweep(
        sweeper,
        items,
        quarantined_rows=lambda: count_rows(dynamodb, settings.quarantine_table),
        events_stopped=lambda: is_stopped(functions, settings.history_mapping_id),
    )


sweep = build_sweep(os.environ)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Sweep once.

    Raises:
        TransientError: AWS refused a call, so that an alarm rings; the rest of the run is done.
    """
    logger.set_correlation_id(context.aws_request_id)
    try:
        result = sweep.sweeper.sweep(deadline_of(context))
        _emit(result)
    finally:
        # Also where nothing could be enqueued: then the age of the stalest Item is what an operator needs.
        now = sweep.sweeper.clock.now()
        if sweep.gauges_at is None or now - sweep.gauges_at >= _GAUGES_EVERY:
            _emit_gauges(now)
            sweep.gauges_at = now
    count(Metric.SWEEP_RUNS)
    if result.failures:
        raise TransientError(result.failures[0])
    return {"enqueued": len(result.enqueued), "deferred": result.deferred}


def _emit(result: SweepResult) -> None:
    count(Metric.SWEEP_ENQUEUED, len(result.enqueued))
    count(Metric.SWEEP_DEFERRED, result.deferred)
    for item in result.enqueued:
        logger.info(
            "item swept", item_id=item.item_id, attempt_class=item.attempt_class, next_attempt_at=item.next_attempt_at
        )
    logger.info(
        "sweep completed",
        enqueued=len(result.enqueued),
        deferred=result.deferred,
        probing=result.probing,
        failures=result.failures,
    )


def _emit_gauges(now: datetime) -> None:
    """Emit the gauges, zeros included, which clear alarms; none for a table that never had an Item."""
    counts = sweep.gauges.counts()
    if not any(counts.values()):
        return
    stalest = sweep.gauges.stalest_success()
    measure(Metric.STALEST_ITEM_AGE, now - (stalest or now))
    for state in StateName:
        gauge(Metric.ITEMS, counts[state], by=state.value)
    count(Metric.UNKNOWN_STATES, sum(counts.values()) - sum(counts[state] for state in StateName))
    gauge(Metric.REMOVALS_INCOMPLETE, sweep.gauges.removals_incomplete())
    for attempt_class, failures in sweep.gauges.failures().items():
        gauge(Metric.ITEMS_FAILING, failures.count, by=attempt_class.value)
        measure(Metric.OLDEST_FAILURE, now - (failures.oldest or now), by=attempt_class.value)
    gauge(Metric.QUARANTINED_ROWS, sweep.quarantined_rows())
    count(Metric.EVENTS_STOPPED, int(sweep.events_stopped()))
