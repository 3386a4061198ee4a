"""The clock that alarms are evaluated by: a test can put it ahead by hours."""

from __future__ import annotations

import mmap
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "alarm-clock"
_SECONDS = struct.Struct("d")


class AlarmClock:
    """A clock in a file that two processes share: the real time and the seconds that it is ahead by."""

    def __init__(self, logs: Path) -> None:
        with (logs / _FILE).open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SECONDS.size)

    @classmethod
    def create(cls, logs: Path) -> AlarmClock:
        """Create a clock that shows the real time, in the emulator's folder for logs."""
        (logs / _FILE).write_bytes(_SECONDS.pack(0.0))
        return cls(logs)

    @property
    def ahead(self) -> float:
        """How many seconds it is ahead of the real time."""
        seconds: float = _SECONDS.unpack(self._page[:])[0]
        return seconds

    @ahead.setter
    def ahead(self, seconds: float) -> None:
        self._page[:] = _SECONDS.pack(seconds)

    def __call__(self) -> float:
        """Return its time, in seconds since 1970."""
        return time.time() + self.ahead
