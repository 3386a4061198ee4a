"""How fast requests are made."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plaid_sync_cli.errors import usage_error

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS: Final = {"s": 1, "min": 60, "h": 3600}
FASTEST: Final = 10.0
"""Requests a second that the Item API lets through by default (parameter ItemsRateLimit)."""


def parse_rate(text: str) -> float:
    """Read `2/s`, `30/min` or `100/h` as so many a second.

    Raises:
        CommandError: it is none of these, or faster than the Item API allows.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)/(s|min|h)", text)
    rate = float(found[1]) / _SECONDS[found[2]] if found else 0.0
    if not 0 < rate <= FASTEST:
        raise usage_error(f"--rate {text}", "Give a number and s, min or h, up to 10/s: 2/s, 30/min.")
    return rate


@dataclass(slots=True)
class Pace:
    """Waits so that calls come at a steady rate.

    Attributes:
        rate: calls a second.
    """

    rate: float
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _next: float | None = field(default=None)

    def wait(self) -> None:
        """Wait for the next call's turn."""
        now = self.clock()
        if self._next is not None and self._next > now:
            self.pause(self._next - now)
        self._next = max(now, self._next or now) + 1 / self.rate
