"""Reads what a deployment did in a window of time: metrics, log records of Lambda, deployments."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from plaid_sync_cli.monitoring import METRICS, Metric, metric_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from plaid_sync.metrics import Metric as OwnMetric

    from plaid_sync_cli.deployment import Deployment

_PERIOD: Final = 300
_MAX_PAGES: Final = 20
"""Pages of a log search; a page ends after some 10,000 records, or 1 MB."""
_REPORTS: Final = '{ $.type = "platform.report" }'
DENIED: Final = "?AccessDenied ?AccessDeniedException"
"""Either code, if terms match words; the second one contains the first."""


@dataclass(frozen=True, slots=True)
class Invocations:
    """The invocations of a function, from Lambda's own log records.

    Attributes:
        cold: initialization and first invocation together, in milliseconds.
        memory_used: the largest share of the function's memory.
    """

    reported: int
    cold: tuple[float, ...]
    memory_used: float


@dataclass(frozen=True)
class Observations:
    """A deployment, and the window in which it is observed."""

    deployment: Deployment
    start: datetime
    end: datetime

    def total(self, namespace: str, name: str, **dimensions: str) -> float:
        """Return the sum of a metric."""
        return sum(self._values(namespace, name, "Sum", dimensions))

    def highest(self, namespace: str, name: str, **dimensions: str) -> float | None:
        """Return the maximum of a metric; None if it has no data."""
        return max(self._values(namespace, name, "Maximum", dimensions), default=None)

    def own(self, name: OwnMetric) -> float:
        """Return the sum of a metric that the functions emit."""
        return self.total(METRICS, name, service=self.deployment.name)

    def average(self, name: OwnMetric) -> float | None:
        """Return the average of a metric that the functions emit; None if it has no data."""
        dimensions = {"service": self.deployment.name}
        count = sum(self._values(METRICS, name, "SampleCount", dimensions))
        return sum(self._values(METRICS, name, "Sum", dimensions)) / count if count else None

    def evaluate(self, queries: Iterable[dict[str, Any]]) -> dict[str, dict[datetime, float]]:
        """Return the data points of each metric and expression of an alarm, by its id."""
        pages = (
            self.deployment.client("cloudwatch")
            .get_paginator("get_metric_data")
            .paginate(
                MetricDataQueries=[{**query, "ReturnData": True} for query in queries],
                StartTime=self.start,
                EndTime=self.end,
            )
        )
        found: dict[str, dict[datetime, float]] = defaultdict(dict)
        for result in (result for page in pages for result in page["MetricDataResults"]):
            found[result["Id"]] |= dict(zip(result["Timestamps"], result["Values"], strict=True))
        return found

    def hourly(self, name: OwnMetric) -> list[float]:
        """Return the sums of a metric that the functions emit, of each full hour that has any."""
        metric = Metric(METRICS, name, {"service": self.deployment.name}, "Sum")
        first = self.start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        end = self.end.replace(minute=0, second=0, microsecond=0)
        return [value for _, value in metric_points(self.deployment, metric, first, end, 3600)] if first < end else []

    def _values(self, namespace: str, name: str, statistic: str, dimensions: Mapping[str, str]) -> list[float]:
        metric = Metric(namespace, name, dict(dimensions), statistic)
        return [value for _, value in metric_points(self.deployment, metric, self.start, self.end, _PERIOD)]

    def logged(self, function: str, pattern: str) -> Iterator[str]:
        """Yield a function's log records that match a pattern; the first pages only."""
        pages = (
            self.deployment.client("logs")
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=f"/aws/lambda/{function}",
                filterPattern=pattern,
                startTime=round(self.start.timestamp() * 1000),
                endTime=round(self.end.timestamp() * 1000),
            )
        )
        for page, _ in zip(pages, range(_MAX_PAGES), strict=False):
            yield from (event["message"] for event in page["events"])

    def records(self, function: str, pattern: str) -> Iterator[dict[str, Any]]:
        """Yield a function's JSON log records that match a pattern; the emulator ignores the pattern."""
        yield from (json.loads(message) for message in self.logged(function, pattern) if message.startswith("{"))

    @cached_property
    def invocations(self) -> dict[str, Invocations]:
        """The invocations of each function that Lambda reported."""
        return {name: self._invocations(name) for name in self.deployment.functions}

    def _invocations(self, function: str) -> Invocations:
        records = self.records(function, _REPORTS)
        found = [record["record"]["metrics"] for record in records if record.get("type") == "platform.report"]
        return Invocations(
            reported=len(found),
            cold=tuple(each["initDurationMs"] + each["durationMs"] for each in found if "initDurationMs" in each),
            memory_used=max((each["maxMemoryUsedMB"] / each["memorySizeMB"] for each in found), default=0.0),
        )

    @cached_property
    def deployments(self) -> list[dict[str, Any]]:
        """CodeDeploy's deployments of the functions in the window."""
        client, resources = self.deployment.client("codedeploy"), self.deployment.resources()
        applications = [name for kind, name in resources if kind == "AWS::CodeDeploy::Application"]
        groups = [name for kind, name in resources if kind == "AWS::CodeDeploy::DeploymentGroup"]
        window = {"start": self.start, "end": self.end}
        return [
            client.get_deployment(deploymentId=found)["deploymentInfo"]
            for application in applications
            for group in groups
            for page in client.get_paginator("list_deployments").paginate(
                applicationName=application, deploymentGroupName=group, createTimeRange=window
            )
            for found in page["deployments"]
        ]
