"""The local stack's CloudWatch: what happens becomes metrics, metrics move alarms, and the dashboard shows them."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from local.stack.deploy import STACK_NAME
from tests.integration.metrics import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import LocalStack

HOUR = 3600
WHOLE_DAY = 24 * HOUR
A_PERIOD = 300


def total(stack: LocalStack, namespace: str, name: str, **dimensions: str) -> dict[str, Any]:
    """Return the statistics of all that was ever recorded of a metric."""
    now = datetime.now(UTC)
    points = stack.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - timedelta(days=1),
        EndTime=now + timedelta(days=1),
        Period=10 * WHOLE_DAY,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    return {name: sum(point[name] for point in points) for name in ("Sum", "SampleCount")}


def post_unsigned_webhook(stack: LocalStack) -> int:
    with closing(HTTPConnection(urlsplit(stack.webhook_url).netloc, timeout=60)) as connection:
        connection.request("POST", urlsplit(stack.webhook_url).path, b"{}", {"Content-Type": "application/json"})
        return connection.getresponse().status


def logged(stack: LocalStack, name: str, *dimensions: str) -> list[float]:
    """Return all values of a metric that the webhook function has logged with these dimensions."""
    lines = [json.loads(line) for line in stack.logs("webhook").splitlines() if line.startswith('{"')]
    return [
        value
        for line in lines
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", [])
        if any(set(names) == set(dimensions) for names in directive["Dimensions"])
        for value in line.get(name, [])
    ]


def queue(stack: LocalStack, logical_id: str) -> str:
    return stack.resources.id(logical_id).rpartition("/")[2]


def test_logged_metrics_and_service_metrics_have_the_same_values_in_cloudwatch(stack: LocalStack) -> None:
    webhook = {"FunctionName": stack.functions["webhook"]}
    api = {"ApiId": stack.resources.id("Api")}
    watched: list[tuple[str, str, dict[str, str]]] = [
        ("PlaidSync", "WebhookRejected", {"service": STACK_NAME}),
        ("PlaidSync", "WebhookRejected", {"service": STACK_NAME, "reason": "missing_header"}),
        ("AWS/Lambda", "Invocations", webhook),
        ("AWS/ApiGateway", "Count", api),
        ("AWS/ApiGateway", "4xx", api),
    ]
    before = [total(stack, namespace, name, **dimensions)["Sum"] for namespace, name, dimensions in watched]
    assert [post_unsigned_webhook(stack) for _ in range(3)] == [401, 401, 401]
    after = [total(stack, namespace, name, **dimensions)["Sum"] for namespace, name, dimensions in watched]
    assert [now - then for now, then in zip(after, before, strict=True)] == [3.0] * len(watched)
    values = logged(stack, "WebhookRejected", "service")
    statistics = {"Sum": sum(values), "SampleCount": float(len(values))}
    assert total(stack, "PlaidSync", "WebhookRejected", service=STACK_NAME) == statistics
    assert total(stack, "AWS/Lambda", "Errors", **webhook)["Sum"] == 0


@pytest.fixture
def far_ahead(stack: LocalStack) -> Iterator[float]:
    """Seconds to a time around which nothing is recorded, with both alarms as they are after their creation."""
    with stack.alarms_later(10 * WHOLE_DAY):
        for name in ("webhooks-silent", "sweep-not-run"):
            stack.client("cloudwatch").set_alarm_state(
                AlarmName=f"{STACK_NAME}-{name}", StateValue="INSUFFICIENT_DATA", StateReason="as created"
            )
        yield 10 * WHOLE_DAY


def sweep_runs(stack: LocalStack, at: float, *, items: int) -> None:
    """Record what a run of the sweep emits, and what the queue measures, so many seconds from now."""
    put(stack, "SweepRuns", 1, ago=-at)
    for state in ("active", "expiring"):
        put(stack, "Items", items if state == "active" else 0, ago=-at, service=STACK_NAME, state=state)
    put(stack, "ApproximateNumberOfMessagesVisible", 0, ago=-at, QueueName=queue(stack, "SyncQueue"))


def test_webhooks_are_missed_once_items_are_linked_and_until_the_next_one(stack: LocalStack, far_ahead: float) -> None:
    assert {stack.alarms()[name] for name in ("webhooks-silent", "sweep-not-run")} <= {"OK", "INSUFFICIENT_DATA"}
    put(stack, "ApproximateNumberOfMessagesVisible", 0, ago=10 - far_ahead, QueueName=queue(stack, "SyncQueue"))
    assert stack.alarms()["sweep-not-run"] != "ALARM", "a new stack has not swept yet"
    for hours in range(30):
        sweep_runs(stack, far_ahead - (hours + 0.001) * HOUR, items=0)
    assert [stack.alarms()[name] for name in ("webhooks-silent", "sweep-not-run")] == ["OK", "OK"]
    with stack.alarms_later(far_ahead + 23 * HOUR):
        for hours in range(23):
            sweep_runs(stack, far_ahead + (hours + 0.9) * HOUR, items=2)
        assert stack.alarms()["webhooks-silent"] == "OK"
    with stack.alarms_later(far_ahead + WHOLE_DAY):
        sweep_runs(stack, far_ahead + 23.9 * HOUR, items=2)
        assert stack.alarms()["webhooks-silent"] == "ALARM"
        assert stack.alarms()["attention"] == "ALARM"
        with stack.alarms_later(far_ahead + WHOLE_DAY + 20 * HOUR):  # the sweep stops: nothing new is known
            assert stack.alarms()["webhooks-silent"] == "ALARM"
    with stack.alarms_later(far_ahead + WHOLE_DAY):
        put(stack, "WebhookVerified", 1, ago=-(far_ahead + 23.9 * HOUR))
        assert stack.alarms()["webhooks-silent"] == "OK"


def test_a_sweep_that_stops_or_never_runs_is_missed_after_a_quarter_of_an_hour(stack: LocalStack) -> None:
    start = 20 * WHOLE_DAY
    visible = {"QueueName": queue(stack, "SyncQueue")}
    for period, state in ((1, "OK"), (2, "OK"), (3, "ALARM")):
        with stack.alarms_later(start + period * A_PERIOD):
            put(stack, "ApproximateNumberOfMessagesVisible", 0, ago=10 - start - period * A_PERIOD, **visible)
            assert (stack.alarms()["sweep-not-run"] == "ALARM") == (state == "ALARM")
    with stack.alarms_later(start + 3 * A_PERIOD):
        put(stack, "SweepRuns", 1, ago=5 - start - 3 * A_PERIOD)
        assert stack.alarms()["sweep-not-run"] == "OK"
