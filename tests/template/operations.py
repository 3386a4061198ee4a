"""The nested templates of `infra/` as data: alarms, dashboard and saved queries, and what the documents say of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync_cli.app import app
from typer.main import get_command

from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from collections.abc import Iterator


def verbs_of(group: Any, prefix: str = "") -> Iterator[str]:
    """The commands of a group, those of its groups with the name of theirs."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs_of(command, f"{name} ")
        else:
            yield prefix + name


STACK: Final = "${StackName}"
RUNBOOK: Final = (PROJECT / "docs" / "runbook.md").read_text()
COMMANDS: Final = frozenset(verbs_of(get_command(app)))
"""The verbs of `plaid-sync`, as it has them."""
HALVES: Final = frozenset({"sync-idle", "sync-waiting"})
"""Alarms that mean something together only."""


def read(name: str) -> Template:
    """A template of `infra/`."""
    return Template.parse((PROJECT / "infra" / f"{name}.yaml").read_text())


@dataclass(frozen=True, slots=True)
class Metric:
    """A series: what an alarm watches, or a line of a graph.

    Attributes:
        dimensions: as written, `${StackName}` unresolved.
    """

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm on a metric, or on an expression: the first metric of an expression is the one that is watched."""

    logical_id: str
    properties: dict[str, Any]

    @property
    def slug(self) -> str:
        """Its name without the stack's: its heading in the runbook."""
        return slug_of(self.properties)

    @property
    def description(self) -> str:
        return str(self.properties["AlarmDescription"]["Fn::Sub"])

    @property
    def statistic(self) -> str:
        if "Metrics" in self.properties:
            return str(self._sources[0]["Stat"])
        return str(self.properties.get("Statistic") or self.properties["ExtendedStatistic"])

    @property
    def period(self) -> int:
        return int(self._sources[0]["Period"])

    @property
    def metric(self) -> Metric:
        return self.metrics[0]

    @property
    def metrics(self) -> list[Metric]:
        return [_metric(source["Metric"]) for source in self._sources]

    @property
    def _sources(self) -> list[dict[str, Any]]:
        if "Metrics" not in self.properties:
            return [{"Metric": self.properties, "Period": self.properties["Period"]}]
        return [query["MetricStat"] for query in self.properties["Metrics"] if "MetricStat" in query]


def _metric(source: dict[str, Any]) -> Metric:
    dimensions = tuple((each["Name"], written(each["Value"])) for each in source["Dimensions"])
    return Metric(source["Namespace"], source["MetricName"], dimensions)


def slug_of(properties: dict[str, Any]) -> str:
    return str(properties["AlarmName"]["Fn::Sub"]).removeprefix(f"{STACK}-")


def written(value: Any) -> str:
    """A reference as `Fn::Sub` would write it."""
    match value:
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::Sub": str(text)}:
            return text
    return str(value)


def alarms_of(template: Template) -> list[Alarm]:
    return [Alarm(name, found["Properties"]) for name, found in template.of("AWS::CloudWatch::Alarm").items()]


def slugs_of(template: Template) -> list[str]:
    """Of all alarms, composite ones included."""
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    return [slug_of(found["Properties"]) for kind in kinds for found in template.of(kind).values()]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a graph."""

    metric: Metric
    statistic: str
    axis: str


@dataclass(frozen=True, slots=True)
class Widget:
    """A rectangle of the dashboard."""

    kind: str
    area: tuple[int, int, int, int]
    properties: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.properties["title"])

    def lines(self) -> Iterator[Line]:
        for entry in self.properties.get("metrics", []):
            *words, options = entry
            pairs = tuple(zip(words[2::2], words[3::2], strict=True))
            statistic = options.get("stat", self.properties["stat"])
            yield Line(Metric(words[0], words[1], pairs), statistic, options.get("yAxis", "left"))

    def thresholds(self) -> Iterator[tuple[str, float, str]]:
        """Name of an alarm, value and axis of each line that stands for a threshold; equal ones share a line."""
        for line in self.properties.get("annotations", {}).get("horizontal", []):
            for part in line["label"].split(";"):
                for slug in part.split(":")[0].split(","):
                    yield slug.strip(), float(line["value"]), line.get("yAxis", "left")


def widgets_of(template: Template) -> list[Widget]:
    body = json.loads(template.properties("Dashboard")["DashboardBody"]["Fn::Sub"])
    return [
        Widget(each["type"], (each["x"], each["y"], each["width"], each["height"]), each["properties"])
        for each in body["widgets"]
    ]


def anchors(document: str, level: str) -> list[str]:
    """The link targets of a document's headings of a level (`##`), as GitHub makes them."""
    headings = re.findall(rf"^{level} (.+)$", document, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def commands_in(text: str) -> Iterator[str]:
    """The verbs of `plaid-sync` that a text names."""
    yield from re.findall(r"plaid-sync ([a-z][a-z-]*(?: (?:list|replay|set)\b)?)", text)
