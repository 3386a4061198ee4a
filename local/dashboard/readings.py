"""What a dashboard's widgets show: metrics and alarms, as CloudWatch's API answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.dashboard.definition import DashboardError, read_definition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.dashboard.definition import Definition, Series

_RANGE = timedelta(hours=3)
_MIN_RANGE = timedelta(minutes=5)
_COARSE_SECONDS = 60
_PERIODS_SECONDS = (5, 10, 30, 60, 300)
_MAX_PERIODS = 60
_QUERIES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Point:
    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything that a dashboard shows at one time.

    Attributes:
        seconds: The length of a period: shorter than the definition's where little time is shown.
        points: By series, in the order of time; empty for a series without data.
        emitted: Every metric that exists: namespace, name and the names of its dimensions.
    """

    definition: Definition
    start: datetime
    end: datetime
    seconds: int
    points: Mapping[Series, tuple[Point, ...]]
    alarms: Mapping[str, str]
    emitted: tuple[tuple[str, str, tuple[str, ...]], ...]

    def without_data(self) -> list[str]:
        return [
            widget.title
            for widget in self.definition.widgets
            if widget.series and not any(self.points[series] for series in widget.series)
        ]

    def missing_alarms(self) -> list[str]:
        return [name for widget in self.definition.widgets for name in widget.alarms if name not in self.alarms]


def read(cloudwatch: Any, name: str) -> Readings:  # noqa: ANN401 - a boto3 client
    """Read a deployed dashboard and all that it shows, as of now."""
    try:
        body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
    except cloudwatch.exceptions.ClientError as error:
        raise DashboardError(f"There is no dashboard {name} on the local stack: {error}") from error
    definition = read_definition(name, body)
    series = list(dict.fromkeys(series for widget in definition.widgets for series in widget.series))
    end = datetime.now(UTC)
    coarse = _points(cloudwatch, series, end - _RANGE, end, _COARSE_SECONDS)
    seconds = _period(end - _start(coarse, end))
    points = _points(cloudwatch, series, end - _RANGE, end, seconds)
    return Readings(
        definition,
        _start(points, end),
        end,
        seconds,
        points,
        _alarms(cloudwatch),
        tuple(sorted(_emitted(cloudwatch))),
    )


def _start(points: Mapping[Series, tuple[Point, ...]], end: datetime) -> datetime:
    return min((found[0].at for found in points.values() if found), default=end - _MIN_RANGE)


def _period(shown: timedelta) -> int:
    for seconds in _PERIODS_SECONDS:
        if shown.total_seconds() / seconds <= _MAX_PERIODS:
            return seconds
    return _PERIODS_SECONDS[-1]


def _points(
    cloudwatch: Any,  # noqa: ANN401 - a boto3 client
    series: list[Series],
    start: datetime,
    end: datetime,
    seconds: int,
) -> dict[Series, tuple[Point, ...]]:
    found: dict[Series, tuple[Point, ...]] = {}
    for first in range(0, len(series), _QUERIES_AT_ONCE):
        batch = series[first : first + _QUERIES_AT_ONCE]
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=[_query(number, each, seconds) for number, each in enumerate(batch)],
            StartTime=start,
            EndTime=end,
            ScanBy="TimestampAscending",
        )
        for result in answer["MetricDataResults"]:
            pairs = zip(result["Timestamps"], result["Values"], strict=True)
            found[batch[int(result["Id"][1:])]] = tuple(Point(at.astimezone(UTC), value) for at, value in pairs)
    return found


def _query(number: int, series: Series, seconds: int) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in series.dimensions]
    metric = {"Namespace": series.namespace, "MetricName": series.name, "Dimensions": dimensions}
    return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": seconds, "Stat": series.stat}}


def _alarms(cloudwatch: Any) -> dict[str, str]:  # noqa: ANN401 - a boto3 client
    pages = cloudwatch.get_paginator("describe_alarms").paginate()
    return {alarm["AlarmName"]: alarm["StateValue"] for page in pages for alarm in page["MetricAlarms"]}


def _emitted(cloudwatch: Any) -> Iterable[tuple[str, str, tuple[str, ...]]]:  # noqa: ANN401 - a boto3 client
    pages = cloudwatch.get_paginator("list_metrics").paginate()
    return {
        (metric["Namespace"], metric["MetricName"], tuple(sorted(each["Name"] for each in metric["Dimensions"])))
        for page in pages
        for metric in page["Metrics"]
    }
