"""Writes the deployed dashboard as a picture."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.dashboard.picture import save_picture
from local.dashboard.readings import Readings, read

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rendered:
    picture: Path
    readings: Readings

    def document(self) -> dict[str, Any]:
        readings = self.readings
        return {
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
        return json.dumps(self.document(), indent=2)

    def as_text(self) -> str:
        lines = [f"drawn: {os.path.relpath(self.picture)}"]
        if without_data := self.readings.without_data():
            total = sum(bool(widget.series) for widget in self.readings.definition.widgets)
            lines.append(f"{len(without_data)} of {total} widgets have no data yet: {'; '.join(without_data)}")
        lines += [f"not deployed: {name}" for name in self.readings.missing_alarms()]
        return "\n".join(lines)


def render(cloudwatch: Any, name: str, folder: Path) -> Rendered:  # noqa: ANN401 - a boto3 client
    readings = read(cloudwatch, name)
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "dashboard.png"
    save_picture(readings, picture)
    return Rendered(picture, readings)
