"""Rules for the alarms and for the thresholds on the dashboard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.schedule import MAX_ITEM_AGE, RETRY_DELAYS, AttemptClass
from plaid_sync.metrics import DIMENSIONS, Metric
from plaid_sync_cli.health import MAX_FAILURE_AGES, MAX_MESSAGE_AGE

from tests.template import operations as ops
from tests.template.cloudformation import ABSENT, Template, environment
from tests.template.rules import differences, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DESCRIPTION: Final = 1024
MAX_STACK_NAME: Final = "s" * 128
AWS_METRICS: Final = {
    "AWS/Lambda": {
        *("Errors", "Throttles", "IteratorAge", "Invocations", "DestinationDeliveryFailures"),
    },
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/ApiGateway": {"5xx"},
}
PAGES: Final = {
    "drift-found",  # rows are wrong
    "rows-quarantined",  # rows lack what Plaid has
    "reconcile-decided",  # rows were removed without proof
    "dead-letters",  # nothing processes these messages
    "events-lost",  # nothing publishes these events
    "items-orphaned",  # Plaid bills an Item that nothing can reach
    "exchange-unknown",  # the same, perhaps
    "removals-incomplete",  # the same, or data is kept that must be gone
    "plaid-credentials-refused",  # nothing syncs until a person acts
}
"""Alarms of wrong or lost data, or of money: nothing that the engine does heals them. All others are of late data."""
BY_HOURS: Final = {"webhooks-silent", "removals-incomplete", "audit-not-run"}
"""Alarms that evaluate hours or days; all others ring within 15 minutes."""
WITH_EXPRESSIONS: Final = {"webhooks-silent", "sync-stopped", "sweep-not-run", "audit-not-run"}
"""Heartbeat alarms: an expression counts only the periods in which a heartbeat is due."""
GAUGES: Final = {"StalestItemAge", "OldestFailure", "RemovalsIncomplete"}
"""Metrics that the sweep measures every few minutes."""
QUARANTINED: Final = "Resources/RowsQuarantinedAlarm/Properties"
VARIABLES: Final = "Globals/Function/Environment/Variables"


@rule(
    (f"{QUARANTINED}/AlarmDescription", {"Fn::Sub": "Rows are quarantined."}),
    (f"{QUARANTINED}/AlarmName", {"Fn::Sub": "${StackName}-rows-in-quarantine"}),
    (f"{QUARANTINED}/AlarmName", {"Fn::Sub": "rows-quarantined"}),
)
def descriptions_are_small_runbooks_and_names_begin_with_the_stacks(alarms: Template) -> Iterator[str]:
    longest_address = "u" * alarms.document["Parameters"]["RunbookUrl"]["MaxLength"]
    for name, properties in ((alarm.logical_id, alarm.properties) for alarm in ops.alarms_of(alarms)):
        if not properties["AlarmName"]["Fn::Sub"].startswith("${StackName}-"):
            yield f"{name} collides with another stack's"
        text = str(properties.get("AlarmDescription", {}).get("Fn::Sub", ""))
        symptom, *steps, link = text.split("\n") if text.count("\n") > 1 else ("", "")
        if not re.search(r"\w+ \w+ .*\.$", symptom):
            yield f"{name} has no symptom"
        if not 2 <= len(steps) <= 4 or not all(step.startswith("- ") for step in steps):
            yield f"{name} has no steps"
        if link != f"${{RunbookUrl}}#{ops.slug_of(properties)}":
            yield f"{name} does not link to its heading"
        written = text.replace("${RunbookUrl}", longest_address).replace("${StackName}", MAX_STACK_NAME)
        if len(written) > MAX_DESCRIPTION:
            yield f"{name} is longer than CloudWatch's limit"
        if unknown := set(ops.commands_in(text)) - ops.COMMANDS:
            yield f"{name} names {unknown}"


@rule(
    (f"{QUARANTINED}/TreatMissingData", ABSENT),
    ("Resources/WebhooksSilentAlarm/Properties/TreatMissingData", "notBreaching"),
)
def missing_data_breaches_heartbeats_only_and_leaves_gauges_as_they_are(alarms: Template) -> Iterator[str]:
    for alarm in ops.alarms_of(alarms):
        by_operator = "breaching" if "LessThan" in alarm.properties["ComparisonOperator"] else "notBreaching"
        expected = "ignore" if alarm.metric.name in GAUGES or alarm.slug in WITH_EXPRESSIONS else by_operator
        if alarm.properties.get("TreatMissingData") != expected:
            yield f"{alarm.logical_id} treats missing data in another way"


@rule(
    (f"{QUARANTINED}/MetricName", "RowsInQuarantine"),
    (f"{QUARANTINED}/Dimensions/0/Name", "Service"),
    ("Resources/Api5xxAlarm/Properties/MetricName", "5XXError"),
    ("Resources/WebhooksSilentAlarm/Properties/Metrics/1/MetricStat/Metric/Dimensions/1/Name", "status"),
)
def alarms_watch_published_metrics(alarms: Template) -> Iterator[str]:
    for alarm in ops.alarms_of(alarms):
        for metric in alarm.metrics:
            if metric.name not in AWS_METRICS.get(metric.namespace, set(Metric)):
                yield f"{alarm.logical_id} watches a metric that nothing publishes"
            if metric.namespace != "PlaidSync":
                continue
            by = DIMENSIONS.get(Metric(metric.name)) if metric.name in set(Metric) else None
            if metric.dimensions[0] != ("service", "${StackName}"):
                yield f"{alarm.logical_id} watches another stack"
            if [name for name, _ in metric.dimensions[1:]] != ([by] if by else []):
                yield f"{alarm.logical_id} watches other dimensions"


@rule((f"{QUARANTINED}/Period", 3600))
def alarms_ring_within_15_minutes(alarms: Template) -> Iterator[str]:
    for alarm in ops.alarms_of(alarms):
        if alarm.slug not in BY_HOURS and alarm.period * alarm.properties["EvaluationPeriods"] > 900:
            yield f"{alarm.logical_id} rings late"


@rule(
    (f"{QUARANTINED}/AlarmActions", [{"Ref": "AlarmTopic"}]),
    ("Resources/SyncFailingAlarm/Properties/AlarmActions", [{"Ref": "PageTopic"}]),
    ("Resources/SyncFailingAlarm/Properties/AlarmActions", ABSENT),
    (f"{QUARANTINED}/OKActions", [{"Ref": "PageTopic"}]),
)
def each_alarm_notifies_the_topic_of_its_class_and_none_that_it_has_cleared(alarms: Template) -> Iterator[str]:
    """An alarm of an event clears while its fault is still there, and a pager would close the incident."""
    for alarm in ops.alarms_of(alarms):
        topic = "PageTopic" if alarm.slug in PAGES else "AlarmTopic"
        if alarm.properties.get("AlarmActions") != [{"Ref": topic}] or "OKActions" in alarm.properties:
            yield f"{alarm.slug} does not notify {topic} alone"


@rule(
    ("Resources/DataKey/Properties/KeyPolicy/Statement/1/Action", ["kms:Decrypt"]),
)
def cloudwatch_can_publish_to_the_topics(template: Template, alarms: Template) -> Iterator[str]:
    """CloudWatch can't use the key aws/sns: it would deliver no notification."""
    key = {"Fn::If": ["OwnKey", {"Ref": "KeyArn"}, {"Ref": "AWS::NoValue"}]}
    for name in ("PageTopic", "AlarmTopic"):
        yield from differences(name, alarms.properties(name), {"KmsMasterKeyId": key})
    grants = {
        statement["Principal"].get("Service"): set(statement["Action"])
        for name, statement in template.statements()
        if name == "DataKey" and isinstance(statement["Principal"].get("Service"), str)
    }
    if grants.get("cloudwatch.amazonaws.com") != {"kms:Decrypt", "kms:GenerateDataKey"}:
        yield "CloudWatch can't encrypt for the topics"


