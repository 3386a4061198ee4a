"""A dashboard's definition, as `GetDashboard` returns it, in a form that can be drawn.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COLUMNS = 24


class DashboardError(Exception):
    """The dashboard cannot be drawn; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of a widget."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    stat: str
    label: str
    color: str | None
    right: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    value: float
    label: str
    right: bool


@dataclass(frozen=True, slots=True)
class Widget:
    """A rectangle of the dashboard.

    Attributes:
        view: How metrics are shown: `timeSeries`, `singleValue`, `bar` or `pie`.
    """

    kind: str
    x: int
    y: int
    width: int
    height: int
    title: str = ""
    view: str = "timeSeries"
    stacked: bool = False
    axes: tuple[str, str] = ("", "")
    series: tuple[Series, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    markdown: str = ""
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Definition:
    name: str
    widgets: tuple[Widget, ...]

    @property
    def rows(self) -> int:
        return max((widget.y + widget.height for widget in self.widgets), default=1)


def read_definition(name: str, body: str) -> Definition:
    return Definition(name, tuple(_widget(widget) for widget in json.loads(body)["widgets"]))


def _widget(source: Mapping[str, Any]) -> Widget:
    properties = source["properties"]
    axes, annotations = properties.get("yAxis", {}), properties.get("annotations", {})
    if source["type"] not in {"metric", "alarm", "text"}:
        raise DashboardError(f"Widgets of the type {source['type']} are not drawn: see local/dashboard/definition.py.")
    return Widget(
        kind=source["type"],
        **{field: int(source[field]) for field in ("x", "y", "width", "height")},
        title=properties.get("title", ""),
        view=properties.get("view", "timeSeries"),
        stacked=properties.get("stacked", False),
        axes=(axes.get("left", {}).get("label", ""), axes.get("right", {}).get("label", "")),
        series=tuple(_series(properties)),
        annotations=tuple(_annotation(each) for each in annotations.get("horizontal", ())),
        markdown=properties.get("markdown", ""),
        alarms=tuple(arn.rpartition(":alarm:")[2] for arn in properties.get("alarms", ())),
    )


def _series(properties: Mapping[str, Any]) -> Iterator[Series]:
    for line in properties.get("metrics", ()):
        options = line[-1] if isinstance(line[-1], dict) else {}
        if "expression" in options:
            raise DashboardError(f"{properties.get('title')}: metric expressions are not drawn.")
        namespace, name, *dimensions = (word for word in line if isinstance(word, str))
        if options.get("visible", True):
            yield Series(
                namespace=namespace,
                name=name,
                dimensions=tuple(zip(dimensions[::2], dimensions[1::2], strict=True)),
                stat=options.get("stat", properties.get("stat", "Average")),
                label=options.get("label", name),
                color=options.get("color"),
                right=options.get("yAxis") == "right",
            )


def _annotation(source: Mapping[str, Any]) -> Annotation:
    return Annotation(float(source["value"]), source.get("label", ""), source.get("yAxis") == "right")
