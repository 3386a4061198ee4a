"""What a function tells of itself: one logger and one set of metrics for a process, both of Powertools.

No log and no metric holds a token, a secret, a body, a name or an amount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from plaid_sync.adapters.plaid.errors import REFUSED_CREDENTIALS
from plaid_sync.core.plain_text import plain_or_empty
from plaid_sync.signals import ALSO_BY, ONLY_BY, Signal

if TYPE_CHECKING:
    from datetime import timedelta

    from plaid_sync.ports.common import PlaidCall

logger = Logger()
metrics = Metrics()

_SERVICE: Final = "service"


def count(signal: Signal, number: int = 1, by: str | None = None) -> None:
    """Tell that something has happened, so many times.

    Args:
        signal: what.
        number: how often; 0 is told, too, so that a graph shows a line where all is quiet.
        by: the value of the signal's own dimension (`signals.ALSO_BY`, `signals.ONLY_BY`).
    """
    if signal not in ONLY_BY:
        metrics.add_metric(name=signal.value, unit=MetricUnit(signal.unit.value), value=number)
    if by is not None:
        unit, namespace = MetricUnit(signal.unit.value), metrics.namespace
        with single_metric(name=signal.value, unit=unit, value=number, namespace=namespace) as metric:
            metric.add_dimension(name=_SERVICE, value=logger.service)
            metric.add_dimension(name=(ALSO_BY | ONLY_BY)[signal], value=by)


def measure(signal: Signal, value: timedelta) -> None:
    """Tell how long something took, in the signal's unit; clocks that disagree make no negative time."""
    seconds = max(value.total_seconds(), 0.0)
    measured = seconds if signal.unit.value == MetricUnit.Seconds.value else seconds * 1000
    metrics.add_metric(name=signal.value, unit=MetricUnit(signal.unit.value), value=round(measured))


def tell_plaid_call(call: PlaidCall) -> None:
    """Tell how a call to Plaid went."""
    measure(Signal.PLAID_LATENCY, call.took)
    if call.failure is None:
        return
    count(Signal.PLAID_ERRORS, by=call.failure)
    if call.code in REFUSED_CREDENTIALS:
        count(Signal.PLAID_CREDENTIALS_REFUSED)


def correlate(event: dict[str, Any]) -> None:
    """Let API Gateway's id of the request mark every log line from here on, and every message that is sent."""
    context = event.get("requestContext")
    logger.set_correlation_id(plain_or_empty(context.get("requestId") if isinstance(context, dict) else None))


def correlation_id() -> str:
    """Return the id that marks what is done now; empty where nothing does."""
    return logger.get_correlation_id() or ""
