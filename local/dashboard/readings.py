"""What a dashboard's widgets show: metrics and alarms, as CloudWatch's API answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.dashboard.definition import DashboardError, read_definition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.dashboard.definition import Definition, Series, Widget

_RANGE = timedelta(hours=3)
_COARSE_SECONDS = 60
_PERIODS_SECONDS = (5, 10, 30, 60, 300)
_MOST_PERIODS = 60
_QUERIES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Point:
    """A statistic over one period, which begins at a time."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything that a dashboard shows at one time.

    Attributes:
        start: The beginning of the time that is shown: of the first metric, three hours ago at the most.
        seconds: The periods' length: shorter than the definition's where there is not much time to show.
        points: By series, in the order of time; none for a series without data.
        alarms: States by the alarms' names; those that do not exist are absent.
        emitted: Every metric that there is: namespace, name and the names of its dimensions.
    """

    definition: Definition
    start: datetime
    end: datetime
    seconds: int
    points: Mapping[Series, tuple[Point, ...]]
    alarms: Mapping[str, str]
    emitted: tuple[tuple[str, str, tuple[str, ...]], ...]

    def empty(self) -> list[str]:
        """Return what shows nothing, by title: widgets without any data, and alarms that are not deployed."""
        return [
            *(widget.title for widget in self.definition.widgets if widget.series and not self._has_data(widget)),
            *(
                f"{widget.title}: {name}"
                for widget in self.definition.widgets
                for name in widget.alarms
                if name not in self.alarms
            ),
        ]

    def _has_data(self, widget: Widget) -> bool:
        return any(self.points[series] for series in widget.series)


def read(cloudwatch: Any, name: str) -> Readings:  # noqa: ANN401 - a boto3 client
    """Read a deployed dashboard and all that it shows, as of now.

    Raises:
        DashboardError: It does not exist, cannot be drawn, or there is no metric yet.
    """
    try:
        body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
    except cloudwatch.exceptions.ClientError as error:
        raise DashboardError(f"There is no dashboard {name} on the local stack: {error}") from error
    definition = read_definition(name, body)
    series = list(dict.fromkeys(series for widget in definition.widgets for series in widget.series))
    end = datetime.now(UTC)
    whole = _points(cloudwatch, series, end - _RANGE, end, _COARSE_SECONDS)
    seconds = _period(end - _first(whole))
    points = _points(cloudwatch, series, end - _RANGE, end, seconds)
    return Readings(
        definition,
        _first(points),
        end,
        seconds,
        points,
        _alarms(cloudwatch),
        tuple(sorted(_emitted(cloudwatch))),
    )


def _first(points: Mapping[Series, tuple[Point, ...]]) -> datetime:
    """Return the time of the first point.

    Raises:
        DashboardError: There is none.
    """
    try:
        return min(some[0].at for some in points.values() if some)
    except ValueError:
        raise DashboardError("No metric has any data yet: send the stack a webhook, or play the demo.") from None


def _period(shown: timedelta) -> int:
    for seconds in _PERIODS_SECONDS:
        if shown.total_seconds() / seconds <= _MOST_PERIODS:
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
        some = series[first : first + _QUERIES_AT_ONCE]
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=[_query(number, each, seconds) for number, each in enumerate(some)],
            StartTime=start,
            EndTime=end,
            ScanBy="TimestampAscending",
        )
        for result in answer["MetricDataResults"]:
            pairs = zip(result["Timestamps"], result["Values"], strict=True)
            found[some[int(result["Id"][1:])]] = tuple(Point(at.astimezone(UTC), value) for at, value in pairs)
    return found


def _query(number: int, series: Series, seconds: int) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in series.dimensions]
    metric = {"Namespace": series.namespace, "MetricName": series.name, "Dimensions": dimensions}
    return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": seconds, "Stat": series.stat}}


def _alarms(cloudwatch: Any) -> dict[str, str]:  # noqa: ANN401 - a boto3 client
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    return {
        alarm["AlarmName"]: alarm["StateValue"]
        for page in pages
        for alarm in page["MetricAlarms"] + page["CompositeAlarms"]
    }


def _emitted(cloudwatch: Any) -> Iterable[tuple[str, str, tuple[str, ...]]]:  # noqa: ANN401 - a boto3 client
    pages = cloudwatch.get_paginator("list_metrics").paginate()
    return {
        (metric["Namespace"], metric["MetricName"], tuple(sorted(each["Name"] for each in metric["Dimensions"])))
        for page in pages
        for metric in page["Metrics"]
    }
