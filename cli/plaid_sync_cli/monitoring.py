"""Reads the state of a deployment from AWS: queues, alarms, metrics, and the indexes of the Items table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.expressions import Expression
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.item import StateName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plaid_sync.domain.item import Item

    from plaid_sync_cli.deployment import Deployment

METRICS: Final = "PlaidSync"
SYNCED: Final = (StateName.ACTIVE, StateName.EXPIRING)
"""The states in which an Item's rows follow the bank's."""
_DEPTH: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
_MAX_STATE_CHANGES: Final = 2_000
"""Only the newest of the account's alarm history: an alarm of another system may flap."""
_TEN_MINUTES: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The depth of a queue, as SQS estimates it.

    Attributes:
        visible: messages that can be received.
        in_flight: messages that a worker has received.
        oldest: the age of the oldest message; None if CloudWatch has no data.
    """

    visible: int
    in_flight: int
    oldest: timedelta | None = None

    @property
    def total(self) -> int:
        """Visible and in flight."""
        return self.visible + self.in_flight


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm of the stack.

    Attributes:
        slug: its name without the stack's: its heading in docs/runbook.md.
        since: when its state changed.
        description: a line with the meaning, then the steps.
        actions: the ARNs that are notified.
        queries: the metrics and the expression of an alarm with metric math.
    """

    slug: str
    state: str
    since: datetime
    description: str
    actions: tuple[str, ...] = ()
    queries: tuple[dict[str, Any], ...] = ()

    @property
    def metrics(self) -> int:
        """The number of metrics that it watches, which AWS bills."""
        return sum("MetricStat" in query for query in self.queries) or 1

    @property
    def meaning(self) -> str:
        """The first line of the description."""
        return self.description.partition("\n")[0]


def queue_depth(deployment: Deployment, url: str, now: datetime) -> QueueDepth:
    """Read the depth of a queue."""
    answer = deployment.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(_DEPTH))
    visible, in_flight = (int(answer["Attributes"][name]) for name in _DEPTH)
    dimensions = {"QueueName": url.rsplit("/", 1)[-1]}
    metric = Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions, "Maximum")
    points = metric_points(deployment, metric, now - _TEN_MINUTES, now) if visible + in_flight else []
    oldest = timedelta(seconds=points[-1][1]) if points else None
    return QueueDepth(visible, in_flight, oldest)


@dataclass(frozen=True, slots=True)
class Metric:
    """A CloudWatch metric and its statistic."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str


def metric_points(
    deployment: Deployment, metric: Metric, start: datetime, end: datetime, period: int = 60
) -> list[tuple[datetime, float]]:
    """Read the data points of a metric, oldest first, one per period."""
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]
    answer = deployment.client("cloudwatch").get_metric_statistics(
        Namespace=metric.namespace,
        MetricName=metric.name,
        Dimensions=dimensions,
        StartTime=start,
        EndTime=end,
        Period=period,
        Statistics=[metric.statistic],
    )
    return sorted((point["Timestamp"], float(point[metric.statistic])) for point in answer["Datapoints"])


def last_sweep(deployment: Deployment, now: datetime) -> datetime | None:
    """Return when the sweep last ran, within the last six hours."""
    metric = Metric(METRICS, "SweepRuns", {"service": deployment.name}, "Sum")
    points = metric_points(deployment, metric, now - timedelta(hours=6), now)
    return max((moment for moment, runs in points if runs), default=None)


def alarms(deployment: Deployment) -> list[Alarm]:
    """Read the stack's alarms.

    The prefix of `plaid-sync` is also that of `plaid-sync-dev`: an alarm is the stack's if it watches a resource of it.
    """
    paginator = deployment.client("cloudwatch").get_paginator("describe_alarms")
    pages = paginator.paginate(AlarmNamePrefix=f"{deployment.name}-", AlarmTypes=["MetricAlarm"])
    own = {deployment.name, *(output.rsplit("/", 1)[-1] for output in deployment.outputs.values())}
    found = (alarm for page in pages for alarm in page["MetricAlarms"])
    return [_alarm(deployment, alarm) for alarm in found if own & set(_watched(alarm))]


def _watched(alarm: dict[str, Any]) -> Iterator[str]:
    """Yield the values of the dimensions of what an alarm watches."""
    stats = (query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query)
    for metric in (alarm, *stats):
        yield from (dimension["Value"] for dimension in metric.get("Dimensions", ()))


def _alarm(deployment: Deployment, alarm: dict[str, Any]) -> Alarm:
    actions = tuple(alarm.get("AlarmActions", ())) if alarm.get("ActionsEnabled", True) else ()
    slug = alarm["AlarmName"].removeprefix(f"{deployment.name}-")
    return Alarm(
        slug=slug,
        state=alarm["StateValue"],
        since=alarm["StateUpdatedTimestamp"],
        description=alarm.get("AlarmDescription", ""),
        actions=actions,
        queries=tuple(alarm.get("Metrics", ())),
    )


def recent_alarms(
    deployment: Deployment, known: Iterable[Alarm], start: datetime, end: datetime
) -> dict[str, datetime]:
    """Return which of the stack's alarms went to ALARM between two times, each with the last time.

    Those of a function's version count by their names: a rollback deletes them.
    """
    pages = (
        deployment.client("cloudwatch")
        .get_paginator("describe_alarm_history")
        .paginate(
            AlarmTypes=["MetricAlarm"],
            HistoryItemType="StateUpdate",
            StartDate=start,
            EndDate=end,
            ScanBy="TimestampDescending",
            PaginationConfig={"MaxItems": _MAX_STATE_CHANGES},
        )
    )
    names = {f"{deployment.name}-{alarm.slug}" for alarm in known}
    of_versions = tuple(f"{function}-version-" for function in deployment.functions)
    found = dict[str, datetime]()
    for entry in (entry for page in pages for entry in page["AlarmHistoryItems"]):
        # The history covers all alarms of the account: AWS filters by a full name only.
        name, at = entry["AlarmName"], entry["Timestamp"]
        if (name in names or name.startswith(of_versions)) and entry["HistorySummary"].endswith(" to ALARM"):
            slug = name.removeprefix(f"{deployment.name}-")
            found[slug] = max(at, found.get(slug, at))
    return found


def mapping_state(deployment: Deployment) -> str:
    """Return the state of the sync function's event source mapping, such as `Enabled`."""
    answer = deployment.client("lambda").get_event_source_mapping(UUID=deployment.output("SyncEventSourceMappingId"))
    return str(answer["State"])


