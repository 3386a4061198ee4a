"""Draws one widget of metrics into a rectangle of a figure."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from local.dashboard.canvas import GREY, INK, RED, clipped, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from local.dashboard.canvas import Canvas
    from local.dashboard.definition import Annotation, Series, Widget
    from local.dashboard.readings import Point, Readings

COLORS = ("#0073bb", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#1b3a57", "#7f7f7f")
_LEGEND_ROW = 0.145  # inches
_FAR = 1.5
_MEASURED_EVERY = 10
_SHORT = timedelta(minutes=15)
_TICKS = 5
_STEPS = (10, 30, 60, 120, 300, 600, 1800, 3600)


def draw_metrics(canvas: Canvas, widget: Widget, readings: Readings) -> None:
    if widget.view == "singleValue":
        _draw_numbers(canvas, widget, readings)
    else:
        _draw_lines(canvas, widget, readings)


def _draw_numbers(canvas: Canvas, widget: Widget, readings: Readings) -> None:
    """Draw the last value of each series."""
    columns = 2 if len(widget.series) > 1 else 1
    rows = -(-len(widget.series) // columns)
    width, height = canvas.width / columns, (canvas.height - 0.4) / rows
    for place, series in enumerate(widget.series):
        points = readings.points[series]
        left, top = (place % columns) * width + 0.15, 0.4 + (place // columns) * height
        shown = number(points[-1].value) if points else "--"
        color = _color(series, place) if points else GREY
        canvas.write(left, top, shown, size=15, weight="bold", color=color)
        canvas.write(left, top + 0.3, clipped(series.label, width - 0.2, 7), size=7, color=GREY)


def _draw_lines(canvas: Canvas, widget: Widget, readings: Readings) -> None:
    shown = [(series, _color(series, place)) for place, series in enumerate(widget.series) if readings.points[series]]
    columns = max(1, int(canvas.width // 1.7))
    without_data = _without_data(widget, readings, canvas.width)
    legend = _LEGEND_ROW * (-(-len(shown) // columns) + len(without_data))
    sides = (0.55, 0.55 if any(series.right for series in widget.series) else 0.15)
    axes = canvas.axes((sides[0], 0.42, canvas.width - sum(sides), canvas.height - 0.42 - 0.32 - legend))
    right = axes.twinx() if sides[1] > sides[0] / 2 else None
    _style(axes, readings, widget.axes[0])
    if right is not None:
        _style(right, readings, widget.axes[1])
    for panel in (axes, right):
        if panel is not None:
            own = [(series, color) for series, color in shown if series.right == (panel is right)]
            _draw_panel(panel, own, widget, readings)
            _draw_thresholds(panel, [each for each in widget.annotations if each.right == (panel is right)])
    if not shown:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", size=9, color=GREY)
    _draw_legend(canvas, shown, without_data, columns, legend)


def _draw_panel(axes: Axes, shown: Sequence[tuple[Series, str]], widget: Widget, readings: Readings) -> None:
    if widget.stacked and shown:
        _stack(axes, shown, readings)
    for series, color in () if widget.stacked else shown:
        for run in _runs(readings.points[series], readings.seconds):
            moments = [point.at.timestamp() for point in run]
            values = [point.value for point in run]
            axes.plot(moments, values, color=color, linewidth=1.3, marker="o", markersize=2.2, clip_on=False)
    top = max((point.value for series, _ in shown for point in readings.points[series]), default=0.0)
    if not widget.stacked:
        axes.set_ylim(0, top * 1.15 or 1.0)


def _stack(axes: Axes, shown: Sequence[tuple[Series, str]], readings: Readings) -> None:
    """Draw the series of each period as one stacked bar."""
    moments = sorted({point.at.timestamp() for series, _ in shown for point in readings.points[series]})
    middles = [moment + readings.seconds / 2 for moment in moments]
    floor = [0.0] * len(moments)
    for series, color in shown:
        values = {point.at.timestamp(): point.value for point in readings.points[series]}
        heights = [values.get(moment, 0.0) for moment in moments]
        axes.bar(middles, heights, width=readings.seconds * 0.92, bottom=floor, color=color, alpha=0.85)
        floor = [below + height for below, height in zip(floor, heights, strict=True)]
    axes.set_ylim(0, max(floor) * 1.15 or 1.0)


def _runs(points: Sequence[Point], seconds: int) -> list[list[Point]]:
    """Split points where a period has no data: a line across a gap would claim values that were not measured.

    Full queues are measured every ten seconds, see `local.cloudwatch.metrics`.
    """
    runs: list[list[Point]] = []
    for point in points:
        if runs and (point.at - runs[-1][-1].at).total_seconds() <= max(seconds, _MEASURED_EVERY):
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _draw_thresholds(axes: Axes, annotations: Sequence[Annotation]) -> None:
    """Draw thresholds near the values, and name those far above, each on the side of its axis."""
    _, top = axes.get_ylim()
    labels: dict[float, list[str]] = {}
    for each in annotations:
        labels.setdefault(each.value if each.value <= top * _FAR else inf, []).append(each.label)
    x, align = (0.99, "right") if any(each.right for each in annotations) else (0.01, "left")
    for value, texts in labels.items():
        if value < inf:
            axes.axhline(value, color=RED, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.set_ylim(0, max(axes.get_ylim()[1], value * 1.15))
        place, text = (
            (value, "\n".join(texts)) if value < inf else (axes.get_ylim()[1], "\n".join(f"↑ {t}" for t in texts))
        )
        axes.annotate(
            text,
            (x, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            ha=align,
            va="bottom" if value < inf else "top",
            size=5.8,
            color=RED,
        )


def _draw_legend(
    canvas: Canvas, shown: Sequence[tuple[Series, str]], without_data: Sequence[str], columns: int, height: float
) -> None:
    width = (canvas.width - 0.2) / columns
    top = canvas.height - height - 0.06
    for place, (series, color) in enumerate(shown):
        left, line = 0.12 + (place % columns) * width, top + (place // columns) * _LEGEND_ROW
        canvas.write(left, line, "■", size=6, color=color)
        side = " →" if series.right else ""
        canvas.write(left + 0.12, line, clipped(series.label + side, width - 0.15, 6.5), size=6.5)
    below = top + -(-len(shown) // columns) * _LEGEND_ROW
    for row, text in enumerate(without_data):
        canvas.write(0.12, below + row * _LEGEND_ROW, text, size=6, color=GREY)


def _without_data(widget: Widget, readings: Readings, width: float) -> list[str]:
    labels = [series.label for series in widget.series if not readings.points[series]]
    text = f"no data: {', '.join(dict.fromkeys(labels))}"
    return textwrap.wrap(text, int(width * 20), max_lines=2, placeholder=" …") if labels else []


def _style(axes: Axes, readings: Readings, label: str) -> None:
    shown = readings.end - readings.start
    clock = "%H:%M:%S" if shown < _SHORT else "%H:%M"
    axes.set_xlim(readings.start.timestamp(), readings.end.timestamp())
    axes.xaxis.set_major_locator(
        MultipleLocator(next(step for step in _STEPS if shown.total_seconds() / step <= _TICKS))
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime(clock)))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.tick_params(labelsize=6, colors=GREY, length=0)
    axes.grid(axis="y", color="#eaeded", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel(label, fontsize=6, color=INK)
    axes.patch.set_visible(False)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color("#d5dbdb")


def _color(series: Series, place: int) -> str:
    return series.color or COLORS[place % len(COLORS)]
