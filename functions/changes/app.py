"""Publishes the events of Items on the event bus.

Event: records of the History table's stream, filtered to new entries with events. The entry of a transition is written
in the transaction that makes the transition, so that its events are published, at least once. Returns
`{"batchItemFailures": [...]}` with the first record that was not published: Lambda retries from there.
Environment: `plaid_sync.config.ChangesSettings`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.clients import client
from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.aws.eventbridge import EventBridgeBus
from plaid_sync.aws.telemetry import count, logger, metrics
from plaid_sync.config import ChangesSettings, from_environment
from plaid_sync.domain.errors import TransientError
from plaid_sync.events import events_of_entry
from plaid_sync.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.events import EventBus


def build_bus(environment: Mapping[str, str]) -> EventBus:
    """Wire the bus; nothing is called yet."""
    return EventBridgeBus(client("events"), from_environment(ChangesSettings, environment).event_bus_name)


bus = build_bus(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Publish the events of one batch, in order."""
    for record in event["Records"]:
        try:
            _publish(record["dynamodb"].get("NewImage", {}))
        except TransientError as error:
            count(Metric.PUBLISH_FAILURES)
            logger.error("failed to publish events", code=error.code)
            return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    return {"batchItemFailures": []}


def _publish(image: dict[str, Any]) -> None:
    events = events_of_entry(deserialize(image))
    bus.publish(events)
    count(Metric.EVENTS_PUBLISHED, len(events))
    for event in events:
        logger.info("event published", detail_type=event.detail_type, item_id=event.detail.get("item_id"))
