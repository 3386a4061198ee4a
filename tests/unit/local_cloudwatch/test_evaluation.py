"""Alarms and expressions are evaluated as in the tables of AWS's documentation.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.cloudwatch.evaluation import evaluate, values_of_math

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    return evaluate(alarm, values).state


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


def calculated(expression: str, **series: Sequence[float | None]) -> list[float | None]:
    """Return an expression's values for metrics with these values."""

    def read(source: Mapping[str, Any]) -> Sequence[float | None]:
        return series[source["Metric"]]

    metrics = [{"Id": name, "MetricStat": {"Metric": name}, "ReturnData": False} for name in series]
    return list(values_of_math([*metrics, {"Id": "result", "Expression": expression}], read))


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("metric1 < metric2", [0, 0, 1, 0]),
        ("metric1 >= 30", [1, 0, 0, 0]),
        ("metric1 + metric2", [50, 20, 20, 0]),
        ("metric2 + 1", [21, None, 21, None]),
        ("-1 * metric2", None),
    ],
)
def test_a_series_without_data_counts_as_zero_beside_one_with_data(
    expression: str, values: list[float | None] | None
) -> None:
    series: dict[str, list[float | None]] = {"metric1": [30, 20, 0, 0], "metric2": [20, None, 20, None]}
    if values is None:
        with pytest.raises(ValueError, match="local alarms evaluate only"):
            calculated(expression, **series)
    else:
        assert calculated(expression, **series) == values


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("IF(metric1, metric2, metric3)", [30, 0, 20, None, None]),
        ("IF(metric1, 5, metric3)", [5, 5, 20, None, None]),
        ("IF(metric1, metric2, 5)", [30, 0, 5, 5, None]),
        ("IF(metric1 >= 0, metric2, 5)", [30, 0, 0, 0, None]),
    ],
)
def test_if_is_as_in_the_documentations_tables(expression: str, values: list[float | None]) -> None:
    series: dict[str, list[float | None]] = {
        "metric1": [1, 1, 0, 0, None],
        "metric2": [30, None, 0, 0, 30],
        "metric3": [0, 0, 20, None, 20],
    }
    assert calculated(expression, **series) == values
