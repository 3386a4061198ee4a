"""Progress of long work, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.progress import Task

_LINE_EVERY: Final = 10.0


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Return the rate, once there is one."""
        return Text(f"{task.speed:,.1f}/s" if task.speed else "")


@contextmanager
def progress(console: Console, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show progress for the time of the `with` block; what it gives is called with how many are done more.

    Args:
        console: standard error.
        title: what is done.
        total: how many there are; None where nobody knows.
    """
    if console.is_terminal:
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
        return
    lines = _Lines(console, title, total)
    yield lines.advance


class _Lines:
    """A line every ten seconds, with the rate and the time left."""

    def __init__(self, console: Console, title: str, total: int | None) -> None:
        self._console, self._title, self._total = console, title, total
        self._began = self._told = time.monotonic()
        self._done = 0

    def advance(self, count: int) -> None:
        """Count, and tell if it is time."""
        self._done += count
        now = time.monotonic()
        if now - self._told < _LINE_EVERY:
            return
        self._told = now
        rate = self._done / (now - self._began)
        left = f" of {self._total:,}, {(self._total - self._done) / rate:,.0f} s left" if self._total else ""
        self._console.print(f"{self._title}: {self._done:,}{left} ({rate:,.1f}/s)", highlight=False)
