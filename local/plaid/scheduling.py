"""Things that happen later, by the simulator's clock: run by a background thread, or by hand."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.plaid.clock import Clock

Job = Callable[[], None]
_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.02
_WORKERS = 8


class Scheduler:
    """A queue of jobs ordered by when they are due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: list[tuple[datetime, int, Job]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._running = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def at(self, due: datetime, job: Job) -> None:
        """Run a job as soon as the clock has reached a moment."""
        with self._changed:
            heapq.heappush(self._jobs, (due, next(self._numbers), job))
            self._changed.notify_all()

    def after(self, seconds: float, job: Job) -> None:
        """Run a job in a number of seconds."""
        self.at(self._clock() + timedelta(seconds=seconds), job)

    def next_due(self) -> datetime | None:
        """Return when the next job is due."""
        with self._changed:
            return self._jobs[0][0] if self._jobs else None

    def pending(self) -> int:
        """Return how many jobs wait or run."""
        with self._changed:
            return len(self._jobs) + self._running

    def run_due(self) -> int:
        """Run everything that is due now, in the calling thread; return how many jobs that were."""
        count = 0
        while (job := self._take()) is not None:
            self._run(job)
            count += 1
        return count

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is due or running; jobs of the future are not waited for."""
        deadline = monotonic() + timeout
        with self._changed:
            while self._running or self._is_due():
                remaining = deadline - monotonic()
                if remaining <= 0:
                    return False
                self._changed.wait(min(remaining, _POLL_SECONDS))
        return True

    def start(self) -> None:
        """Run due jobs in the background from now on."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._loop, name="plaid-scheduler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the background thread, after the jobs that are running."""
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
        except Exception:  # noqa: BLE001 - one job's failure must not end the others, nor go unseen
            _LOG.exception("a background job failed")

    def _loop(self) -> None:
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="plaid-worker") as pool:
            while not self._stop.is_set():
                job = self._take()
                if job is not None:
                    pool.submit(self._run_logged, job)
                    continue
                with self._changed:
                    # The clock may be stepped by anybody, so it is looked at often while anything waits.
                    if not self._stop.is_set() and not self._is_due():
                        self._changed.wait(_POLL_SECONDS if self._jobs else None)
