"""The state of a metric alarm, from its rule and the values of its metric or of its metric math expression.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html

Two differences from AWS: the newest period ends now, not at the last full minute; and where periods have no data,
CloudWatch takes older periods that have some, so that there an alarm rings and clears later.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Values: TypeAlias = Sequence[float | None]
"""A statistic in each period, the newest first; None where a period has no data."""

_COMPARISONS: Final = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_OPERATORS: Final[dict[type[ast.AST], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The state that an alarm has to be in, and why."""

    state: str
    reason: str


def evaluate(alarm: Mapping[str, Any], values: Values) -> Evaluation:
    """Evaluate an alarm, as `DescribeAlarms` returns it, by the values of its evaluation periods."""
    breaches = _COMPARISONS[alarm["ComparisonOperator"]]
    breaching = [breaches(value, alarm["Threshold"]) for value in values if value is not None]
    state = _state(alarm, breaching, len(values) - len(breaching), sum(breaching))
    shown = ", ".join("missing" if value is None else f"{value:g}" for value in values)
    return Evaluation(state, f"{shown} against {alarm['ComparisonOperator']} {alarm['Threshold']:g} ({state})")


def _state(alarm: Mapping[str, Any], present: Sequence[bool], missing: int, breaching: int) -> str:
    needed = alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"]
    treatment = alarm.get("TreatMissingData") or "missing"
    if treatment == "breaching":
        return "ALARM" if breaching + missing >= needed else "OK"
    if breaching >= needed:
        return "ALARM"
    if treatment == "notBreaching" or not all(present):
        return "OK"
    # All the data that there is breaches, or there is none.
    if treatment == "ignore":
        return str(alarm["StateValue"])
    return "ALARM" if present else "INSUFFICIENT_DATA"


def values_of_math(queries: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], Values]) -> Values:
    """Return the values of a metric math alarm's expression; `read` returns those of a `MetricStat`."""
    series = {query["Id"]: read(query["MetricStat"]) for query in queries if "MetricStat" in query}
    (expression,) = [query["Expression"] for query in queries if query.get("ReturnData", True)]
    tree = ast.parse(expression, mode="eval").body
    periods = zip(*series.values(), strict=True)
    return [_calculate(tree, dict(zip(series, values, strict=True))) for values in periods]


def _calculate(node: ast.expr, values: Mapping[str, float | None]) -> float | None:
    """Calculate an expression for one period.

    Where only one of two series has data, the other one counts as 0. A false or true comparison is 0 or 1.
    """
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATORS:
            return _combine(_OPERATORS[type(operation)], left, right, values)
        case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _OPERATORS:
            return _combine(_OPERATORS[type(operation)], left, right, values)
        case ast.Call(func=ast.Name(id="IF"), args=[condition, if_true, if_false]):
            chosen = _calculate(condition, values)
            if chosen is None:
                return None
            return (_calculate(if_true, values) or 0) if chosen else _calculate(if_false, values)
    raise ValueError(f"{ast.unparse(node)}: local alarms evaluate only +, -, *, comparisons and IF(a, b, c)")


def _combine(
    operation: Callable[[float, float], float], left: ast.expr, right: ast.expr, values: Mapping[str, float | None]
) -> float | None:
    operands = [_calculate(left, values), _calculate(right, values)]
    of_series = [
        value for value, node in zip(operands, (left, right), strict=True) if not isinstance(node, ast.Constant)
    ]
    if of_series and all(value is None for value in of_series):
        return None
    return float(operation(*(value or 0 for value in operands)))