@rule(("Resources/ItemsStaleAlarm/Properties/Threshold", 43_200))
def an_item_is_stale_after_the_sweeps_longest_age(alarms: Template) -> Iterator[str]:
    threshold = {"Threshold": MAX_ITEM_AGE.total_seconds()}
    yield from differences("items-stale", alarms.properties("ItemsStaleAlarm"), threshold)


@rule(
    ("Resources/ItemsFailingAlarm/Properties/Threshold", 3_600),
    ("Resources/BanksFailingAlarm/Properties/Threshold", 7_200),
    ("Resources/MessageTooOldAlarm/Properties/Threshold", 50_400),
)
def the_command_line_has_the_thresholds_of_the_alarms(alarms: Template) -> Iterator[str]:
    ages = {
        "ItemsFailingAlarm": MAX_FAILURE_AGES[AttemptClass.FAILING],
        "BanksFailingAlarm": MAX_FAILURE_AGES[AttemptClass.BANK_DOWN],
        "MessageTooOldAlarm": MAX_MESSAGE_AGE,
    }
    for name, age in ages.items():
        yield from differences(name, alarms.properties(name), {"Threshold": age.total_seconds()})


@rule(("Resources/ItemsFailingAlarm/Properties/Threshold", 3_000))
def an_item_fails_for_many_retries_before_its_alarm(alarms: Template) -> Iterator[str]:
    for name, failure_class in (
        ("ItemsFailingAlarm", FailureClass.CLIENT_ERROR),
        ("BanksFailingAlarm", FailureClass.INSTITUTION_DOWN),
    ):
        _, longest_delay = RETRY_DELAYS[failure_class]
        if alarms.properties(name)["Threshold"] < 10 * longest_delay.total_seconds():
            yield f"{name} rings before ten retries"


