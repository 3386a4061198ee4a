"""`usage`: what the deployment has used, which is what AWS bills: quantities from CloudWatch, without prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.domain.clock import utc_now

from plaid_sync_cli import monitoring
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.deployment import LOSABLE_TABLES, TABLES
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.monitoring import METRICS, Metric, metric_points
from plaid_sync_cli.output import plural, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_DAY: Final = 86_400
_TABLES: Final = (*TABLES, *LOSABLE_TABLES)
_MB_PER_GB: Final = 1024
_GB: Final = Decimal(1_000_000_000)
_QUEUE_METRICS: Final = (
    "NumberOfMessagesSent",
    "NumberOfMessagesReceived",
    "NumberOfMessagesDeleted",
    "NumberOfEmptyReceives",
)
Quantity = tuple[str, Decimal, str, str]
"""Name, value, unit, and source."""


@command(APP, "usage")
def usage(
    context: Context,
    days: Annotated[int, typer.Option(min=1, max=60, metavar="N", help="The last N days.")] = 7,
) -> int:
    """Show what the deployment has used in the last days: requests, capacity units, storage, logs, alarms.

    These are the quantities that AWS bills, from CloudWatch. Prices are at https://calculator.aws.

    Example: `plaid-sync usage --days 30`
    """
    period = _Period(context.deployment, utc_now(), days)
    quantities = [*_per_request(period), *_stored(context.deployment)]
    document: dict[str, Any] = {
        "days": days,
        "quantities": [
            {"name": name, "value": value, "unit": unit, "source": source} for name, value, unit, source in quantities
        ],
    }
    context.output.show(document, lambda: _render(days, quantities))
    return ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Period:
    """The last days up to a time."""

    deployment: Deployment
    end: datetime
    days: int

    def sum(self, namespace: str, name: str, **dimensions: str) -> Decimal:
        """Return the sum of a metric over the period."""
        metric = Metric(namespace, name, dimensions, "Sum")
        start = self.end - timedelta(days=self.days)
        points = metric_points(self.deployment, metric, start, self.end, _DAY)
        return sum((Decimal(str(value)) for _, value in points), Decimal(0))


def _per_request(period: _Period) -> Iterator[Quantity]:
    deployment = period.deployment
    functions, tables = deployment.functions, [deployment.output(name) for name in _TABLES]
    outputs = ("SyncQueueUrl", "DeadLetterQueueUrl", "FailedEventsQueueUrl")
    queues = [deployment.output(name).rsplit("/", 1)[-1] for name in outputs]
    syncs = period.sum("AWS/Lambda", "Invocations", FunctionName=deployment.output("SyncFunctionName"))
    requests = period.sum("AWS/ApiGateway", "Count", ApiId=deployment.output("ApiId"))
    yield "API Gateway", requests, "requests", "AWS/ApiGateway Count"
    invocations = [period.sum("AWS/Lambda", "Invocations", FunctionName=name) for name in functions]
    yield "Lambda", _total(invocations), "invocations", "AWS/Lambda Invocations"
    seconds = [_gb_seconds(period, name) for name in functions]
    yield "Lambda", _total(seconds), "GB-seconds", "AWS/Lambda Duration x memory"
    messages = [period.sum("AWS/SQS", name, QueueName=queue) for queue in queues for name in _QUEUE_METRICS]
    yield "SQS", _total(messages), "requests", "AWS/SQS sent + received + deleted + empty receives"
    for name, unit in (("ConsumedWriteCapacityUnits", "write units"), ("ConsumedReadCapacityUnits", "read units")):
        units = [period.sum("AWS/DynamoDB", name, TableName=dynamodb_table) for dynamodb_table in tables]
        yield "DynamoDB", _total(units), unit, f"AWS/DynamoDB {name}"
    logs = [period.sum("AWS/Logs", "IncomingBytes", LogGroupName=f"/aws/lambda/{name}") for name in functions]
    yield "CloudWatch Logs", _total(logs) / _GB, "GB", "AWS/Logs IncomingBytes"
    yield "KMS", syncs, "requests", "one per invocation of sync"


def _stored(deployment: Deployment) -> Iterator[Quantity]:
    stored = [Decimal(_table_bytes(deployment, deployment.output(name))) for name in _TABLES]
    yield "DynamoDB", _total(stored) / _GB, "GB stored", "tables and indexes, now"
    watched = sum(alarm.metrics for alarm in monitoring.alarms(deployment))
    yield "CloudWatch", Decimal(watched), "alarm metrics", "that the stack's alarms watch, now"
    yield "CloudWatch", Decimal(_count_metrics(deployment)), "metrics", "names x dimensions, recently seen"


def _count_metrics(deployment: Deployment) -> int:
    dimensions = [{"Name": "service", "Value": deployment.name}]
    paginator = deployment.client("cloudwatch").get_paginator("list_metrics")
    return sum(len(page["Metrics"]) for page in paginator.paginate(Namespace=METRICS, Dimensions=dimensions))


def _gb_seconds(period: _Period, function: str) -> Decimal:
    configuration = period.deployment.client("lambda").get_function_configuration(FunctionName=function)
    milliseconds = period.sum("AWS/Lambda", "Duration", FunctionName=function)
    return milliseconds / 1000 * int(configuration["MemorySize"]) / _MB_PER_GB


def _table_bytes(deployment: Deployment, name: str) -> int:
    """Return the size of a table and its indexes; DynamoDB updates it every six hours."""
    described: dict[str, Any] = deployment.client("dynamodb").describe_table(TableName=name)["Table"]
    indexes = described.get("GlobalSecondaryIndexes", [])
    return int(described.get("TableSizeBytes", 0)) + sum(int(index.get("IndexSizeBytes", 0)) for index in indexes)


def _total(values: list[Decimal]) -> Decimal:
    return sum(values, Decimal(0))


def _render(days: int, quantities: list[Quantity]) -> Iterator[RenderableType]:
    yield f"Used in the last {plural(days, 'day')}. Prices: https://calculator.aws"
    yield ""
    rows = [(name, f"{value:,.2f}".rstrip("0").rstrip("."), unit, source) for name, value, unit, source in quantities]
    yield table("service", "quantity", "unit", "source", right=["quantity"], rows=rows)
