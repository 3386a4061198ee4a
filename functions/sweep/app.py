"""The sweep: every few minutes it enqueues the Items that nobody has looked at for too long, and tells how all are.

Event: a schedule's, which is not read. Answers `{"enqueued", "left", "waiting"}`.
Environment: `plaid_sync.config.SweepSettings`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import client, utc_now
from plaid_sync.adapters.dynamodb.swept_items import SweptItemsTable
from plaid_sync.adapters.queues import SqsSyncQueue, WaitingMessages
from plaid_sync.adapters.telemetry import correlation_id, count, logger, measure, metrics
from plaid_sync.config import SweepSettings, from_environment
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.lifecycle.sweeping import Sweeper
from plaid_sync.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.core.lifecycle.sweeping import Sweep
    from plaid_sync.ports.common import Clock
    from plaid_sync.ports.lifecycle import ItemGauges


def build_sweeper(environment: Mapping[str, str], clock: Clock = utc_now) -> tuple[Sweeper, ItemGauges]:
    """Wire the sweep; nothing is called yet."""
    settings = from_environment(SweepSettings, environment)
    items = SweptItemsTable(client("dynamodb"), settings.items_table, settings.quarantine_table)
    sqs = client("sqs")
    queue = SqsSyncQueue(sqs, settings.sync_queue_url, correlation_id)
    return Sweeper(items, queue, WaitingMessages(sqs, settings.sync_queue_url), clock, settings.sweep_limit), items


sweeper, gauges = build_sweeper(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Sweep once.

    Raises:
        RetryableError: something was refused, so that an alarm tells; all that could be done is done.
    """
    logger.set_correlation_id(context.aws_request_id)
    try:
        done = sweeper.sweep(lambda: context.get_remaining_time_in_millis() / 1000)
        _tell(done)
    finally:
        # Also where nothing could be enqueued: then how stale the Items are is what somebody has to hear of.
        _tell_gauges()
    count(Signal.SWEEP_RUNS)
    if done.refusals:
        raise RetryableError(done.refusals[0])
    return {"enqueued": len(done.enqueued), "left": done.left, "waiting": done.waiting}


def _tell(done: Sweep) -> None:
    count(Signal.SWEEP_ENQUEUED, len(done.enqueued))
    count(Signal.SWEEP_LEFT, done.left)
    for one in done.enqueued:
        logger.info("item swept", item_id=one.item_id, status=one.status, due_at=one.due_at)
    logger.info("swept", enqueued=len(done.enqueued), left=done.left, waiting=done.waiting, refusals=done.refusals)


def _tell_gauges() -> None:
    now, stalest = sweeper.clock(), gauges.stalest_success()
    measure(Signal.STALEST_ITEM_AGE, now - (stalest or now))
    for status, number in gauges.counts().items():
        count(Signal.ITEMS, number, by=status.value)
    count(Signal.REMOVALS_UNFINISHED, gauges.removals_unfinished())
    count(Signal.QUARANTINED_ROWS, gauges.quarantined_rows())
