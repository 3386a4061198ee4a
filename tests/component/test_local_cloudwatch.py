"""The local stack's CloudWatch: what happens becomes metrics, metrics move alarms, and the dashboard shows them."""

from __future__ import annotations

import json
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from local.dashboard.render import render
from local.stack.deploy import STACK_NAME
from local.stack.gaps import switch_off_schedules
from local.stack.resources import Resources
from tests.component.measurements import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.fixture
def dead_letter(stack: LocalStack) -> Iterator[None]:
    """A message in the dead-letter queue; afterwards there is none."""
    sqs, url = stack.client("sqs"), stack.dead_letter_queue_url
    sqs.send_message(QueueUrl=url, MessageBody="{}", MessageGroupId="a", MessageDeduplicationId=str(time.time_ns()))
    yield
    sqs.purge_queue(QueueUrl=url)


def test_what_functions_log_and_services_do_is_a_metric_with_the_same_values(stack: LocalStack) -> None:
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


@pytest.mark.usefixtures("dead_letter")
def test_a_dead_letter_rings_and_clears(stack: LocalStack) -> None:
    assert stack.alarms()["dead-letters"] == "ALARM"
    assert stack.alarms()["attention"] == "ALARM"
    stack.client("sqs").purge_queue(QueueUrl=stack.dead_letter_queue_url)
    with stack.alarms_later(WHOLE_DAY):
        assert stack.alarms()["dead-letters"] == "OK"


def test_an_alarm_over_periods_wants_each_of_them_and_other_series_do_not_count(stack: LocalStack) -> None:
    for ago in (610, 310):
        put(stack, "SyncFailed", 25, ago=ago)
    put(stack, "SyncFailed", 25, service="another-stack")
    assert stack.alarms()["sync-failing"] == "OK"
    put(stack, "SyncFailed", 25)
    assert stack.alarms()["sync-failing"] == "ALARM"
    with stack.alarms_later(300):  # nothing fails for one period
        assert stack.alarms()["sync-failing"] == "OK"


def test_a_percentile_is_of_the_values_and_not_of_their_average(stack: LocalStack) -> None:
    for values, state in (([1, 1, 10_000_000], "OK"), ([400_000, 400_000], "ALARM")):
        for ago in (700, 400, 100):
            for each in values:
                put(stack, "TriggerWait", each, ago=ago)
        assert stack.alarms()["sync-backlog"] == state


def test_a_composite_alarm_follows_its_parts_and_missing_data_can_ring(stack: LocalStack) -> None:
    visible = {"QueueName": queue(stack, "SyncQueue")}
    with stack.alarms_later(WHOLE_DAY):
        assert stack.alarms()["sync-idle"] == "ALARM"
        assert stack.alarms()["sync-stopped"] == "OK"
        for ago in (700, 400, 100):
            put(stack, "ApproximateNumberOfMessagesVisible", 1, ago=ago - WHOLE_DAY, **visible)
        assert stack.alarms()["sync-stopped"] == "ALARM"
        put(stack, "TriggersReceived", 1, ago=-WHOLE_DAY)
        assert stack.alarms()["sync-stopped"] == "OK"


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


def test_a_new_stack_is_quiet_for_days_without_webhooks_and_before_its_first_sweep(
    stack: LocalStack, far_ahead: float
) -> None:
    assert {stack.alarms()[name] for name in ("webhooks-silent", "sweep-not-run")} <= {"OK", "INSUFFICIENT_DATA"}
    put(stack, "ApproximateNumberOfMessagesVisible", 0, ago=10 - far_ahead, QueueName=queue(stack, "SyncQueue"))
    assert stack.alarms()["sweep-not-run"] != "ALARM"
    for hours in range(30):
        sweep_runs(stack, far_ahead - (hours + 0.001) * HOUR, items=0)
    assert [stack.alarms()[name] for name in ("webhooks-silent", "sweep-not-run")] == ["OK", "OK"]


def test_webhooks_are_missed_once_items_are_linked_and_until_the_next_one(stack: LocalStack, far_ahead: float) -> None:
    for hours in range(30):
        sweep_runs(stack, far_ahead - (hours + 0.001) * HOUR, items=0)
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


def test_a_stack_within_the_stack_has_outputs_and_resources(stack: LocalStack) -> None:
    name = stack.resources.outputs["DashboardName"]
    assert stack.resources.nested["Dashboard"].ids["Dashboard"] == name == STACK_NAME
    assert stack.resources.of("AWS::CloudWatch::CompositeAlarm")


def test_schedules_are_switched_off_for_tests(stack: LocalStack) -> None:
    template = {
        "Resources": {
            "Often": {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "rate(5 minutes)"}},
            "Matching": {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": ["somewhere"]}}},
        }
    }
    formation, events = stack.client("cloudformation"), stack.client("events")
    formation.create_stack(StackName="scheduled", TemplateBody=json.dumps(template))
    formation.get_waiter("stack_create_complete").wait(StackName="scheduled", WaiterConfig={"Delay": 1})
    resources = Resources.read(stack.emulator, "scheduled")
    switch_off_schedules(stack.emulator, resources)
    states = {name: events.describe_rule(Name=resources.id(name))["State"] for name in ("Often", "Matching")}
    assert states == {"Often": "DISABLED", "Matching": "ENABLED"}


def test_the_dashboard_is_drawn_as_deployed_and_names_what_has_no_data(stack: LocalStack, tmp_path: Path) -> None:
    put(stack, "TriggersReceived", 7)

    def widget(x: int, title: str, metric: str, view: str = "timeSeries") -> dict[str, Any]:
        properties = {
            "title": title,
            "view": view,
            "stat": "Sum",
            "metrics": [["PlaidSync", metric, "service", STACK_NAME], [".", "NeverEmittedEither", ".", "."]],
            "annotations": {"horizontal": [{"label": "too many", "value": 5}, {"label": "far", "value": 500}]},
        }
        return {"type": "metric", "x": x, "y": 2, "width": 6, "height": 6, "properties": properties}

    widgets = [
        {"type": "text", "x": 0, "y": 0, "width": 24, "height": 2, "properties": {"markdown": "# A *title* & more"}},
        widget(0, "Triggers", "TriggersReceived"),
        widget(6, "Nothing here", "NeverEmitted"),
        widget(12, "Triggers, as a number", "TriggersReceived", "singleValue"),
    ]
    cloudwatch = stack.client("cloudwatch")
    cloudwatch.put_dashboard(DashboardName="drawn", DashboardBody=json.dumps({"widgets": widgets}))
    rendered = render(cloudwatch, "drawn", tmp_path)
    assert rendered.readings.without_data() == ["Nothing here"]
    page = rendered.page.read_text()
    assert "<h1>A <em>title</em> &amp; more</h1>" in page
    assert page.count("<svg") == 3
    assert "No data: Nothing here" in page
    assert rendered.picture.read_bytes().startswith(b"\x89PNG")
