"""What AWS says of a deployment: its queues, alarms, metrics, and the Items in their table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import to_text
from plaid_sync.adapters.dynamodb.expressions import Expression
from plaid_sync.adapters.dynamodb.item_lists import ItemIndexes
from plaid_sync.core.items import ItemStatus

if TYPE_CHECKING:
    from plaid_sync.core.items_api.item_record import ItemRecord

    from plaid_sync_cli.deployment import Deployment

METRICS: Final = "PlaidSync"
SYNCED: Final = (ItemStatus.ACTIVE, ItemStatus.EXPIRING)
"""The states in which an Item's rows follow the bank's."""
_DEPTH: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
_MOST_CHANGES: Final = 2_000
"""Of alarms of the account that are read: the newest, so that a flapping one of another system makes nobody wait."""
_KEYS_AT_ONCE: Final = 100
_TEN_MINUTES: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much is in a queue, by SQS's estimate.

    Attributes:
        visible: messages that wait.
        in_flight: messages that somebody has received, or that wait for a retry.
        oldest: the age of the oldest, as CloudWatch has it; None where it has nothing yet.
    """

    visible: int
    in_flight: int
    oldest: timedelta | None = None

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.in_flight


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm of the stack.

    Attributes:
        slug: its name without the stack's: its heading in docs/runbook.md.
        since: when its state changed last.
        description: a small runbook: a line with the meaning, then the steps.
        actions: the ARNs that are told when it goes off.
        composite: it is made of others.
    """

    slug: str
    state: str
    since: datetime
    description: str
    actions: tuple[str, ...] = ()
    composite: bool = False

    @property
    def meaning(self) -> str:
        """What it says, in a line."""
        return self.description.partition("\n")[0]


def queue_depth(deployment: Deployment, url: str, now: datetime) -> QueueDepth:
    """Read how much is in a queue."""
    answer = deployment.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(_DEPTH))
    visible, in_flight = (int(answer["Attributes"][name]) for name in _DEPTH)
    dimensions = {"QueueName": url.rsplit("/", 1)[-1]}
    metric = Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions, "Maximum")
    points = metric_points(deployment, metric, now - _TEN_MINUTES, now) if visible + in_flight else []
    oldest = timedelta(seconds=points[-1][1]) if points else None
    return QueueDepth(visible, in_flight, oldest)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of CloudWatch, and the statistic of it."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str


def metric_points(
    deployment: Deployment, metric: Metric, start: datetime, end: datetime, seconds: int = 60
) -> list[tuple[datetime, float]]:
    """Read the points of a metric, oldest first, one for each period of so many seconds that has data."""
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]
    answer = deployment.client("cloudwatch").get_metric_statistics(
        Namespace=metric.namespace,
        MetricName=metric.name,
        Dimensions=dimensions,
        StartTime=start,
        EndTime=end,
        Period=seconds,
        Statistics=[metric.statistic],
    )
    return sorted((point["Timestamp"], float(point[metric.statistic])) for point in answer["Datapoints"])


def last_sweep(deployment: Deployment, now: datetime) -> datetime | None:
    """Return the minute of the last run of the sweep that CloudWatch knows, of the last six hours."""
    metric = Metric(METRICS, "SweepRuns", {"service": deployment.name}, "Sum")
    points = metric_points(deployment, metric, now - timedelta(hours=6), now)
    return max((moment for moment, runs in points if runs), default=None)


def alarms(deployment: Deployment) -> list[Alarm]:
    """Read the stack's alarms, plain and composite."""
    pages = (
        deployment.client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(AlarmNamePrefix=f"{deployment.name}-", AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    )
    found = [alarm for page in pages for kind in ("MetricAlarms", "CompositeAlarms") for alarm in page.get(kind, ())]
    return [_alarm(deployment, one) for one in found]


def _alarm(deployment: Deployment, alarm: dict[str, Any]) -> Alarm:
    actions = tuple(alarm.get("AlarmActions", ())) if alarm.get("ActionsEnabled", True) else ()
    slug = alarm["AlarmName"].removeprefix(f"{deployment.name}-")
    return Alarm(
        slug=slug,
        state=alarm["StateValue"],
        since=alarm["StateUpdatedTimestamp"],
        description=alarm.get("AlarmDescription", ""),
        actions=actions,
        composite="AlarmRule" in alarm,
    )


def rang(deployment: Deployment, start: datetime, end: datetime) -> dict[str, datetime]:
    """Return which alarms went off between two times, each with when it did so last."""
    pages = (
        deployment.client("cloudwatch")
        .get_paginator("describe_alarm_history")
        .paginate(
            AlarmTypes=["MetricAlarm", "CompositeAlarm"],
            HistoryItemType="StateUpdate",
            StartDate=start,
            EndDate=end,
            ScanBy="TimestampDescending",
            PaginationConfig={"MaxItems": _MOST_CHANGES},
        )
    )
    prefix, found = f"{deployment.name}-", dict[str, datetime]()
    for entry in (entry for page in pages for entry in page["AlarmHistoryItems"]):
        # The history is that of all alarms of the account: AWS filters by a whole name only.
        slug = entry["AlarmName"].removeprefix(prefix)
        if slug != entry["AlarmName"] and entry["HistorySummary"].endswith(" to ALARM"):
            found[slug] = max(entry["Timestamp"], found.get(slug, entry["Timestamp"]))
    return found


def mapping_state(deployment: Deployment) -> str:
    """Return how the event source mapping of the sync function is, in Lambda's word: such as `Enabled`."""
    answer = deployment.client("lambda").get_event_source_mapping(UUID=deployment.output("SyncTriggersId"))
    return str(answer["State"])


def count_items(deployment: Deployment, state: ItemStatus, before: datetime | None = None) -> int:
    """Count the Items in a state, or those of them that were last fresh before a time."""
    expression = Expression()
    condition = expression.equals("status", state.value)
    if before is not None:
        condition += f" AND {expression.name('fresh_at')} < {expression.value(to_text(before))}"
    return _count(deployment, {"KeyConditionExpression": condition, **expression.arguments()})


def count_unsynced(deployment: Deployment, state: ItemStatus, since: datetime, before: datetime) -> int:
    """Count the Items in a state that were linked between two times, and have had no sync yet."""
    expression = Expression()
    condition = expression.equals("status", state.value)
    condition += f" AND {expression.name('fresh_at')} BETWEEN {expression.value(to_text(since))}"
    condition += f" AND {expression.value(to_text(before))}"
    never = expression.equals("synced_at", None)
    return _count(
        deployment, {"KeyConditionExpression": condition, "FilterExpression": never, **expression.arguments()}
    )


def _count(deployment: Deployment, request: dict[str, Any]) -> int:
    pages = (
        deployment.client("dynamodb")
        .get_paginator("query")
        .paginate(TableName=deployment.output("ItemsTable"), IndexName="by_status", Select="COUNT", **request)
    )
    return sum(page["Count"] for page in pages)


def stalest(deployment: Deployment, states: tuple[ItemStatus, ...], most: int) -> list[ItemRecord]:
    """Return the Items of these states that were fresh the longest time ago, that one first."""
    lists = ItemIndexes(deployment.client("dynamodb"), deployment.output("ItemsTable"))
    found = [record for state in states for record in lists.page(None, state.value, most, None)[0]]
    return sorted(found, key=_fresh_at)[:most]


def _fresh_at(record: ItemRecord) -> datetime:
    return record.synced_at or record.linked_at or datetime.min.replace(tzinfo=UTC)


def item_ids(deployment: Deployment, states: tuple[ItemStatus, ...], index: str = "by_status") -> list[str]:
    """Return the ids of the Items in these states, of those that an index has."""
    table, found = deployment.output("ItemsTable"), list[str]()
    for state in states:
        expression = Expression()
        pages = (
            deployment.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=table,
                IndexName=index,
                KeyConditionExpression=expression.equals("status", state.value),
                ProjectionExpression=expression.name("item_id"),
                **expression.arguments(),
            )
        )
        found += [row["item_id"]["S"] for page in pages for row in page["Items"]]
    return found


def unfinished_removals(deployment: Deployment, removed: list[str]) -> list[str]:
    """Return those of removed Items of which something is left to do."""
    client, table = deployment.client("dynamodb"), deployment.output("ItemsTable")
    found: list[str] = []
    for start in range(0, len(removed), _KEYS_AT_ONCE):
        keys = [{"item_id": {"S": one}} for one in removed[start : start + _KEYS_AT_ONCE]]
        asked = {table: {"Keys": keys, "ProjectionExpression": "item_id, removal_completed_at"}}
        while asked:
            answer = client.batch_get_item(RequestItems=asked)
            rows = answer["Responses"].get(table, [])
            found += [row["item_id"]["S"] for row in rows if "removal_completed_at" not in row]
            asked = answer.get("UnprocessedKeys")
    return found
