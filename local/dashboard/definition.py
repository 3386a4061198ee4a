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
    """One metric of a widget.

    Attributes:
        stat: `Sum`, `Maximum`, `p50` ...
        right: Whether its axis is the right one.
    """

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    stat: str
    label: str
    color: str | None
    right: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line at a value that matters: a threshold."""

    value: float
    label: str
    right: bool


@dataclass(frozen=True, slots=True)
class Widget:
    """A rectangle of the dashboard.

    Attributes:
        kind: `metric`, `alarm` or `text`.
        x: Its left column, of 24.
        y: Its upper row.
        view: How metrics are shown: `timeSeries`, `singleValue`, `bar` or `pie`.
        axes: The left and the right axis' labels.
        markdown: A text's.
        alarms: The names of an alarm widget's alarms.
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
    """The whole dashboard."""

    name: str
    widgets: tuple[Widget, ...]

    @property
    def rows(self) -> int:
        """How many rows of the grid it fills."""
        return max((widget.y + widget.height for widget in self.widgets), default=1)


def read_definition(name: str, body: str) -> Definition:
    """Read a dashboard's body.

    Raises:
        DashboardError: It uses something that is not drawn here, a metric expression for instance.
    """
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
    above: list[str] = []
    for line in properties.get("metrics", ()):
        options = line[-1] if isinstance(line[-1], dict) else {}
        if "expression" in options:
            raise DashboardError(f"{properties.get('title')}: metric expressions are not drawn.")
        above = _spelled_out([word for word in line if isinstance(word, str)], above)
        if options.get("visible", True):
            yield Series(
                namespace=above[0],
                name=above[1],
                dimensions=tuple(zip(above[2::2], above[3::2], strict=True)),
                stat=options.get("stat", properties.get("stat", "Average")),
                label=options.get("label", above[1]),
                color=options.get("color"),
                right=options.get("yAxis") == "right",
            )


def _spelled_out(words: list[str], above: list[str]) -> list[str]:
    """Replace `.` by what the line above has in its place, and `...` by all that it has there."""
    if "..." in words:
        at = words.index("...")
        words = words[:at] + above[at : len(above) - (len(words) - at - 1)] + words[at + 1 :]
    return [above[place] if word == "." else word for place, word in enumerate(words)]


def _annotation(source: Mapping[str, Any]) -> Annotation:
    return Annotation(float(source["value"]), source.get("label", ""), source.get("yAxis") == "right")
