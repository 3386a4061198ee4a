"""Metrics that a test records itself: what would have been measured at another time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from local.stack.deploy import STACK_NAME

if TYPE_CHECKING:
    from local.stack import LocalStack

_NAMESPACES = {
    "QueueName": "AWS/SQS",
    "FunctionName": "AWS/Lambda",
    "EventSourceMappingUUID": "AWS/Lambda",
    "TableName": "AWS/DynamoDB",
    "ApiId": "AWS/ApiGateway",
    "service": "PlaidSync",
}


def put(stack: LocalStack, name: str, value: float, *, ago: float = 0, **dimensions: str) -> None:
    """Record a value of a metric as of so many seconds ago (below zero: ahead); by default one of the stack's own."""
    known = dimensions or {"service": STACK_NAME}
    datum = {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": text} for key, text in known.items()],
        "Timestamp": datetime.now(UTC) - timedelta(seconds=ago),
        "Value": value,
    }
    namespace = next(_NAMESPACES[key] for key in known if key in _NAMESPACES)
    stack.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum])
