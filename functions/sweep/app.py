"""The sweep: every few minutes it enqueues the Items that are due, and emits the gauges of all Items.

Event: the schedule's, which is not read. Returns `{"enqueued", "deferred", "waiting"}`.
Environment: `plaid_sync.config.SweepSettings`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.clients import client, deadline_of
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.aws.dynamodb.quarantine import count_rows
from plaid_sync.aws.sqs import SqsQueueDepth, SqsSyncQueue
from plaid_sync.aws.telemetry import correlation_id, count, logger, measure, metrics
from plaid_sync.config import SweepSettings, from_environment
from plaid_sync.domain.clock import SystemClock
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import StateName
from plaid_sync.metrics import Metric
from plaid_sync.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock
    from plaid_sync.sweep import ItemGauges, SweepResult


@dataclass(frozen=True, slots=True)
class Sweep:
    """The wired function.

    Attributes:
        quarantined_rows: returns how many rows are in quarantine, up to a limit.
    """

    sweeper: Sweeper
    gauges: ItemGauges
    quarantined_rows: Callable[[], int]


def build_sweep(environment: Mapping[str, str], clock: Clock | None = None) -> Sweep:
    """Wire the sweep; nothing is called yet."""
    settings, dynamodb, sqs = from_environment(SweepSettings, environment), client("dynamodb"), client("sqs")
    items = ItemIndexes(dynamodb, settings.items_table)
    queue = SqsSyncQueue(sqs, settings.sync_queue_url, correlation_id)
    depth = SqsQueueDepth(sqs, settings.sync_queue_url)
    sweeper = Sweeper(items, queue, depth, clock or SystemClock(), settings.sweep_limit)
    return Sweep(sweeper, items, lambda: count_rows(dynamodb, settings.quarantine_table))


sweep = build_sweep(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
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
        _emit_gauges()
    count(Metric.SWEEP_RUNS)
    if result.failures:
        raise TransientError(result.failures[0])
    return {"enqueued": len(result.enqueued), "deferred": result.deferred, "waiting": result.waiting}


def _emit(result: SweepResult) -> None:
    count(Metric.SWEEP_ENQUEUED, len(result.enqueued))
    count(Metric.SWEEP_DEFERRED, result.deferred)
    for item in result.enqueued:
        logger.info("item swept", item_id=item.item_id, state=item.state, due_at=item.due_at)
    logger.info(
        "sweep completed",
        enqueued=len(result.enqueued),
        deferred=result.deferred,
        waiting=result.waiting,
        failures=result.failures,
    )


def _emit_gauges() -> None:
    now, stalest = sweep.sweeper.clock.now(), sweep.gauges.stalest_success()
    measure(Metric.STALEST_ITEM_AGE, now - (stalest or now))
    counts = sweep.gauges.counts()
    for state in StateName:
        count(Metric.ITEMS, counts[state], by=state.value)
    count(Metric.UNKNOWN_STATES, sum(counts.values()) - sum(counts[state] for state in StateName))
    count(Metric.REMOVALS_INCOMPLETE, sweep.gauges.removals_incomplete())
    count(Metric.QUARANTINED_ROWS, sweep.quarantined_rows())
