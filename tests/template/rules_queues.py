"""Rules for the queues and the function that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.template.cloudformation import ABSENT, Template, listed
from tests.template.rules import differences, rule, without

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE: Final = "Resources/SyncQueue/Properties"
DEAD_LETTERS: Final = "Resources/DeadLetterQueue/Properties"
SYNC: Final = "Resources/SyncFunction/Properties"
SOURCE: Final = f"{SYNC}/Events/Messages/Properties"
POLICY: Final = "Resources/QueuesPolicy/Properties"
CONCURRENCY: Final = {
    "Fn::If": [
        "DerivedConcurrency",
        {"Fn::FindInMap": ["PlaidLimits", {"Ref": "PlaidEnvironment"}, "SyncMaximumConcurrency"]},
        {"Ref": "SyncMaximumConcurrency"},
    ]
}
DEAD_LETTER_ARN: Final = {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
EXPECTED_SOURCE: Final = {
    "BatchSize": 10,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "ScalingConfig/MaximumConcurrency": CONCURRENCY,
    "MaximumBatchingWindowInSeconds": None,  # a FIFO queue has none
}
EXPECTED_QUEUE: Final = {
    "FifoQueue": True,
    "ContentBasedDeduplication": False,  # two updates can have equal bodies
    "DeduplicationScope": "messageGroup",  # with the next one: more than 300 messages a second
    "FifoThroughputLimit": "perMessageGroupId",
    "SqsManagedSseEnabled": {"Fn::If": ["OwnKey", False, True]},
}


@rule(
    (f"{QUEUE}/VisibilityTimeout", 1799),
    (f"{SYNC}/Timeout", 301),
    (f"{QUEUE}/RedrivePolicy/maxReceiveCount", 4),
    *without(SOURCE, "FunctionResponseTypes", "ScalingConfig"),
    (f"{SYNC}/ReservedConcurrentExecutions", 10),
    (f"{SYNC}/Events", {}),
)
def a_batch_returns_after_six_timeouts_and_fails_message_by_message(template: Template) -> Iterator[str]:
    sources = list(template.events("SQS"))
    if not sources:
        yield "no function reads a queue"
    for function, event in sources:
        queue = template.properties(str(event["Queue"]["Fn::GetAtt"][0]))
        if queue.get("VisibilityTimeout", 30) < 6 * template.functions[function]["Timeout"]:
            yield f"{function}: a message is visible again before six timeouts"
        if queue.get("RedrivePolicy", {}).get("maxReceiveCount", 0) < 5:
            yield f"{function}: fewer than five receives before the dead-letter queue"
        yield from differences(function, event, EXPECTED_SOURCE)
        if "ReservedConcurrentExecutions" in template.functions[function]:
            yield f"{function}: throttled pollers use up receives"


@rule(
    *without(QUEUE, "FifoThroughputLimit", "RedrivePolicy"),
    (f"{QUEUE}/MessageRetentionPeriod", 1209600),
    (f"{DEAD_LETTERS}/MessageRetentionPeriod", 345600),
)
def queues_are_fifo_with_high_throughput_and_dead_letters_stay_longer(template: Template) -> Iterator[str]:
    kept = template.properties("DeadLetterQueue").get("MessageRetentionPeriod", 345600)
    if kept != 14 * 24 * 3600:
        yield "dead letters do not stay 14 days"
    for name in template.of("AWS::SQS::Queue"):
        queue = template.properties(name)
        yield from differences(name, queue, EXPECTED_QUEUE)
        if name == "DeadLetterQueue":
            continue
        yield from differences(name, queue, {"RedrivePolicy/deadLetterTargetArn": DEAD_LETTER_ARN})
        # The age of a FIFO message continues in the dead-letter queue.
        if queue.get("MessageRetentionPeriod", 345600) >= kept:
            yield f"{name} keeps messages as long as the dead-letter queue"


@rule(
    *without(POLICY, "Queues/1", "PolicyDocument/Statement/0/Condition", "PolicyDocument/Statement/0/Action/0"),
    (f"{POLICY}/PolicyDocument/Statement/0/Effect", "Allow"),
    ("Resources/QueuesPolicy", ABSENT),
)
def queues_need_tls(template: Template) -> Iterator[str]:
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
