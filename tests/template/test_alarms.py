"""What must be true of every alarm, and that a break of it is noticed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from plaid_sync.core.lifecycle.cadence import LONGEST_AGE
from plaid_sync.signals import ONLY_BY, Signal

from tests.template.cloudformation import ABSENT, Template, environment
from tests.template.operations import COMMANDS, HALVES, Alarm, alarms_of, commands_in, slug_of, slugs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPOSITE: Final = "AWS::CloudWatch::CompositeAlarm"
LONGEST: Final = 1024
"""What CloudWatch takes for a description."""
LONGEST_NAME: Final = "s" * 128
"""What CloudFormation takes for a stack's."""
AWS_METRICS: Final = {
    ("AWS/Lambda", "Errors"),
    ("AWS/Lambda", "Throttles"),
    ("AWS/Lambda", "Duration"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
    ("AWS/ApiGateway", "5xx"),
}
SLOW: Final = {"webhooks-silent", "removals-unfinished"}
"""Alarms that count hours; all others ring within a quarter of an hour."""
GAUGES: Final = {"StalestItemAge", "RemovalsUnfinished"}
"""What the sweep measures with each run."""
BEGIN_LATER: Final = {"webhooks-silent", "sweep-not-run"}
"""Alarms on too little, which begin when there is something to miss: an expression counts the periods with a gauge."""


def problems_of_descriptions(template: Template) -> Iterator[str]:
    longest_address = "u" * template.document["Parameters"]["RunbookUrl"]["MaxLength"]
    for kind in ("AWS::CloudWatch::Alarm", COMPOSITE):
        for name, found in template.of(kind).items():
            text = str(found["Properties"].get("AlarmDescription", {}).get("Fn::Sub", ""))
            symptom, *bullets, link = text.split("\n") if text.count("\n") > 1 else ("", "")
            if not re.search(r"\w+ \w+ .*\.$", symptom):
                yield f"{name} has no symptom"
            if not 2 <= len(bullets) <= 4 or not all(bullet.startswith("- ") for bullet in bullets):
                yield f"{name} does not say what to do"
            if link != f"${{RunbookUrl}}#{slug_of(found['Properties'])}":
                yield f"{name} leads elsewhere than to its heading"
            written = text.replace("${RunbookUrl}", longest_address).replace("${StackName}", LONGEST_NAME)
            if len(written) > LONGEST:
                yield f"{name} says more than CloudWatch takes"
            if unknown := set(commands_in(text)) - COMMANDS:
                yield f"{name} names {unknown}"


def problems_of_names(template: Template) -> Iterator[str]:
    slugs = slugs_of(template)
    if len(set(slugs)) != len(slugs):
        yield "two alarms have one name"
    for kind in ("AWS::CloudWatch::Alarm", COMPOSITE):
        for name, found in template.of(kind).items():
            if not found["Properties"]["AlarmName"]["Fn::Sub"].startswith("${StackName}-"):
                yield f"{name} collides with another stack's"


def problems_of_missing_data(template: Template) -> Iterator[str]:
    """Too little breaches without data; a missing gauge retains the state; otherwise missing data means no events."""
    for alarm in alarms_of(template):
        awaited = "breaching" if "LessThan" in alarm.properties["ComparisonOperator"] else "notBreaching"
        expected = "ignore" if alarm.metric.name in GAUGES or alarm.slug in BEGIN_LATER else awaited
        if alarm.properties.get("TreatMissingData") != expected:
            yield f"{alarm.logical_id} is undecided while nothing happens"


def problems_of_metrics(template: Template) -> Iterator[str]:
    for alarm in alarms_of(template):
        if ("Metrics" in alarm.properties) != (alarm.slug in BEGIN_LATER):
            yield f"{alarm.logical_id} calculates, or does not"
        for metric in alarm.metrics:
            if metric.namespace != "PlaidSync":
                if (metric.namespace, metric.name) not in AWS_METRICS:
                    yield f"{alarm.logical_id} watches what AWS does not emit"
            elif metric.name not in set(Signal):
                yield f"{alarm.logical_id} watches what no function emits"
            elif tuple(name for name, _ in metric.dimensions) != dimensions_of(Signal(metric.name)):
                yield f"{alarm.logical_id} watches under other dimensions"
            elif metric.dimensions[0] != ("service", "${StackName}"):
                yield f"{alarm.logical_id} watches another stack"


def dimensions_of(signal: Signal) -> tuple[str, ...]:
    return ("service", ONLY_BY[signal]) if signal in ONLY_BY else ("service",)


def problems_of_expressions(template: Template) -> Iterator[str]:
    """One value comes back, made of the alarm's own metrics."""
    for alarm in alarms_of(template):
        queries = alarm.properties.get("Metrics", [])
        returned = [query for query in queries if query.get("ReturnData", True)]
        if queries and (len(returned) != 1 or "Expression" not in returned[0]):
            yield f"{alarm.logical_id} returns more or less than one expression"
        ids = {query["Id"] for query in queries}
        for query in queries:
            if missing := set(re.findall(r"[a-z]\w*", query.get("Expression", ""))) - ids:
                yield f"{alarm.logical_id} calculates with {missing}"


def problems_of_time(template: Template) -> Iterator[str]:
    for alarm in alarms_of(template):
        if alarm.slug not in SLOW and alarm.period * alarm.properties["EvaluationPeriods"] > 900:
            yield f"{alarm.logical_id} rings late"


def problems_of_composites(template: Template) -> Iterator[str]:
    """One page for all: `attention` is any of them, and nothing else notifies."""
    rules = {slug_of(found["Properties"]): _children(template, name) for name, found in template.of(COMPOSITE).items()}
    if rules["sync-stopped"] != HALVES:
        yield "sync-stopped is not both of its halves"
    if rules["attention"] != set(slugs_of(template)) - HALVES - {"attention"}:
        yield "attention does not watch all"
    for name in ("SyncStoppedAlarm", "AttentionAlarm"):
        operators = set(re.findall(r"\b(?:AND|OR|NOT)\b", template.properties(name)["AlarmRule"]["Fn::Sub"]))
        if operators != ({"OR"} if name == "AttentionAlarm" else {"AND"}):
            yield f"{name} combines in another way"
    for name, found in template.resources.items():
        actions = [found.get("Properties", {}).get(key) for key in ("AlarmActions", "OKActions")]
        if actions != ([[{"Ref": "AlarmTopic"}]] * 2 if name == "AttentionAlarm" else [None, None]):
            yield f"{name} notifies, or does not"


def _children(template: Template, name: str) -> set[str]:
    rule = template.properties(name)["AlarmRule"]["Fn::Sub"]
    return {slug_of(template.properties(child)) for child in re.findall(r'ALARM\("\$\{(\w+)\}"\)', rule)}


def problems_of_the_topic(template: Template) -> Iterator[str]:
    """CloudWatch can't use the key aws/sns: an alarm would be raised, and nobody told."""
    key = template.properties("AlarmTopic").get("KmsMasterKeyId")
    if key != {"Ref": "AlarmKey"}:
        yield "the topic is not encrypted with its key"
    grants = {
        statement["Principal"].get("Service"): set(statement["Action"])
        for name, statement in template.statements()
        if name == "AlarmKey"
    }
    if grants.get("cloudwatch.amazonaws.com") != {"kms:Decrypt", "kms:GenerateDataKey*"}:
        yield "CloudWatch can't encrypt for the topic"


def problems_of_the_local_difference(template: Template) -> Iterator[str]:
    """The transport, and what the emulator refuses."""
    conditional = {name for name, found in template.resources.items() if found.get("Condition") == "OnAws"}
    if conditional - {*template.of(COMPOSITE)} != {"AlarmTopicPolicy"}:
        yield "more or less differs locally than must"


RULES: Final = {
    "descriptions": problems_of_descriptions,
    "names": problems_of_names,
    "missing": problems_of_missing_data,
    "metrics": problems_of_metrics,
    "expressions": problems_of_expressions,
    "time": problems_of_time,
    "composites": problems_of_composites,
    "topic": problems_of_the_topic,
    "local": problems_of_the_local_difference,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_alarms_keep_the_rule(alarms: Template, rule: str) -> None:
    assert list(RULES[rule](alarms)) == []


QUARANTINED: Final = "Resources/RowsQuarantinedAlarm/Properties"


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        ("descriptions", f"{QUARANTINED}/AlarmDescription", {"Fn::Sub": "Rows are quarantined."}),
        ("descriptions", f"{QUARANTINED}/AlarmName", {"Fn::Sub": "${StackName}-rows-in-quarantine"}),
        ("names", f"{QUARANTINED}/AlarmName", {"Fn::Sub": "rows-quarantined"}),
        ("names", f"{QUARANTINED}/AlarmName", {"Fn::Sub": "${StackName}-dead-letters"}),
        ("missing", f"{QUARANTINED}/TreatMissingData", ABSENT),
        ("missing", "Resources/WebhooksSilentAlarm/Properties/TreatMissingData", "notBreaching"),
        ("metrics", f"{QUARANTINED}/MetricName", "RowsInQuarantine"),
        ("metrics", f"{QUARANTINED}/Dimensions/0/Name", "Service"),
        ("metrics", "Resources/Api5xxAlarm/Properties/MetricName", "5XXError"),
        ("metrics", "Resources/WebhooksSilentAlarm/Properties/Metrics/1/MetricStat/Metric/Dimensions/1/Name", "status"),
        ("expressions", "Resources/SweepNotRunAlarm/Properties/Metrics/2/Expression", "IF(queue >= 0, runs, 0)"),
        ("expressions", "Resources/SweepNotRunAlarm/Properties/Metrics/0/ReturnData", ABSENT),
        ("time", f"{QUARANTINED}/Period", 3600),
        ("composites", f"{QUARANTINED}/AlarmActions", [{"Ref": "AlarmTopic"}]),
        ("composites", "Resources/AttentionAlarm/Properties/OKActions", ABSENT),
        ("composites", "Resources/AttentionAlarm/Properties/AlarmRule", {"Fn::Sub": 'ALARM("${DeadLettersAlarm}")'}),
        ("topic", "Resources/AlarmTopic/Properties/KmsMasterKeyId", "alias/aws/sns"),
        ("local", "Resources/RowsQuarantinedAlarm/Condition", "OnAws"),
    ],
)
def test_a_break_of_the_rule_is_noticed(alarms: Template, rule: str, path: str, value: object) -> None:
    assert list(RULES[rule](alarms.broken(path, value)))


