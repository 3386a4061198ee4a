"""Tells the event bus what happened to Items.

Event: records of the History table's stream, filtered to new entries that announce something. The entry of a transition
is written in the transaction that makes it, so that each is told, at least once. Answers `{"batchItemFailures": [...]}`
with the first record that was not told: Lambda comes again from there.
Environment: `plaid_sync.config.ChangesSettings`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import client
from plaid_sync.adapters.dynamodb.expressions import deserialize
from plaid_sync.adapters.event_bus import EventBridgeBus
from plaid_sync.adapters.telemetry import count, logger, metrics
from plaid_sync.config import ChangesSettings, from_environment
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.lifecycle.announcing import events_of
from plaid_sync.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.ports.lifecycle import EventBus


def build_bus(environment: Mapping[str, str]) -> EventBus:
    """Wire the bus; nothing is called yet."""
    return EventBridgeBus(client("events"), from_environment(ChangesSettings, environment).event_bus_name)


bus = build_bus(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Tell of one batch, in order."""
    for record in event["Records"]:
        try:
            _tell(record["dynamodb"].get("NewImage", {}))
        except RetryableError as error:
            count(Signal.ANNOUNCEMENTS_FAILED)
            logger.error("event bus has not taken announcements", code=error.code)
            return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    return {"batchItemFailures": []}


def _tell(image: dict[str, Any]) -> None:
    events = events_of(deserialize(image))
    bus.tell(events)
    count(Signal.ANNOUNCEMENTS, len(events))
    for told in events:
        logger.info("announced", announcement=told.name, item_id=told.detail.get("item_id"))
