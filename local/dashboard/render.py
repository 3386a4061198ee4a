"""Writes the deployed dashboard as a page and as a picture."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.dashboard.page import page_of
from local.dashboard.picture import save_picture
from local.dashboard.readings import Readings, read
from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rendered:
    """A dashboard that was drawn.

    Attributes:
        page: An HTML page.
        picture: A PNG.
    """

    page: Path
    picture: Path
    readings: Readings

    def document(self) -> dict[str, Any]:
        """Return what was drawn, for programs."""
        readings = self.readings
        return {
            "page": str(self.page),
            "picture": str(self.picture),
            "widgets": len(readings.definition.widgets),
            "without_data": readings.without_data(),
            "missing_alarms": readings.missing_alarms(),
            "period_seconds": readings.seconds,
            "alarms": readings.alarms,
            "metrics": [
                {"namespace": namespace, "name": name, "dimensions": dimensions}
                for namespace, name, dimensions in readings.emitted
            ],
        }

    def as_json(self) -> str:
        """Return the same as text."""
        return json.dumps(self.document(), indent=2)

    def as_text(self) -> str:
        """Return what was drawn, for people."""
        lines = [f"drawn: {os.path.relpath(path)}" for path in (self.page, self.picture)]
        if without_data := self.readings.without_data():
            total = sum(bool(widget.series) for widget in self.readings.definition.widgets)
            lines.append(f"{len(without_data)} of {total} widgets have no data yet: {'; '.join(without_data)}")
        lines += [f"not deployed: {name}" for name in self.readings.missing_alarms()]
        return "\n".join(lines)


def render(cloudwatch: Any, name: str, folder: Path) -> Rendered:  # noqa: ANN401 - a boto3 client
    """Draw a dashboard into `dashboard.html` and `dashboard.png` of a folder.

    Raises:
        DashboardError: It cannot be read or drawn.
    """
    readings = read(cloudwatch, name)
    folder.mkdir(parents=True, exist_ok=True)
    page, picture = folder / "dashboard.html", folder / "dashboard.png"
    page.write_text(page_of(readings, os.path.relpath(PROJECT, folder)), encoding="utf-8")
    save_picture(readings, picture)
    return Rendered(page, picture, readings)
