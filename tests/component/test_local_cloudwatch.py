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

WHOLE_DAY = 86400


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


def test_a_composite_alarm_follows_its_parts_and_silence_can_ring(stack: LocalStack) -> None:
    visible = {"QueueName": queue(stack, "SyncQueue")}
    with stack.alarms_later(WHOLE_DAY):
        assert stack.alarms()["sync-idle"] == "ALARM"
        assert stack.alarms()["sync-stopped"] == "OK"
        for ago in (700, 400, 100):
            put(stack, "ApproximateNumberOfMessagesVisible", 1, ago=ago - WHOLE_DAY, **visible)
        assert stack.alarms()["sync-stopped"] == "ALARM"
        put(stack, "TriggersReceived", 1, ago=-WHOLE_DAY)
        assert stack.alarms()["sync-stopped"] == "OK"


def test_a_stack_within_the_stack_has_outputs_and_resources(stack: LocalStack) -> None:
    name = stack.resources.outputs["DashboardName"]
    assert stack.resources.nested["Dashboard"].ids["Dashboard"] == name == STACK_NAME
    assert stack.resources.of("AWS::CloudWatch::CompositeAlarm")


def test_nothing_runs_on_a_schedule_unless_asked_for(stack: LocalStack) -> None:
    template = {
        "Resources": {
            "Often": {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "rate(5 minutes)"}},
            "Heard": {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": ["somebody"]}}},
        }
    }
    formation, events = stack.client("cloudformation"), stack.client("events")
    formation.create_stack(StackName="scheduled", TemplateBody=json.dumps(template))
    formation.get_waiter("stack_create_complete").wait(StackName="scheduled", WaiterConfig={"Delay": 1})
    resources = Resources.read(stack.emulator, "scheduled")
    switch_off_schedules(stack.emulator, resources)
    states = {name: events.describe_rule(Name=resources.id(name))["State"] for name in ("Often", "Heard")}
    assert states == {"Often": "DISABLED", "Heard": "ENABLED"}


def test_the_dashboard_is_drawn_as_deployed_and_names_what_has_no_data(stack: LocalStack, tmp_path: Path) -> None:
    put(stack, "TriggersReceived", 7)

    def widget(x: int, title: str, metric: str, view: str = "timeSeries") -> dict[str, Any]:
        properties = {
            "title": title,
            "view": view,
            "stat": "Sum",
            "metrics": [["PlaidSync", metric, "service", STACK_NAME], [".", "NeverToldEither", ".", "."]],
            "annotations": {"horizontal": [{"label": "too many", "value": 5}, {"label": "far", "value": 500}]},
        }
        return {"type": "metric", "x": x, "y": 2, "width": 6, "height": 6, "properties": properties}

    widgets = [
        {"type": "text", "x": 0, "y": 0, "width": 24, "height": 2, "properties": {"markdown": "# A *title* & more"}},
        widget(0, "Triggers", "TriggersReceived"),
        widget(6, "Nothing here", "NeverTold"),
        widget(12, "Triggers, as a number", "TriggersReceived", "singleValue"),
    ]
    cloudwatch = stack.client("cloudwatch")
    cloudwatch.put_dashboard(DashboardName="drawn", DashboardBody=json.dumps({"widgets": widgets}))
    rendered = render(cloudwatch, "drawn", tmp_path)
    assert rendered.document()["empty"] == ["Nothing here"]
    page = rendered.page.read_text()
    assert "<h1>A <em>title</em> &amp; more</h1>" in page
    assert page.count("<svg") == 3
    assert "No data: Nothing here" in page
    assert rendered.picture.read_bytes().startswith(b"\x89PNG")