def count_stale(deployment: Deployment, state: StateName, before: datetime) -> int:
    """Count the Items in a state whose last success is before a time."""
    expression = Expression()
    condition = expression.equals("state", state.value)
    condition += f" AND {expression.name('fresh_at')} < {expression.value(format_timestamp(before))}"
    return _count(deployment, {"KeyConditionExpression": condition, **expression.arguments()})


def item_indexes(deployment: Deployment) -> ItemIndexes:
    """Return the indexes of the deployment's Items."""
    return ItemIndexes(deployment.client("dynamodb"), deployment.output("ItemsTable"))


def count_unsynced(deployment: Deployment, state: StateName, since: datetime, before: datetime) -> int:
    """Count the Items in a state that were linked between two times and never synced."""
    expression = Expression()
    condition = expression.equals("state", state.value)
    condition += f" AND {expression.name('fresh_at')} BETWEEN {expression.value(format_timestamp(since))}"
    condition += f" AND {expression.value(format_timestamp(before))}"
    never = expression.equals("synced_at", None)
    return _count(
        deployment, {"KeyConditionExpression": condition, "FilterExpression": never, **expression.arguments()}
    )


def _count(deployment: Deployment, request: dict[str, Any]) -> int:
    pages = (
        deployment.client("dynamodb")
        .get_paginator("query")
        .paginate(TableName=deployment.output("ItemsTable"), IndexName="by_state", Select="COUNT", **request)
    )
    return sum(page["Count"] for page in pages)


def stalest(deployment: Deployment, states: Iterable[str], limit: int) -> list[Item]:
    """Return the Items in these states with the oldest last success, oldest first."""
    indexes = item_indexes(deployment)
    found = [record for state in states for record in _stalest_in(indexes, str(state), limit)]
    return sorted(found, key=_fresh_at)[:limit]


def _stalest_in(indexes: ItemIndexes, state: str, limit: int) -> list[Item]:
    found, following = indexes.page(None, state, limit, None)
    while following is not None and len(found) < limit:
        more, following = indexes.page(None, state, limit - len(found), following)
        found += more
    return found


def _fresh_at(record: Item) -> datetime:
    return record.synced_at or record.linked_at or datetime.min.replace(tzinfo=UTC)


def item_ids(deployment: Deployment, states: Iterable[str]) -> list[str]:
    """Return the ids of the Items in these states.

    `ItemIndexes.counts` has all states that there are, those of a newer version, too.
    """
    indexes = item_indexes(deployment)
    return [item_id for state in states for item_id in indexes.ids(state)]
