"""Rules for the queues and the function that reads them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.events import MAX_RETRY_AGE
from plaid_sync.outbound.delivery import RETRY_DELAYS

from tests.template.cloudformation import ABSENT, NO_VALUE, Template, listed
from tests.template.rules import differences, rule, without

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE: Final = "Resources/SyncQueue/Properties"
DEAD_LETTERS: Final = "Resources/DeadLetterQueue/Properties"
FAILED_EVENTS: Final = "Resources/FailedEventsQueue"
OUTBOUND: Final = "Resources/OutboundQueue/Properties"
STREAM: Final = "Resources/ChangesFunction/Properties/Events/History/Properties"
SYNC: Final = "Resources/SyncFunction/Properties"
SYNC_ROLE: Final = "Resources/SyncFunctionRole/Properties/Policies/0/PolicyDocument/Statement"
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
EXPECTED_STREAM: Final = {
    "BisectBatchOnFunctionError": True,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "MetricsConfig": None,  # six metrics, which are billed; the alarm events-stopped needs none
    "DestinationConfig/OnFailure": {"Type": "SQS", "Destination": {"Fn::GetAtt": ["FailedEventsQueue", "Arn"]}},
}
EXPECTED_OUTBOUND: Final = {
    "BatchSize": 1,  # none waits behind another's timeout, and a receive is a try
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "ScalingConfig/MaximumConcurrency": 10,
}
ENCRYPTED: Final = {"SqsManagedSseEnabled": {"Fn::If": ["OwnKey", False, True]}}
EXPECTED_QUEUE: Final = {
    "FifoQueue": True,
    "ContentBasedDeduplication": False,  # two updates can have equal bodies
    "DeduplicationScope": "messageGroup",  # with the next one: more than 300 messages a second
    "FifoThroughputLimit": "perMessageGroupId",
    **ENCRYPTED,
}


@rule(
    (f"{QUEUE}/VisibilityTimeout", 299),
    (f"{QUEUE}/VisibilityTimeout", 301),
    (f"{SYNC}/Timeout", 301),
    (f"{QUEUE}/RedrivePolicy/maxReceiveCount", 999),
    *without(SOURCE, "FunctionResponseTypes", "ScalingConfig"),
    (f"{SYNC}/ReservedConcurrentExecutions", 10),
    (f"{SYNC}/Events", {}),
)
def a_batch_returns_after_the_timeout_and_fails_message_by_message(template: Template) -> Iterator[str]:
    sources = dict(template.events("SQS"))
    if sources.keys() != {"SyncFunction", "OutboundFunction"}:
        yield f"queues are read by {sorted(sources)}"
    for function, event in sources.items():
        queue = template.properties(str(event["Queue"]["Fn::GetAtt"][0]))
        # Lambda accepts no shorter one, and a longer one closes the group of a worker that died at once.
        if queue.get("VisibilityTimeout", 30) != template.functions[function]["Timeout"]:
            yield f"{function}: the visibility timeout is not the function's timeout"
        if function == "OutboundFunction":
            yield from differences(function, event, EXPECTED_OUTBOUND)
            continue
        if queue.get("RedrivePolicy", {}).get("maxReceiveCount", 0) < 1000:
            yield f"{function}: an outage of a day uses up the receives of a message"
        yield from differences(function, event, EXPECTED_SOURCE)
        maximum = event.get("ScalingConfig", {}).get("MaximumConcurrency")
        reserved = template.functions[function].get("ReservedConcurrentExecutions")
        if reserved != {"Fn::If": ["SyncReserved", maximum, NO_VALUE]}:
            yield f"{function}: with fewer reserved executions than workers, throttled pollers hide messages"


@rule(
    *without(QUEUE, "FifoThroughputLimit", "RedrivePolicy"),
    (f"{QUEUE}/MessageRetentionPeriod", 1209600),
    (f"{DEAD_LETTERS}/MessageRetentionPeriod", 345600),
)
def queues_are_fifo_with_high_throughput_and_dead_letters_stay_longer(template: Template) -> Iterator[str]:
    kept = template.properties("DeadLetterQueue").get("MessageRetentionPeriod", 345600)
    if kept != 14 * 24 * 3600:
        yield "dead letters do not stay 14 days"
    for name in ("SyncQueue", "DeadLetterQueue"):
        queue = template.properties(name)
        yield from differences(name, queue, EXPECTED_QUEUE)
        if name == "DeadLetterQueue":
            continue
        yield from differences(name, queue, {"RedrivePolicy/deadLetterTargetArn": DEAD_LETTER_ARN})
        # The age of a FIFO message continues in the dead-letter queue.
        if queue.get("MessageRetentionPeriod", 345600) >= kept:
            yield f"{name} keeps messages as long as the dead-letter queue"


@rule(
    *without(OUTBOUND, "RedrivePolicy", "MessageRetentionPeriod", "SqsManagedSseEnabled"),
    (f"{OUTBOUND}/RedrivePolicy/maxReceiveCount", len(RETRY_DELAYS) + 1),
    (f"{OUTBOUND}/FifoQueue", True),
    ("Resources/OutboundDeadLetterQueue/Properties/MessageRetentionPeriod", ABSENT),
)
def deliveries_have_all_their_tries_and_dead_letters_stay(template: Template) -> Iterator[str]:
    queue, dead = template.properties("OutboundQueue"), template.properties("OutboundDeadLetterQueue")
    arn = {"Fn::GetAtt": ["OutboundDeadLetterQueue", "Arn"]}
    yield from differences(
        "OutboundQueue", queue, {"FifoQueue": None, "RedrivePolicy/deadLetterTargetArn": arn, **ENCRYPTED}
    )
    yield from differences(
        "OutboundDeadLetterQueue", dead, {"FifoQueue": None, "MessageRetentionPeriod": 14 * 24 * 3600, **ENCRYPTED}
    )
    if queue.get("RedrivePolicy", {}).get("maxReceiveCount", 0) <= len(RETRY_DELAYS) + 1:
        yield "SQS dead-letters a delivery before the function does, and without the reason"
    if queue.get("MessageRetentionPeriod", 0) < 2 * sum(RETRY_DELAYS, timedelta()).total_seconds():
        yield "a delivery expires before its last try"


@rule(
    *without(
        STREAM, "MaximumRetryAttempts", "BisectBatchOnFunctionError", "FunctionResponseTypes", "DestinationConfig"
    ),
    (f"{STREAM}/MetricsConfig", {"Metrics": ["EventCount"]}),
    (f"{STREAM}/MaximumRecordAgeInSeconds", 3600),
    (f"{STREAM}/MaximumRecordAgeInSeconds", 86400),
    (f"{STREAM}/DestinationConfig/OnFailure/Destination", DEAD_LETTER_ARN),
    (f"{FAILED_EVENTS}/Properties/FifoQueue", True),
    (f"{FAILED_EVENTS}/Properties/SqsManagedSseEnabled", False),
    (f"{FAILED_EVENTS}/Properties/MessageRetentionPeriod", ABSENT),
)
def no_record_blocks_its_shard_and_what_fails_is_kept(template: Template) -> Iterator[str]:
    """The function keeps an event with its content before Lambda discards the record without it."""
    for function, event in template.events("DynamoDB"):
        yield from differences(function, event, EXPECTED_STREAM)
        if "MaximumRetryAttempts" not in event:
            yield f"{function}: a record that kills the function is retried for ever"
        age, kept = event.get("MaximumRecordAgeInSeconds", 0), MAX_RETRY_AGE.total_seconds()
        if not kept + template.functions[function]["Timeout"] < age <= 2 * kept:
            yield f"{function}: Lambda discards records before the function keeps them, or holds up a shard for long"
    expected = {"FifoQueue": None, "MessageRetentionPeriod": 14 * 24 * 3600, **ENCRYPTED}
    yield from differences("FailedEventsQueue", template.properties("FailedEventsQueue"), expected)


@rule(
    (
        f"{SYNC_ROLE}/DeadLetterMessages/Resource",
        {"Fn::GetAtt": ["SyncQueue", "Arn"]},
    ),
    (f"{SYNC}/RecursiveLoop", "Allow"),
)
def no_function_sends_to_the_queue_that_invokes_it(template: Template) -> Iterator[str]:
    """Lambda ends such a chain after 16 invocations, unless the function has RecursiveLoop: none needs it."""
    for function, event in template.events("SQS"):
        for name, statement in template.statements():
            sends = "sqs:SendMessage" in listed(statement.get("Action", []))
            # Outbound sends what an event becomes, once, and nothing on what it has sent.
            expands = function == "OutboundFunction"
            if name == f"{function}Role" and sends and not expands and event["Queue"] in listed(statement["Resource"]):
                yield f"{function} can invoke itself for ever"
    for function, properties in template.functions.items():
        yield from differences(function, properties, {"RecursiveLoop": None})


@rule(
    *without(
        POLICY, "Queues/1", "Queues/2", "PolicyDocument/Statement/0/Condition", "PolicyDocument/Statement/0/Action/0"
    ),
    (f"{POLICY}/PolicyDocument/Statement/0/Effect", "Allow"),
    ("Resources/QueuesPolicy", ABSENT),
)
def queues_need_tls(template: Template) -> Iterator[str]:
    covered, needed = set(), {"sqs:SendMessage", "sqs:ReceiveMessage"}
    for policy in template.of("AWS::SQS::QueuePolicy").values():
        for given in policy["Properties"]["PolicyDocument"]["Statement"]:
            statement = given["Fn::If"][1] if "Fn::If" in given else given
            plain = {"Bool": {"aws:SecureTransport": "false"}}
            denies = (statement["Effect"], statement["Principal"], statement.get("Condition")) == ("Deny", "*", plain)
            if denies and needed <= set(listed(statement["Action"])):
                covered |= {queue["Ref"] for queue in policy["Properties"]["Queues"]}
    for name in template.of("AWS::SQS::Queue").keys() - covered:
        yield f"{name} can be reached without TLS"
