"""What the user of the demo decides, and how it says that it could not go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FEWEST_ITEMS = 5


class DemoError(Exception):
    """The demo cannot go on; the message tells a newcomer why."""


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of one run.

    Attributes:
        seed: what all chance is drawn from.
        items: how many Items are linked.
        steps: how many random things happen to each Item, beside the ones that always happen.
        patience: seconds to wait for anything before giving up.
        corrupt: whether one row of the table is tampered with before the comparison, which must notice.
        keep: whether the stack stays up after the verdict.
        dashboard: the folder that the dashboard is drawn into after the verdict, if it is.
    """

    seed: int = 7
    items: int = 6
    steps: int = 120
    patience: float = 90.0
    corrupt: bool = False
    keep: bool = False
    dashboard: Path | None = None