def problems_of_function_alarms(alarms: Template, template: Template) -> Iterator[str]:
    """Each function is watched for errors, throttles and 80 % of its timeout, by its own name."""
    watched = {alarm.slug: alarm for alarm in alarms_of(alarms)}
    for name, properties in template.functions.items():
        function = properties["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        expected: dict[str, tuple[str, str, float]] = {
            f"{function}-errors": ("Errors", "Sum", 1),
            f"{function}-throttled": ("Throttles", "Sum", 1),
            f"{function}-slow": ("Duration", "Maximum", 0.8 * 1000 * properties["Timeout"]),
        }
        for slug, condition in expected.items():
            if slug not in watched or _condition(watched[slug], function) != condition:
                yield f"{name}: {slug} does not fit"
        if f" {properties['Timeout'] * 8 // 10} s" not in watched[f"{function}-slow"].description:
            yield f"{name}: the description has another figure"


def _condition(alarm: Alarm, function: str) -> tuple[str, str, float] | None:
    if alarm.metric.dimensions != (("FunctionName", f"${{StackName}}-{function}"),):
        return None
    return alarm.metric.name, alarm.statistic, alarm.properties["Threshold"]


def test_an_item_counts_as_stale_when_the_sweep_must_have_seen_to_it_long_ago(alarms: Template) -> None:
    (stale,) = (alarm for alarm in alarms_of(alarms) if alarm.metric.name == "StalestItemAge")
    assert stale.properties["Threshold"] == LONGEST_AGE.total_seconds()


def test_each_function_is_watched_up_to_its_timeout(alarms: Template, template: Template) -> None:
    assert list(problems_of_function_alarms(alarms, template)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Resources/SyncFunction/Properties/Timeout", 299),
        ("Resources/SyncFunction/Properties/FunctionName", {"Fn::Sub": "${AWS::StackName}-synchronise"}),
    ],
)
def test_a_function_that_changes_leaves_its_alarms_behind(
    alarms: Template, template: Template, path: str, value: Any
) -> None:
    with pytest.raises((AssertionError, KeyError)):
        assert list(problems_of_function_alarms(alarms, template.broken(path, value))) == []


def test_the_alarms_watch_where_the_functions_tell(template: Template) -> None:
    told = environment(template.document["Globals"]["Function"])
    assert told["POWERTOOLS_METRICS_NAMESPACE"] == "PlaidSync"
    for name in ("Alarms", "Dashboard"):
        given = template.properties(name)["Parameters"]["StackName"]
        assert given == told["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