@rule(
    ("Resources/SyncFunction/Properties/FunctionName", {"Fn::Sub": "${AWS::StackName}-synchronise"}),
)
def each_function_has_an_alarm_for_errors_and_those_of_a_caller_or_a_queue_for_throttles(
    template: Template, alarms: Template
) -> Iterator[str]:
    """Lambda itself invokes the others again; events-late, sweep-not-run and audit-not-run watch that they ran."""
    watched = {alarm.slug: alarm for alarm in ops.alarms_of(alarms)}
    for name, properties in template.functions.items():
        function = properties["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        kinds = {"errors": "Errors"} | ({"throttled": "Throttles"} if function in ("webhook", "sync", "items") else {})
        for kind, metric in kinds.items():
            series = ops.Metric("AWS/Lambda", metric, (("FunctionName", f"${{StackName}}-{function}"),))
            alarm = watched.get(f"{function}-{kind}")
            if alarm is None:
                yield f"{name} has no such alarm: {kind}"
            elif (alarm.metric, alarm.statistic, alarm.properties["Threshold"]) != (series, "Sum", 1):
                yield f"{name}: {alarm.slug} does not fit"


@rule(
    (f"{VARIABLES}/POWERTOOLS_METRICS_NAMESPACE", "Other"),
    ("Resources/Dashboard/Properties/Parameters/StackName", "other"),
)
def alarms_and_dashboard_read_where_the_functions_publish(template: Template) -> Iterator[str]:
    stack = {"Ref": "AWS::StackName"}
    expected = {"POWERTOOLS_METRICS_NAMESPACE": "PlaidSync", "POWERTOOLS_SERVICE_NAME": stack}
    yield from differences("Globals", environment(template.document["Globals"]["Function"]), expected)
    for name in ("Alarms", "Dashboard"):
        yield from differences(name, template.properties(name), {"Parameters/StackName": stack})


@rule(
    ("Resources/ItemsStaleAlarm/Properties/Threshold", 43_200),
    ("Resources/SyncBacklogAlarm/Properties/ExtendedStatistic", "p90"),
    ("Resources/WebhookErrorsAlarm/Properties/Threshold", 2),
    ("Resources/Api5xxAlarm/Properties/Period", 60),
)
def each_threshold_is_on_a_graph_of_its_metric_and_no_other_line_is(
    alarms: Template, dashboard: Template
) -> Iterator[str]:
    watched = {alarm.slug: alarm for alarm in ops.alarms_of(alarms)}
    widgets = ops.widgets_of(dashboard)
    for alarm in watched.values():
        if not any(_draws(widget, alarm) for widget in widgets):
            yield f"{alarm.slug} is on no graph"
    for widget in widgets:
        for slug, _, _ in widget.thresholds():
            if slug not in watched or not _draws(widget, watched[slug]):
                yield f"{widget.title}: {slug} does not fit"


def _draws(widget: ops.Widget, alarm: ops.Alarm) -> bool:
    wanted = alarm.metric, alarm.statistic
    axis = next((line.axis for line in widget.lines() if (line.metric, line.statistic) == wanted), None)
    by_period = widget.properties.get("period") == alarm.period or alarm.slug in BY_HOURS
    return by_period and (alarm.slug, alarm.properties["Threshold"], axis) in set(widget.thresholds())
