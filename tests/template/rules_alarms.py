"""Rules for the alarms and for the thresholds on the dashboard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.schedule import MAX_ITEM_AGE, RETRY_DELAYS, AttemptClass
from plaid_sync.metrics import ONLY_BY, Metric
from plaid_sync_cli.health import MAX_FAILURE_AGES, MAX_MESSAGE_AGE

from tests.template import operations as ops
from tests.template.cloudformation import ABSENT, Template, environment
from tests.template.rules import differences, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DESCRIPTION: Final = 1024
MAX_STACK_NAME: Final = "s" * 128
AWS_METRICS: Final = {
    "AWS/Lambda": {"Errors", "Throttles", "Duration", "IteratorAge"},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/ApiGateway": {"5xx"},
}
BY_HOURS: Final = {"webhooks-silent", "removals-incomplete"}
"""Alarms that evaluate hours; all others ring within 15 minutes."""
WITH_EXPRESSIONS: Final = {"webhooks-silent", "sweep-not-run"}
"""Heartbeat alarms that start when a heartbeat is due: an expression counts only the periods with a gauge."""
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
    for name, properties in ops.properties_of_alarms(alarms):
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
            by = ONLY_BY.get(Metric(metric.name)) if metric.name in set(Metric) else None
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
    ("Resources/AttentionAlarm/Properties/OKActions", ABSENT),
    ("Resources/AttentionAlarm/Properties/AlarmRule", {"Fn::Sub": 'ALARM("${DeadLettersAlarm}")'}),
)
def only_attention_notifies_and_it_watches_all(alarms: Template) -> Iterator[str]:
    children = {
        ops.slug_of(found["Properties"]): _children(alarms, name) for name, found in alarms.of(ops.COMPOSITE).items()
    }
    if children["sync-stopped"] != ops.HALVES:
        yield "sync-stopped is not both of its halves"
    if children["attention"] != set(ops.slugs_of(alarms)) - ops.HALVES - {"attention"}:
        yield "attention does not watch all"
    for name, operator in (("SyncStoppedAlarm", "AND"), ("AttentionAlarm", "OR")):
        if set(re.findall(r"\b(?:AND|OR|NOT)\b", alarms.properties(name)["AlarmRule"]["Fn::Sub"])) != {operator}:
            yield f"{name} combines in another way"
    for name, found in alarms.resources.items():
        actions = [found.get("Properties", {}).get(key) for key in ("AlarmActions", "OKActions")]
        if actions != ([[{"Ref": "AlarmTopic"}]] * 2 if name == "AttentionAlarm" else [None, None]):
            yield f"{name} has other actions"


def _children(alarms: Template, name: str) -> set[str]:
    text = alarms.properties(name)["AlarmRule"]["Fn::Sub"]
    return {ops.slug_of(alarms.properties(child)) for child in re.findall(r'ALARM\("\$\{(\w+)\}"\)', text)}


@rule(("Resources/AlarmTopic/Properties/KmsMasterKeyId", "alias/aws/sns"))
def cloudwatch_can_publish_to_the_encrypted_topic(alarms: Template) -> Iterator[str]:
    """CloudWatch can't use the key aws/sns: it would deliver no notification."""
    yield from differences("AlarmTopic", alarms.properties("AlarmTopic"), {"KmsMasterKeyId": {"Ref": "AlarmKey"}})
    grants = {
        statement["Principal"].get("Service"): set(statement["Action"])
        for name, statement in alarms.statements()
        if name == "AlarmKey"
    }
    if grants.get("cloudwatch.amazonaws.com") != {"kms:Decrypt", "kms:GenerateDataKey*"}:
        yield "CloudWatch can't encrypt for the topic"


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
    ("Resources/SyncFunction/Properties/Timeout", 299),
    ("Resources/SyncFunction/Properties/FunctionName", {"Fn::Sub": "${AWS::StackName}-synchronise"}),
)
def each_function_has_alarms_for_errors_throttles_and_80_percent_of_its_timeout(
    template: Template, alarms: Template
) -> Iterator[str]:
    watched = {alarm.slug: alarm for alarm in ops.alarms_of(alarms)}
    for name, properties in template.functions.items():
        function = properties["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        for kind, metric, statistic, threshold, figure in (
            ("errors", "Errors", "Sum", 1, ""),
            ("throttled", "Throttles", "Sum", 1, ""),
            ("slow", "Duration", "Maximum", 800 * properties["Timeout"], f" {properties['Timeout'] * 8 // 10} s"),
        ):
            series = ops.Metric("AWS/Lambda", metric, (("FunctionName", f"${{StackName}}-{function}"),))
            alarm = watched.get(f"{function}-{kind}")
            if alarm is None or figure not in alarm.properties["AlarmDescription"]["Fn::Sub"]:
                yield f"{name} has no such alarm, or one with another figure: {kind}"
            elif (alarm.metric, alarm.statistic, alarm.properties["Threshold"]) != (series, statistic, threshold):
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
