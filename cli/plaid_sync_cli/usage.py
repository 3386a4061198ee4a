"""What a deployment used lately, as CloudWatch has counted it, as a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync_cli import readings
from plaid_sync_cli.costing import DAYS, GB, Fixed, Quantity, Usage
from plaid_sync_cli.readings import METRICS, Metric, metric_points

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from plaid_sync_cli.deployment import Deployment

_DAY: Final = 86_400
_MB_OF_A_GB: Final = 1024
TABLES: Final = ("ItemsTable", "TransactionsTable", "QuarantineTable", "HistoryTable", "LinksTable")
"""The outputs that name tables."""
_QUEUE_COUNTS: Final = (
    "NumberOfMessagesSent",
    "NumberOfMessagesReceived",
    "NumberOfMessagesDeleted",
    "NumberOfEmptyReceives",
)


@dataclass(frozen=True, slots=True)
class Period:
    """The days that were counted.

    Attributes:
        end: now.
        days: how many.
    """

    deployment: Deployment
    end: datetime
    days: int

    def month(self, namespace: str, name: str, **dimensions: str) -> Decimal:
        """Return the sum of a metric, as if all days of a month were like these."""
        metric = Metric(namespace, name, dimensions, "Sum")
        start = self.end - timedelta(days=self.days)
        points = metric_points(self.deployment, metric, start, self.end, _DAY)
        return sum((Decimal(str(value)) for _, value in points), Decimal(0)) * DAYS / self.days


def functions(deployment: Deployment) -> list[str]:
    """Return the names of the stack's functions, from its outputs."""
    return sorted({value for name, value in deployment.outputs.items() if name.endswith("FunctionName")})


def measured(period: Period) -> Usage:
    """Read a month's usage."""
    deployment = period.deployment
    names, tables = functions(deployment), [deployment.output(name) for name in TABLES]
    queues = [deployment.output(name).rsplit("/", 1)[-1] for name in ("SyncQueueUrl", "DeadLetterQueueUrl")]
    syncs = period.month("AWS/Lambda", "Invocations", FunctionName=deployment.output("SyncFunctionName"))
    logs = _sum(period.month("AWS/Logs", "IncomingBytes", LogGroupName=f"/aws/lambda/{name}") for name in names)

    def all_tables(name: str) -> Quantity:
        return Quantity(_sum(period.month("AWS/DynamoDB", name, TableName=table) for table in tables), name)

    return Usage(
        api_requests=Quantity(
            period.month("AWS/ApiGateway", "Count", ApiId=deployment.output("ApiId")), "AWS/ApiGateway Count"
        ),
        invocations=Quantity(
            _sum(period.month("AWS/Lambda", "Invocations", FunctionName=name) for name in names),
            "AWS/Lambda Invocations",
        ),
        gb_seconds=Quantity(_sum(_gb_seconds(period, name) for name in names), "AWS/Lambda Duration x memory"),
        queue_requests=Quantity(
            _sum(period.month("AWS/SQS", name, QueueName=queue) for queue in queues for name in _QUEUE_COUNTS),
            "AWS/SQS sent + received + deleted + empty",
        ),
        write_units=all_tables("ConsumedWriteCapacityUnits"),
        read_units=all_tables("ConsumedReadCapacityUnits"),
        stored_gb=Quantity(_sum(Decimal(_bytes(deployment, name)) for name in tables) / GB, "tables + indexes now"),
        log_gb=Quantity(logs / GB, "AWS/Logs IncomingBytes"),
        key_requests=Quantity(syncs, "one for each run of sync"),
        fixed=_fixed(deployment),
    )


def _fixed(deployment: Deployment) -> Fixed:
    found = readings.alarms(deployment)
    composite = sum(alarm.composite for alarm in found)
    return Fixed(len(found) - composite, composite, count_metrics(deployment))


def count_metrics(deployment: Deployment) -> int:
    """Count the stack's own metrics that CloudWatch has seen lately."""
    pages = (
        deployment.client("cloudwatch")
        .get_paginator("list_metrics")
        .paginate(Namespace=METRICS, Dimensions=[{"Name": "service", "Value": deployment.name}])
    )
    return sum(len(page["Metrics"]) for page in pages)


def _gb_seconds(period: Period, function: str) -> Decimal:
    configuration = period.deployment.client("lambda").get_function_configuration(FunctionName=function)
    milliseconds = period.month("AWS/Lambda", "Duration", FunctionName=function)
    return milliseconds / 1000 * int(configuration["MemorySize"]) / _MB_OF_A_GB


def _bytes(deployment: Deployment, table: str) -> int:
    """Return the size of a table and its indexes; DynamoDB counts it every six hours."""
    described: dict[str, Any] = deployment.client("dynamodb").describe_table(TableName=table)["Table"]
    indexes = described.get("GlobalSecondaryIndexes", [])
    return int(described.get("TableSizeBytes", 0)) + sum(int(one.get("IndexSizeBytes", 0)) for one in indexes)


def _sum(parts: Iterable[Decimal]) -> Decimal:
    return sum(parts, Decimal(0))
