"""A rectangle of a figure, measured in inches from its upper left corner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.patches import FancyBboxPatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, RED, GREEN, PAPER = "#16191f", "#687078", "#d13212", "#1d8102", "#f2f3f3"
_CHARACTER = 0.54  # of a font's size, on average
_POINTS_PER_INCH = 72
_THOUSAND, _MILLION, _EXACT = 1_000, 1_000_000, 100


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where a widget is drawn."""

    figure: Figure
    left: float
    top: float
    width: float
    height: float

    def axes(self, box: tuple[float, float, float, float]) -> Axes:
        """Return axes in a box: left, top, width, height."""
        return self.figure.add_axes(self._fractions(box))

    def card(self, title: str) -> None:
        left, bottom, width, height = self._fractions((0, 0, self.width, self.height))
        self.figure.patches.append(
            FancyBboxPatch(
                (left, bottom),
                width,
                height,
                boxstyle="square,pad=0",
                facecolor="white",
                edgecolor="#d5dbdb",
                linewidth=0.8,
                transform=self.figure.transFigure,
                zorder=-1,
            )
        )
        self.write(0.12, 0.1, clipped(title, self.width - 0.2, 8), size=8, weight="bold")

    def write(  # noqa: PLR0913 - one keyword per option
        self, left: float, top: float, text: str, *, size: float, weight: str = "normal", color: str = INK
    ) -> None:
        """Write a line whose upper left corner is there; nothing in it is taken for mathematics."""
        x, y, _, _ = self._fractions((left, top, 0, 0))
        self.figure.text(x, y, text.replace("$", r"\$"), size=size, weight=weight, color=color, va="top")

    def _fractions(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Turn inches from the upper left into fractions of the figure from the lower left."""
        whole_width, whole_height = self.figure.get_size_inches()
        left, top, width, height = box
        return (
            (self.left + left) / whole_width,
            1 - (self.top + top + height) / whole_height,
            width / whole_width,
            height / whole_height,
        )


def characters(width: float, size: float) -> int:
    """Return how many characters of a size fit into a width in inches."""
    return max(1, int(width * _POINTS_PER_INCH / (size * _CHARACTER)))


def clipped(text: str, width: float, size: float) -> str:
    """Return the text, cut to a width in inches."""
    limit = characters(width, size)
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def number(value: float) -> str:
    """Return a number as it is read at a glance."""
    for limit, suffix in ((_MILLION, " M"), (_THOUSAND * 10, " k")):
        if abs(value) >= limit:
            return f"{value / (limit if suffix == ' M' else _THOUSAND):.3g}{suffix}"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= _EXACT else f"{value:.3g}"
