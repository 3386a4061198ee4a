"""Publishes the events of Items: signals for those who have to act, and the feed for those who keep a copy.

Event: records of one table's stream. Of the History table, filtered to new entries with events: the entry of a
transition is written in the transaction that makes the transition, so that its signals are published. Of the Items
table, if the feed is switched on: every write of an Item, of which most have no events. Both at least once. Returns
`{"batchItemFailures": [...]}` with the first record that was not published: Lambda retries from there, and those behind
it that were published are published again. An event that is never accepted goes to the failed-events queue, so that no
record holds up its shard.
Environment: `plaid_sync.config.ChangesSettings`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.clients import client, deadline_of
from plaid_sync.aws.dynamodb.change_log import ChangeLogTable
from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.aws.dynamodb.item_rows import is_registered, item_from_row
from plaid_sync.aws.eventbridge import EventBridgeBus
from plaid_sync.aws.sqs import SqsFailedEvents
from plaid_sync.aws.telemetry import count, logger, metrics
from plaid_sync.config import ChangesSettings, from_environment
from plaid_sync.domain.clock import SystemClock
from plaid_sync.domain.errors import UnreadableItemError
from plaid_sync.events import EventPublisher, events_of_write
from plaid_sync.feed import FeedPublisher, ItemWrite
from plaid_sync.metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.events import Publication


@dataclass(frozen=True, slots=True)
class Publishers:
    """What publishes the records of each stream."""

    signals: EventPublisher
    feed: FeedPublisher


def build_publishers(environment: Mapping[str, str], clock: Clock | None = None) -> Publishers:
    """Wire the publishers; nothing is called yet."""
    settings, clock = from_environment(ChangesSettings, environment), clock or SystemClock()
    publisher = EventPublisher(
        bus=EventBridgeBus(client("events"), settings.event_bus_name, clock),
        failed_events=SqsFailedEvents(client("sqs"), settings.failed_events_queue_url),
        clock=clock,
    )
    log = ChangeLogTable(client("dynamodb"), settings.history_table, clock)
    return Publishers(publisher, FeedPublisher(log, publisher))


publishers = build_publishers(os.environ)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Publish the events of one batch, those of an Item in order."""
    changes, deadline = [record["dynamodb"] for record in event["Records"]], deadline_of(context)
    # A batch is of one stream, and only an entry of the history has such a key.
    keys = changes[0].get("Keys", {})
    if "entry_id" in keys or not keys:
        entries = [events_of_write(deserialize(each.get("NewImage", {})), _written_at(each)) for each in changes]
        publication = publishers.signals.publish(entries, deadline)
    else:
        publication, changes = _publish_feed(changes, deadline)
    _report(publication)
    if publication.unfinished is None:
        return {"batchItemFailures": []}
    return {"batchItemFailures": [{"itemIdentifier": changes[publication.unfinished]["SequenceNumber"]}]}


def _publish_feed(changes: list[dict[str, Any]], deadline: Deadline) -> tuple[Publication, list[dict[str, Any]]]:
    """Publish what writes of Items changed; return the records that are writes of registered Items, too."""
    written = [(each, write) for each in changes if (write := _write_of(each)) is not None]
    return publishers.feed.publish([write for _, write in written], deadline), [each for each, _ in written]


def _write_of(change: dict[str, Any]) -> ItemWrite | None:
    """Return a write of a registered Item; None also where another program damaged the row."""
    before, after = change.get("OldImage"), change.get("NewImage")
    if after is None or not is_registered(after):
        return None
    try:
        known = item_from_row(before) if before is not None and is_registered(before) else None
        return ItemWrite(known, item_from_row(after), _written_at(change))
    except UnreadableItemError as error:
        logger.error("item unreadable", item_id=error.item_id)
        return None


def _written_at(change: dict[str, Any]) -> datetime | None:
    written_at = change.get("ApproximateCreationDateTime")
    return None if written_at is None else datetime.fromtimestamp(written_at, UTC)


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
