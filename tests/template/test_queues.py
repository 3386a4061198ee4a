"""What must be true of the queues and of the functions that read them, and that a break of it is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.template.cloudformation import ABSENT, Template, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = "Resources/SyncQueue/Properties"
DEAD_LETTERS = "Resources/DeadLetterQueue/Properties"
EVENT = "Resources/SyncFunction/Properties/Events/Triggers/Properties"
POLICY = "Resources/QueuesPolicy/Properties"
HIGH_THROUGHPUT = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}


def _queue_of(event: dict[str, Any]) -> str:
    return str(event["Queue"]["Fn::GetAtt"][0])


CONCURRENCY: Final = {
    "Fn::If": [
        "DerivedConcurrency",
        {"Fn::FindInMap": ["PlaidLimits", {"Ref": "PlaidEnvironment"}, "SyncMaximumConcurrency"]},
        {"Ref": "SyncMaximumConcurrency"},
    ]
}


def problems_of_sources(template: Template) -> Iterator[str]:
    events = list(template.events("SQS"))
    if not events:
        yield "nothing reads a queue"
    for function, event in events:
        queue = template.properties(_queue_of(event))
        timeout = template.functions[function]["Timeout"]
        if queue.get("VisibilityTimeout", 30) < 6 * timeout:
            yield f"{function}: a message becomes visible before six timeouts have passed"
        if queue.get("RedrivePolicy", {}).get("maxReceiveCount", 0) < 5:
            yield f"{function}: fewer than five receives before the dead-letter queue"
        if event.get("BatchSize") != 10:
            yield f"{function}: the batch size is not ten"
        if event.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{function}: one failure fails the batch"
        if event.get("ScalingConfig", {}).get("MaximumConcurrency") != CONCURRENCY:
            yield f"{function}: its concurrency is neither the parameter's nor derived from Plaid's limit"
        if "MaximumBatchingWindowInSeconds" in event:
            yield f"{function}: a FIFO queue has no batching window"
        if "ReservedConcurrentExecutions" in template.functions[function]:
            yield f"{function}: throttled pollers use up receives"


def problems_of_queues(template: Template) -> Iterator[str]:
    for name in template.of("AWS::SQS::Queue"):
        queue = template.properties(name)
        if queue.get("FifoQueue") is not True:
            yield f"{name} is not FIFO"
        if queue.get("ContentBasedDeduplication") is not False:
            yield f"{name} takes equal bodies for duplicates"
        if any(queue.get(setting) != value for setting, value in HIGH_THROUGHPUT.items()):
            yield f"{name} is limited to 300 messages a second"
        if queue.get("SqsManagedSseEnabled") != {"Fn::If": ["OwnKey", False, True]}:
            yield f"{name} is not encrypted"
        yield from _problems_of_redrive(template, name, queue)


def _problems_of_redrive(template: Template, name: str, queue: dict[str, Any]) -> Iterator[str]:
    if name == "DeadLetterQueue":
        if queue.get("MessageRetentionPeriod") != 14 * 24 * 3600:
            yield "dead letters are not kept for SQS's fourteen days"
        return
    target = queue.get("RedrivePolicy", {}).get("deadLetterTargetArn")
    if target != {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}:
        yield f"{name} has no dead-letter queue"
    # The clock of a FIFO message runs on in the dead-letter queue.
    kept = template.properties("DeadLetterQueue").get("MessageRetentionPeriod", 345600)
    if queue.get("MessageRetentionPeriod", 345600) >= kept:
        yield f"{name} keeps messages as long as the dead-letter queue"


def problems_of_transport(template: Template) -> Iterator[str]:
    covered, denied = set(), set()
    for policy in template.of("AWS::SQS::QueuePolicy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            plain = {"Bool": {"aws:SecureTransport": "false"}}
            if (statement["Effect"], statement["Principal"], statement.get("Condition")) == ("Deny", "*", plain):
                covered |= {queue["Ref"] for queue in policy["Properties"]["Queues"]}
                denied |= set(listed(statement["Action"]))
    for name in template.of("AWS::SQS::Queue").keys() - covered:
        yield f"{name} can be reached without TLS"
    for action in {"sqs:SendMessage", "sqs:ReceiveMessage"} - denied:
        yield f"{action} is possible without TLS"


def test_a_batch_is_redelivered_only_after_its_function_is_surely_over(template: Template) -> None:
    assert list(problems_of_sources(template)) == []


def test_the_queues_are_fifo_in_high_throughput_mode_with_longer_kept_dead_letters(template: Template) -> None:
    assert list(problems_of_queues(template)) == []


def test_the_queues_are_reached_over_tls_only(template: Template) -> None:
    assert list(problems_of_transport(template)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{QUEUE}/VisibilityTimeout", 1799),
        (f"{QUEUE}/VisibilityTimeout", ABSENT),
        ("Resources/SyncFunction/Properties/Timeout", 301),
        (f"{QUEUE}/RedrivePolicy/maxReceiveCount", 4),
        (f"{EVENT}/BatchSize", 1),
        (f"{EVENT}/FunctionResponseTypes", ABSENT),
        (f"{EVENT}/ScalingConfig", ABSENT),
        (f"{EVENT}/ScalingConfig/MaximumConcurrency", 20),
        (f"{EVENT}/MaximumBatchingWindowInSeconds", 1),
        ("Resources/SyncFunction/Properties/ReservedConcurrentExecutions", 10),
        ("Resources/SyncFunction/Properties/Events", {}),
    ],
)
def test_a_break_of_the_source_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_sources(template.broken(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{QUEUE}/FifoQueue", ABSENT),
        (f"{QUEUE}/ContentBasedDeduplication", True),
        (f"{QUEUE}/DeduplicationScope", "queue"),
        (f"{QUEUE}/FifoThroughputLimit", ABSENT),
        (f"{QUEUE}/SqsManagedSseEnabled", False),
        (f"{QUEUE}/RedrivePolicy", ABSENT),
        (f"{QUEUE}/MessageRetentionPeriod", 1209600),
        (f"{DEAD_LETTERS}/FifoQueue", False),
        (f"{DEAD_LETTERS}/MessageRetentionPeriod", 345600),
    ],
)
def test_a_break_of_a_queue_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_queues(template.broken(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{POLICY}/Queues/1", ABSENT),
        (f"{POLICY}/PolicyDocument/Statement/0/Effect", "Allow"),
        (f"{POLICY}/PolicyDocument/Statement/0/Condition", ABSENT),
        (f"{POLICY}/PolicyDocument/Statement/0/Action/0", ABSENT),
        ("Resources/QueuesPolicy", ABSENT),
    ],
)
def test_a_break_of_the_transport_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_transport(template.broken(path, value)))
