"""Logs and metrics of a function: one logger and one set of metrics per process, both of Powertools.

No log and no metric holds a token, a secret, a body, a name or an amount.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from plaid_sync.domain.errors import REFUSED_CREDENTIALS
from plaid_sync.domain.text import printable_or_empty
from plaid_sync.metrics import DIMENSIONS, Metric

if TYPE_CHECKING:
    from datetime import timedelta

    from plaid_sync.domain.ports import PlaidCall

# An invocation without a metric is no mistake, of which Powertools warns.
warnings.filterwarnings("ignore", "No application metrics to publish", UserWarning)
logger = Logger()
metrics = Metrics()
_SERVICE: Final = "service"


def count(metric: Metric, number: int = 1) -> None:
    """Emit how often something happened; nothing where it did not: a zero would keep the metric billed."""
    if number:
        gauge(metric, number)


def gauge(metric: Metric, number: int, by: str | None = None) -> None:
    """Emit a number, in the metric's unit. A zero clears the metric's alarm.

    Args:
        metric: which.
        number: its value.
        by: the value of the metric's own dimension (`metrics.DIMENSIONS`).
    """
    unit = MetricUnit(metric.unit.value)
    if by is None:
        metrics.add_metric(name=metric.value, unit=unit, value=number)
        return
    with single_metric(name=metric.value, unit=unit, value=number, namespace=metrics.namespace) as single:
        single.add_dimension(name=_SERVICE, value=logger.service)
        single.add_dimension(name=DIMENSIONS[metric], value=by)


def measure(metric: Metric, duration: timedelta, by: str | None = None) -> None:
    """Emit a duration, in the metric's unit; clock skew never makes it negative."""
    seconds = max(duration.total_seconds(), 0.0)
    value = seconds if metric.unit.value == MetricUnit.Seconds.value else seconds * 1000
    gauge(metric, round(value), by)


def record_plaid_call(call: PlaidCall) -> None:
    """Emit the metrics of a call to Plaid, and log its failure."""
    measure(Metric.PLAID_LATENCY, call.duration)
    if call.failure is None:
        return
    count(Metric.PLAID_ERRORS)
    logger.warning("plaid call failed", failure_class=call.failure, code=call.code)
    if call.code in REFUSED_CREDENTIALS:
        count(Metric.PLAID_CREDENTIALS_REFUSED)


def correlate(event: dict[str, Any]) -> None:
    """Add API Gateway's id of the request to every log line from here on, and to every message that is sent."""
    context = event.get("requestContext")
    set_correlation_id(context.get("requestId") if isinstance(context, dict) else None)


def set_correlation_id(value: object) -> None:
    """Add an id to every log line from here on, and to every message that is sent; one that is unreadable is empty."""
    logger.set_correlation_id(printable_or_empty(value))


def correlation_id() -> str:
    """Return the correlation id of the current invocation; empty where there is none."""
    return logger.get_correlation_id() or ""
