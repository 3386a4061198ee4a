"""The nested templates of `infra/` as data, and the runbook."""

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


def commands_of(group: Any, prefix: str = "") -> Iterator[str]:
    """Yield a group's commands, and those of its groups with the group's name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{name} ")
        else:
            yield prefix + name


STACK: Final = "${StackName}"
RUNBOOK: Final = (PROJECT / "docs" / "runbook.md").read_text()
COMMANDS: Final = frozenset(commands_of(get_command(app)))
"""The commands of `plaid-sync`."""


def read(name: str) -> Template:
    return Template.parse((PROJECT / "infra" / f"{name}.yaml").read_text())


@dataclass(frozen=True, slots=True)
class Metric:
    """A series of an alarm or a graph; its dimensions are as written, `${StackName}` unresolved."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm on a metric, or on an expression: of its metrics, the first one is watched."""

    logical_id: str
    properties: dict[str, Any]

    @property
    def slug(self) -> str:
        """The name without the stack's, which is the heading in the runbook."""
        return slug_of(self.properties)

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
    dimensions = tuple((entry["Name"], _as_written(entry["Value"])) for entry in source["Dimensions"])
    return Metric(source["Namespace"], source["MetricName"], dimensions)


def slug_of(properties: dict[str, Any]) -> str:
    return str(properties["AlarmName"]["Fn::Sub"]).removeprefix(f"{STACK}-")


def _as_written(value: Any) -> str:
    match value:
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::Sub": str(text)}:
            return text
    return str(value)


def alarms_of(template: Template) -> list[Alarm]:
    return [Alarm(name, found["Properties"]) for name, found in template.of("AWS::CloudWatch::Alarm").items()]


def slugs_of(template: Template) -> list[str]:
    return [alarm.slug for alarm in alarms_of(template)]


@dataclass(frozen=True, slots=True)
class Line:
    metric: Metric
    statistic: str
    axis: str


@dataclass(frozen=True, slots=True)
class Widget:
    """A rectangle of the dashboard: left, top, width, height."""

    kind: str
    area: tuple[int, int, int, int]
    properties: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.properties["title"])

    def lines(self) -> Iterator[Line]:
        for *words, options in self.properties.get("metrics", []):
            pairs = tuple(zip(words[2::2], words[3::2], strict=True))
            statistic = options.get("stat", self.properties["stat"])
            yield Line(Metric(words[0], words[1], pairs), statistic, options.get("yAxis", "left"))

    def thresholds(self) -> Iterator[tuple[str, float, str]]:
        """Yield alarm, value and axis of each horizontal line; equal thresholds share a line."""
        for line in self.properties.get("annotations", {}).get("horizontal", []):
            for part in line["label"].split(";"):
                for slug in part.split(":")[0].split(","):
                    yield slug.strip(), float(line["value"]), line.get("yAxis", "left")


def widgets_of(template: Template) -> list[Widget]:
    body = json.loads(template.properties("Dashboard")["DashboardBody"]["Fn::Sub"])
    return [
        Widget(entry["type"], (entry["x"], entry["y"], entry["width"], entry["height"]), entry["properties"])
        for entry in body["widgets"]
    ]


def anchors(document: str, level: str) -> list[str]:
    """Return the link targets of a document's headings of a level (`##`), as GitHub makes them."""
    headings = re.findall(rf"^{level} (.+)$", document, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def commands_in(text: str) -> Iterator[str]:
    groups = "|".join(sorted({name.split()[0] for name in COMMANDS if " " in name}))
    yield from re.findall(rf"plaid-sync ((?:(?:{groups}) )?[a-z][a-z-]*)", text)
