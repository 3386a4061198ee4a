"""Publishes the events of Items on the event bus.

Event: records of the History table's stream, filtered to new entries with events. The entry of a transition is written
in the transaction that makes the transition, so that its events are published, at least once. Returns
`{"batchItemFailures": [...]}` with the first record that was not published: Lambda retries from there, and those behind
it that were published are published again. An event that is never accepted goes to the failed-events queue, so that no
record holds up its shard.
Environment: `plaid_sync.config.ChangesSettings`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.clients import client, deadline_of
from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.aws.eventbridge import EventBridgeBus
from plaid_sync.aws.sqs import SqsFailedEvents
from plaid_sync.aws.telemetry import count, logger, metrics
from plaid_sync.config import ChangesSettings, from_environment
from plaid_sync.domain.clock import SystemClock
from plaid_sync.events import EventPublisher, WrittenEntry
from plaid_sync.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock
    from plaid_sync.events import Publication


def build_publisher(environment: Mapping[str, str], clock: Clock | None = None) -> EventPublisher:
    """Wire the publisher; nothing is called yet."""
    settings, clock = from_environment(ChangesSettings, environment), clock or SystemClock()
    return EventPublisher(
        bus=EventBridgeBus(client("events"), settings.event_bus_name, clock),
        failed_events=SqsFailedEvents(client("sqs"), settings.failed_events_queue_url),
        clock=clock,
    )


publisher = build_publisher(os.environ)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Publish the events of one batch, those of an Item in order."""
    changes = [record["dynamodb"] for record in event["Records"]]
    publication = publisher.publish([_entry_of(change) for change in changes], deadline_of(context))
    _report(publication)
    if publication.unfinished is None:
        return {"batchItemFailures": []}
    return {"batchItemFailures": [{"itemIdentifier": changes[publication.unfinished]["SequenceNumber"]}]}


def _entry_of(change: dict[str, Any]) -> WrittenEntry:
    written_at = change.get("ApproximateCreationDateTime")
    return WrittenEntry(
        deserialize(change.get("NewImage", {})),
        None if written_at is None else datetime.fromtimestamp(written_at, UTC),
    )


def _report(publication: Publication) -> None:
    count(Metric.EVENTS_PUBLISHED, len(publication.published))
    for event in publication.published:
        logger.info("event published", detail_type=event.detail_type, item_id=event.detail.get("item_id"))
    for kept in publication.kept:
        count(Metric.PUBLISH_FAILURES)
        detail_type, item_id = kept.event.detail_type, kept.event.detail.get("item_id")
        logger.error("failed to publish an event", detail_type=detail_type, item_id=item_id, code=kept.code)
    if publication.unfinished is not None:
        count(Metric.PUBLISH_FAILURES)
        logger.error("failed to publish events", code=publication.code)
