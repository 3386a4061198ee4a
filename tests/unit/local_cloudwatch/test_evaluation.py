"""Alarms come to the states that AWS's documentation has in its tables.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.cloudwatch.evaluation import verdict_of

if TYPE_CHECKING:
    from collections.abc import Sequence

BREACHES, HOLDS, ABSENT = 2.0, 0.0, None


def state(values: Sequence[float | None], treatment: str, **changed: Any) -> str:
    alarm = {
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 1.0,
        "EvaluationPeriods": len(values),
        "TreatMissingData": treatment,
        "StateValue": "RETAINED",
        **changed,
    }
    return verdict_of(alarm, values).state


@pytest.mark.parametrize(
    ("values", "missing", "ignored", "breaching", "not_breaching"),
    [
        ([BREACHES, HOLDS, BREACHES], "OK", "OK", "OK", "OK"),
        ([HOLDS, ABSENT, ABSENT], "OK", "OK", "OK", "OK"),
        ([ABSENT, ABSENT, ABSENT], "INSUFFICIENT_DATA", "RETAINED", "ALARM", "OK"),
        ([BREACHES, BREACHES, BREACHES], "ALARM", "ALARM", "ALARM", "ALARM"),
        ([ABSENT, BREACHES, ABSENT], "ALARM", "RETAINED", "ALARM", "OK"),
    ],
)
def test_missing_data_is_treated_as_the_alarm_says(
    values: Sequence[float | None], missing: str, ignored: str, breaching: str, not_breaching: str
) -> None:
    treatments = ("missing", "ignore", "breaching", "notBreaching")
    assert [state(values, each) for each in treatments] == [missing, ignored, breaching, not_breaching]


def test_some_of_the_periods_can_be_enough() -> None:
    assert state([BREACHES, HOLDS, BREACHES], "notBreaching", DatapointsToAlarm=2) == "ALARM"
    assert state([BREACHES, HOLDS, HOLDS], "notBreaching", DatapointsToAlarm=2) == "OK"


@pytest.mark.parametrize(
    ("operator", "rings_at"),
    [
        ("GreaterThanThreshold", [2.0]),
        ("GreaterThanOrEqualToThreshold", [1.0, 2.0]),
        ("LessThanThreshold", [0.0]),
        ("LessThanOrEqualToThreshold", [0.0, 1.0]),
    ],
)
def test_the_threshold_itself_belongs_where_the_operator_says(operator: str, rings_at: list[float]) -> None:
    rings = [value for value in (0.0, 1.0, 2.0) if state([value], "missing", ComparisonOperator=operator) == "ALARM"]
    assert rings == rings_at
