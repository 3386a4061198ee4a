"""Time in the simulator: the real clock, two that can be advanced, and jobs that run at a given time."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic

Clock = Callable[[], datetime]
Job = Callable[[], None]
_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.02
_WORKERS = 8


def utc_now() -> datetime:
    return datetime.now(UTC)


class OffsetClock:
    """A base clock plus an offset that `advance` increases: a running server can jump hours ahead."""

    def __init__(self, base: Clock = utc_now) -> None:
        self._base = base
        self._offset = timedelta(0)
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            return self._base() + self._offset

    def advance(self, seconds: float | timedelta) -> datetime:
        step = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
        if step < timedelta(0):
            raise ValueError("time only moves forward")
        with self._lock:
            self._offset += step
            return self._base() + self._offset


class SimulatedClock(OffsetClock):
    """A clock that moves only when it is advanced."""

    def __init__(self, start: datetime | None = None) -> None:
        moment = start or datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
        super().__init__(lambda: moment)


class Scheduler:
    """A priority queue of jobs, ordered by due time; a background thread or `run_due` runs them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: list[tuple[datetime, int, Job]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._running = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def at(self, due: datetime, job: Job) -> None:
        with self._changed:
            heapq.heappush(self._jobs, (due, next(self._numbers), job))
            self._changed.notify_all()

    def after(self, seconds: float, job: Job) -> None:
        self.at(self._clock() + timedelta(seconds=seconds), job)

    def next_due(self) -> datetime | None:
        with self._changed:
            return self._jobs[0][0] if self._jobs else None

    def pending(self) -> int:
        with self._changed:
            return len(self._jobs) + self._running

    def run_due(self) -> int:
        count = 0
        while (job := self._take()) is not None:
            self._run(job)
            count += 1
        return count

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no job is due or running; later jobs do not count."""
        deadline = monotonic() + timeout
        with self._changed:
            while self._running or self._is_due():
                remaining = deadline - monotonic()
                if remaining <= 0:
                    return False
                self._changed.wait(min(remaining, _POLL_SECONDS))
        return True

    def start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._loop, name="plaid-scheduler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the background thread once its running jobs have ended."""
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _is_due(self) -> bool:
        return bool(self._jobs) and self._jobs[0][0] <= self._clock()

    def _take(self) -> Job | None:
        with self._changed:
            if not self._is_due():
                return None
            self._running += 1
            return heapq.heappop(self._jobs)[2]

    def _run(self, job: Job) -> None:
        try:
            job()
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _run_logged(self, job: Job) -> None:
        try:
            self._run(job)
        except Exception:  # noqa: BLE001 - a failed job is logged and must not stop the others
            _LOG.exception("a background job failed")

    def _loop(self) -> None:
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="plaid-worker") as pool:
            while not self._stop.is_set():
                job = self._take()
                if job is not None:
                    pool.submit(self._run_logged, job)
                    continue
                with self._changed:
                    # Another thread may advance the clock at any time, so poll it while jobs wait.
                    if not self._stop.is_set() and not self._is_due():
                        self._changed.wait(_POLL_SECONDS if self._jobs else None)
