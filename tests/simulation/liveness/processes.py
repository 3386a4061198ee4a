"""Processes that run in simulated time, one at a time: each is a thread, which runs while no other does.

They run code that waits by sleeping, as the engine's does.
"""

from __future__ import annotations

import heapq
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from plaid_sync.domain.clock import Deadline

from tests.fakes.clock import NOON

if TYPE_CHECKING:
    from collections.abc import Callable


class _StoppedError(BaseException):
    """The simulation is over."""


@dataclass(slots=True)
class Processes:
    """The processes, and the time."""

    time: datetime = NOON
    _waiting: list[tuple[datetime, int, threading.Semaphore]] = field(default_factory=list)
    _numbers: Any = field(default_factory=count)
    _main: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _threads: list[threading.Thread] = field(default_factory=list)
    _failures: list[BaseException] = field(default_factory=list)
    _over: bool = False

    def now(self) -> datetime:
        """Return the time."""
        return self.time

    def start(self, work: Callable[[], None], after: float) -> None:
        """Start a process after so many seconds."""

        def run() -> None:
            turn.acquire()
            try:
                if not self._over:
                    with suppress(_StoppedError):
                        work()
            except BaseException as error:  # noqa: BLE001 - raised by `run`
                self._failures.append(error)
            finally:
                self._main.release()

        turn = threading.Semaphore(0)
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        heapq.heappush(self._waiting, (self.time + timedelta(seconds=after), next(self._numbers), turn))
        thread.start()

    def sleep(self, seconds: float) -> None:
        """Let another process run, until so many seconds have passed."""
        turn = threading.Semaphore(0)
        heapq.heappush(self._waiting, (self.time + timedelta(seconds=seconds), next(self._numbers), turn))
        self._main.release()
        turn.acquire()
        if self._over:
            raise _StoppedError

    def run(self, duration: timedelta) -> None:
        """Run all processes for so long, then stop them."""
        end = self.time + duration
        while self._waiting and not self._failures:
            at, _, turn = heapq.heappop(self._waiting)
            self._over = self._over or at > end
            self.time = min(at, end)
            turn.release()
            self._main.acquire()
        for thread in self._threads if not self._failures else []:
            thread.join()
        if self._failures:
            raise self._failures[0]


@dataclass(slots=True)
class ProcessClock:
    """The clock of a process, which may be wrong; implements `Clock`."""

    processes: Processes
    error: timedelta = timedelta(0)

    def now(self) -> datetime:
        return self.processes.time + self.error

    def sleep(self, seconds: float) -> None:
        self.processes.sleep(seconds)

    def deadline(self, seconds: float) -> Deadline:
        end = self.processes.time + timedelta(seconds=seconds)

        def remaining_seconds() -> float:
            return (end - self.processes.time).total_seconds()

        return Deadline(remaining_seconds)
