"""Rules for the queues and the function that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.template.cloudformation import ABSENT, Template, listed
from tests.template.rules import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE: Final = "Resources/SyncQueue/Properties"
DEAD_LETTERS: Final = "Resources/DeadLetterQueue/Properties"
SYNC: Final = "Resources/SyncFunction/Properties"
SOURCE: Final = f"{SYNC}/Events/Triggers/Properties"
POLICY: Final = "Resources/QueuesPolicy/Properties"
HIGH_THROUGHPUT: Final = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
CONCURRENCY: Final = {
    "Fn::If": [
        "DerivedConcurrency",
        {"Fn::FindInMap": ["PlaidLimits", {"Ref": "PlaidEnvironment"}, "SyncMaximumConcurrency"]},
        {"Ref": "SyncMaximumConcurrency"},
    ]
}


@rule(
    (f"{QUEUE}/VisibilityTimeout", 1799),
    (f"{QUEUE}/VisibilityTimeout", ABSENT),
    (f"{SYNC}/Timeout", 301),
    (f"{QUEUE}/RedrivePolicy/maxReceiveCount", 4),
    (f"{SOURCE}/BatchSize", 1),
    (f"{SOURCE}/FunctionResponseTypes", ABSENT),
    (f"{SOURCE}/ScalingConfig", ABSENT),
    (f"{SOURCE}/ScalingConfig/MaximumConcurrency", 20),
    (f"{SOURCE}/MaximumBatchingWindowInSeconds", 1),
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


@rule(
    (f"{QUEUE}/FifoQueue", ABSENT),
    (f"{QUEUE}/ContentBasedDeduplication", True),
    (f"{QUEUE}/DeduplicationScope", "queue"),
    (f"{QUEUE}/FifoThroughputLimit", ABSENT),
    (f"{QUEUE}/SqsManagedSseEnabled", False),
    (f"{QUEUE}/RedrivePolicy", ABSENT),
    (f"{QUEUE}/MessageRetentionPeriod", 1209600),
    (f"{DEAD_LETTERS}/FifoQueue", False),
    (f"{DEAD_LETTERS}/MessageRetentionPeriod", 345600),
)
def queues_are_fifo_with_high_throughput_and_dead_letters_stay_longer(template: Template) -> Iterator[str]:
    kept = template.properties("DeadLetterQueue").get("MessageRetentionPeriod", 345600)
    if kept != 14 * 24 * 3600:
        yield "dead letters do not stay 14 days"
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
        if name == "DeadLetterQueue":
            continue
        target = queue.get("RedrivePolicy", {}).get("deadLetterTargetArn")
        if target != {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}:
            yield f"{name} has no dead-letter queue"
        # The age of a FIFO message continues in the dead-letter queue.
        if queue.get("MessageRetentionPeriod", 345600) >= kept:
            yield f"{name} keeps messages as long as the dead-letter queue"


@rule(
    (f"{POLICY}/Queues/1", ABSENT),
    (f"{POLICY}/PolicyDocument/Statement/0/Effect", "Allow"),
    (f"{POLICY}/PolicyDocument/Statement/0/Condition", ABSENT),
    (f"{POLICY}/PolicyDocument/Statement/0/Action/0", ABSENT),
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
