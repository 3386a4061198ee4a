"""What must be true of every alarm, and that a break of it is noticed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.template.cloudformation import ABSENT, Template, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

QUARANTINED: Final = "Resources/RowsQuarantinedAlarm/Properties"
WATCHED: Final = {"RowsQuarantinedAlarm": "RowsQuarantined"}
"""The alarms on what the functions count themselves."""


def problems_of_alarms(template: Template) -> Iterator[str]:
    for name in template.of("AWS::CloudWatch::Alarm"):
        alarm = template.properties(name)
        if len(re.findall(r"\w+[.](?:\s|$)", alarm.get("AlarmDescription", ""))) < 2:
            yield f"{name} does not say what to do"
        if len(alarm.get("AlarmDescription", "")) > 1024:
            yield f"{name} says more than CloudWatch takes"
        if alarm.get("TreatMissingData") != "notBreaching":
            yield f"{name} is undecided while nothing happens"
        if not str(alarm.get("AlarmName", {}).get("Fn::Sub", "")).startswith("${AWS::StackName}-"):
            yield f"{name} collides with another stack's"


def problems_of_counted_alarms(template: Template) -> Iterator[str]:
    """Powertools puts a metric into the namespace of its environment, under the dimension `service`."""
    emitted = environment(template.document["Globals"]["Function"])
    dimension = {"Name": "service", "Value": emitted["POWERTOOLS_SERVICE_NAME"]}
    for name, metric in WATCHED.items():
        alarm = template.properties(name)
        if (alarm.get("Namespace"), alarm.get("MetricName")) != (emitted["POWERTOOLS_METRICS_NAMESPACE"], metric):
            yield f"{name} watches another metric"
        if alarm.get("Dimensions") != [dimension]:
            yield f"{name} watches under other dimensions"
        condition = (alarm.get("Statistic"), alarm.get("ComparisonOperator"), alarm.get("Threshold"))
        if condition != ("Sum", "GreaterThanOrEqualToThreshold", 1) or alarm.get("EvaluationPeriods") != 1:
            yield f"{name} does not ring at the first one"


RULES: Final = {"alarms": problems_of_alarms, "counted": problems_of_counted_alarms}


@pytest.mark.parametrize("rule", RULES)
def test_the_template_keeps_the_rule(template: Template, rule: str) -> None:
    assert list(RULES[rule](template)) == []


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        ("alarms", f"{QUARANTINED}/AlarmDescription", "Rows are quarantined."),
        ("alarms", f"{QUARANTINED}/AlarmDescription", "So it is. " * 200),
        ("alarms", f"{QUARANTINED}/TreatMissingData", ABSENT),
        ("alarms", f"{QUARANTINED}/AlarmName", ABSENT),
        ("counted", "Globals/Function/Environment/Variables/POWERTOOLS_METRICS_NAMESPACE", "Other"),
        ("counted", "Globals/Function/Environment/Variables/POWERTOOLS_SERVICE_NAME", "sync"),
        ("counted", f"{QUARANTINED}/MetricName", "RowsSettled"),
        ("counted", f"{QUARANTINED}/Dimensions", ABSENT),
        ("counted", f"{QUARANTINED}/Dimensions/0/Name", "Service"),
        ("counted", f"{QUARANTINED}/Statistic", "Average"),
        ("counted", f"{QUARANTINED}/Threshold", 5),
    ],
)
def test_a_break_of_the_rule_is_noticed(template: Template, rule: str, path: str, value: object) -> None:
    assert list(RULES[rule](template.broken(path, value)))
