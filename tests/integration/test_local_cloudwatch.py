"""The local stack's CloudWatch: what happens becomes metrics, metrics move alarms, and the dashboard shows them."""

from __future__ import annotations

import json
import time
from collections import Counter
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


# -- notifications -----------------------------------------------------------------------------------------------------


class Inbox:
    """What a person who subscribed to both topics gets: the alarms, by the topic's name without the stack's."""

    def __init__(self, stack: LocalStack) -> None:
        self._sqs, sns = stack.client("sqs"), stack.client("sns")
        self.url = self._sqs.create_queue(QueueName=f"inbox-{time.time_ns()}")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})
        for topic in sns.list_topics()["Topics"]:
            if topic["TopicArn"].endswith((f":{STACK_NAME}-pages", f":{STACK_NAME}-alarms")):
                sns.subscribe(TopicArn=topic["TopicArn"], Protocol="sqs", Endpoint=arn)

    def take(self) -> dict[str, Counter[str]]:
        """Return what has arrived since the last call."""
        found: dict[str, Counter[str]] = {"pages": Counter(), "alarms": Counter()}
        while messages := self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
                envelope = json.loads(message["Body"])
                notification = json.loads(envelope["Message"])
                assert notification["NewStateValue"] == "ALARM"
                topic = envelope["TopicArn"].rpartition(f"{STACK_NAME}-")[2]
                found[topic][notification["AlarmName"].removeprefix(f"{STACK_NAME}-")] += 1
        return found


@pytest.fixture
def inbox(stack: LocalStack) -> Iterator[Inbox]:
    inbox = Inbox(stack)
    yield inbox
    stack.client("sqs").delete_queue(QueueUrl=inbox.url)


def test_a_second_fault_notifies_while_the_first_one_rings(stack: LocalStack, inbox: Inbox) -> None:
    start = 30 * WHOLE_DAY
    bank = {"service": STACK_NAME, "class": "bank_down"}
    faults: list[tuple[str, str, str, float, dict[str, str]]] = [
        ("alarms", "banks-failing", "OldestFailure", WHOLE_DAY + 1, bank),
        ("alarms", "sweep-errors", "Errors", 1, {"FunctionName": stack.functions["sweep"]}),
        ("pages", "drift-found", "DriftFound", 3, {}),
        ("pages", "items-orphaned", "ItemOrphaned", 1, {}),
    ]
    with stack.alarms_later(start):
        stack.alarms()
        inbox.take()
        for topic, alarm, metric, value, dimensions in faults:
            put(stack, metric, value, ago=10 - start, **dimensions)
            assert stack.alarms()[alarm] == "ALARM"
            assert inbox.take() == {"pages": Counter(), "alarms": Counter(), topic: Counter([alarm])}
        states = stack.alarms()
        assert {states[alarm] for _, alarm, *_ in faults} == {"ALARM"}
    stack.alarms()
    notified = inbox.take()
    assert not {alarm for _, alarm, *_ in faults} & {*notified["pages"], *notified["alarms"]}, "it notifies of its end"


def test_a_cascade_pages_no_one_and_each_of_its_alarms_notifies_once(stack: LocalStack, inbox: Inbox) -> None:
    """A deployment breaks every function: nothing is received, swept or answered for a quarter of an hour."""
    start = 40 * WHOLE_DAY
    waiting, api = {"QueueName": queue(stack, "SyncQueue")}, {"ApiId": stack.resources.id("Api")}
    with stack.alarms_later(start):
        stack.alarms()
        inbox.take()
        for period in (1, 2, 3):
            ago = A_PERIOD * (3 - period) + 10 - start
            for name in ("webhook", "sync", "items", "changes", "sweep"):
                put(stack, "Errors", 9, ago=ago, FunctionName=stack.functions[name])
            put(stack, "5xx", 9, ago=ago, **api)
            put(stack, "ApproximateNumberOfMessagesVisible", 9, ago=ago, **waiting)
            put(stack, "ApproximateAgeOfOldestMessage", 400 * period, ago=ago, **waiting)
        stack.alarms()
    errors = {f"{name}-errors" for name in ("webhook", "sync", "items", "changes", "sweep")}
    symptoms = {"api-5xx", "sync-stopped", "message-too-old", "sweep-not-run"}
    assert inbox.take() == {"pages": Counter(), "alarms": Counter(errors | symptoms)}


def test_an_audit_that_does_not_run_is_missed_after_two_days(stack: LocalStack) -> None:
    start = 70 * WHOLE_DAY
    waiting, audit = {"QueueName": queue(stack, "SyncQueue")}, {"FunctionName": stack.functions["audit"]}
    stack.client("cloudwatch").set_alarm_state(
        AlarmName=f"{STACK_NAME}-audit-not-run", StateValue="INSUFFICIENT_DATA", StateReason="as created"
    )
    for day, runs, rings in ((1, 0, False), (2, 1, False), (3, 0, False), (4, 0, False), (5, 0, True)):
        with stack.alarms_later(start + day * WHOLE_DAY):
            ago = 10 - start - day * WHOLE_DAY
            put(stack, "ApproximateNumberOfMessagesVisible", 0, ago=ago, **waiting)
            if runs:
                put(stack, "Invocations", runs, ago=ago, **audit)
            assert (stack.alarms()["audit-not-run"] == "ALARM") == rings
