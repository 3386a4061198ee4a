"""The state of a metric alarm, from its rule and the values of its metric.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
Two things are otherwise. The newest period ends now, not at the last full minute, so that its answer is there at once.
And where periods are without data, CloudWatch takes older ones that have some, so that there it rings and clears later.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OK, ALARM, UNKNOWN = "OK", "ALARM", "INSUFFICIENT_DATA"

_COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an alarm comes to.

    Attributes:
        reason: Why, for people.
    """

    state: str
    reason: str


def verdict_of(alarm: Mapping[str, Any], values: Sequence[float | None]) -> Verdict:
    """Judge an alarm.

    Args:
        alarm: As `DescribeAlarms` has it.
        values: Its statistic in each evaluated period, the newest first; None where there is no data.
    """
    breaches = _COMPARISONS[alarm["ComparisonOperator"]]
    breaching = [breaches(value, alarm["Threshold"]) for value in values if value is not None]
    state = _state(alarm, breaching, len(values) - len(breaching), sum(breaching))
    shown = ", ".join("missing" if value is None else f"{value:g}" for value in values)
    return Verdict(state, f"{shown} against {alarm['ComparisonOperator']} {alarm['Threshold']:g} ({state})")


def _state(alarm: Mapping[str, Any], present: Sequence[bool], missing: int, breaching: int) -> str:
    needed = alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"]
    treatment = alarm.get("TreatMissingData") or "missing"
    if treatment == "breaching":
        return ALARM if breaching + missing >= needed else OK
    if breaching >= needed:
        return ALARM
    if treatment == "notBreaching" or not all(present):
        return OK
    # What is there breaches, or there is nothing.
    if treatment == "ignore":
        return str(alarm["StateValue"])
    return ALARM if present else UNKNOWN
