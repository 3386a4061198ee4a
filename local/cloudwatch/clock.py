"""How far ahead the alarms' clock is: hours pass for them when somebody says so."""

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
    """The clock that alarms are evaluated by: a file, for two processes to share, with the seconds it is ahead by."""

    def __init__(self, logs: Path) -> None:
        with (logs / _FILE).open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SECONDS.size)

    @classmethod
    def create(cls, logs: Path) -> AlarmClock:
        """Make one that shows the real time, in the emulator's folder for logs."""
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
