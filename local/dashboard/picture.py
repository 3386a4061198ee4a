"""The whole dashboard as one picture, on CloudWatch's grid of 24 columns."""

from __future__ import annotations

import io
import re
import textwrap
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from local.dashboard.canvas import GREEN, GREY, PAPER, RED, Canvas, characters, clipped
from local.dashboard.charts import draw_metrics
from local.dashboard.definition import COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from local.dashboard.definition import Widget
    from local.dashboard.readings import Readings

_COLUMN, _ROW, _GAP, _HEAD = 0.8, 0.46, 0.08, 0.7  # inches
_DOTS_PER_INCH = 100
_COLORS = 256
_STATES = {"OK": GREEN, "ALARM": RED, "INSUFFICIENT_DATA": GREY}


def save_picture(readings: Readings, path: Path) -> None:
    definition = readings.definition
    figure = Figure(figsize=(COLUMNS * _COLUMN, definition.rows * _ROW + _HEAD), facecolor=PAPER)
    FigureCanvasAgg(figure)
    head = Canvas(figure, 0, 0, COLUMNS * _COLUMN, _HEAD)
    head.write(0.15, 0.12, definition.name, size=16, weight="bold")
    head.write(0.15, 0.45, _note(readings), size=8, color=GREY)
    for widget in definition.widgets:
        canvas = Canvas(
            figure,
            widget.x * _COLUMN + _GAP / 2,
            _HEAD + widget.y * _ROW + _GAP / 2,
            widget.width * _COLUMN - _GAP,
            widget.height * _ROW - _GAP,
        )
        _draw(canvas, widget, readings)
    file = io.BytesIO()
    figure.savefig(file, dpi=_DOTS_PER_INCH)
    # A palette makes the file a third as large.
    Image.open(file).convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


def _note(readings: Readings) -> str:
    return (
        f"Drawn {readings.end:%Y-%m-%d %H:%M:%S} UTC from the deployed definition, with the local stack's metrics. "
        f"Since {readings.start:%H:%M:%S}, in periods of {readings.seconds} s instead of the definition's, "
        "so what is “in 5 minutes” on AWS is per period here. A dashed line is an alarm's threshold, ↑ one far above."
    )


def _draw(canvas: Canvas, widget: Widget, readings: Readings) -> None:
    if widget.kind == "text":
        _draw_text(canvas, widget.markdown)
        return
    canvas.card(widget.title)
    if widget.kind == "alarm":
        _draw_alarms(canvas, widget, readings)
    else:
        draw_metrics(canvas, widget, readings)


def _draw_alarms(canvas: Canvas, widget: Widget, readings: Readings) -> None:
    prefix = f"{readings.definition.name}-"
    rows = -(-len(widget.alarms) // max(1, int(canvas.width // 2.2)))
    width, height = canvas.width / -(-len(widget.alarms) // rows), (canvas.height - 0.4) / rows
    for place, name in enumerate(widget.alarms):
        left, top = place // rows * width + 0.15, 0.38 + place % rows * height
        state = readings.alarms.get(name, "not deployed")
        color = _STATES.get(state, RED)
        canvas.write(left, top, "●", size=9, color=color)
        shown = clipped(name.removeprefix(prefix), width - 0.9, 7.5)
        canvas.write(left + 0.18, top + 0.01, shown, size=7.5)
        canvas.write(
            left + width - 0.75, top + 0.02, state.replace("INSUFFICIENT_DATA", "no data"), size=6.5, color=color
        )


def _draw_text(canvas: Canvas, markdown: str) -> None:
    """Write markdown as plain lines, without links."""
    top = 0.05
    for line in markdown.splitlines():
        level = len(line) - len(line.lstrip("#"))
        size = {0: 7.0, 1: 13.0, 2: 11.0}.get(level, 9.0)
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)|`([^`]*)`|\*\*([^*]*)\*\*", r"\1\2\3", line.lstrip("# "))
        bullet = plain.startswith("- ")
        for wrapped in textwrap.wrap(plain.removeprefix("- "), characters(canvas.width - 0.4, size)) or [""]:
            canvas.write(0.1 if not bullet else 0.22, top, wrapped, size=size, weight="bold" if level else "normal")
            if bullet:
                canvas.write(0.1, top, "•", size=size)
                plain, bullet = "", False
            top += size / 72 * 1.35
