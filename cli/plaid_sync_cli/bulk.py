"""Work over many Items: a rate limit for requests, and progress on standard error."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from plaid_sync_cli.api import ApiError
from plaid_sync_cli.errors import usage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console
    from rich.progress import Task

_UNIT_SECONDS: Final = {"s": 1, "min": 60, "h": 3600}
MAX_RATE: Final = 10.0
"""Requests per second that the Items API allows by default (parameter ItemsRateLimit)."""
_LOG_INTERVAL: Final = 10.0
_MAX_ATTEMPTS: Final = 5
_T = TypeVar("_T")


def parse_rate(text: str) -> float:
    """Parse `2/s`, `30/min` or `100/h` as a number per second.

    Raises:
        CommandError: it is malformed, or exceeds the limit of the Items API.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)/(s|min|h)", text)
    rate = float(found[1]) / _UNIT_SECONDS[found[2]] if found else 0.0
    if not 0 < rate <= MAX_RATE:
        raise usage_error(f"--rate {text}", "Give a number and s, min or h, up to 10/s: 2/s, 30/min.")
    return rate


@dataclass(slots=True)
class RateLimiter:
    """Spaces calls evenly.

    Attributes:
        rate: calls per second.
    """

    rate: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _next: float | None = field(default=None)

    def wait(self) -> None:
        """Wait until the next call is due."""
        now = self.clock()
        if self._next is not None and self._next > now:
            self.sleep(self._next - now)
        self._next = max(now, self._next or now) + 1 / self.rate


def call_with_retries(call: Callable[[], _T]) -> _T:
    """Send a request; again, a few times, where the API throttles it.

    Not after another transient failure: where many Items meet one, the command would last for hours.

    Raises:
        ApiError: the response is an error.
    """
    for _ in range(_MAX_ATTEMPTS - 1):
        try:
            return call()
        except ApiError as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS or error.code == "refreshed_recently":
                raise
            time.sleep(error.retry_after or 1)
    return call()


def request_each(
    console: Console, title: str, item_ids: Sequence[str], request: Callable[[str], None], refused: dict[str, str]
) -> None:
    """Request something of each Item, with progress; add those that are refused, with the reason, to `refused`.

    Raises:
        ApiError: the error concerns all Items, not one.
    """
    with progress(console, title, len(item_ids)) as advance:
        for item_id in item_ids:
            try:
                request(item_id)
            except ApiError as error:
                if error.concerns_all:
                    raise
                refused[item_id] = f"{error.message}. {error.fix}"
            advance(1)


class _Rate(ProgressColumn):
    """How many per second."""

    def render(self, task: Task) -> Text:
        """Return the rate, as soon as it is known."""
        return Text(f"{task.speed:,.1f}/s" if task.speed else "")


@contextmanager
def progress(console: Console, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show progress during the `with` block: a bar on a terminal, elsewhere a line every ten seconds.

    The block gets a function to call with the number of newly finished units.

    Args:
        console: standard error.
        title: what is done.
        total: how many units there are; None if unknown.
    """
    if console.is_terminal:
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
        return
    lines = _ProgressLines(console, title, total)
    yield lines.advance


class _ProgressLines:
    """Writes a line every ten seconds, with the rate and the time left."""

    def __init__(self, console: Console, title: str, total: int | None) -> None:
        self._console, self._title, self._total = console, title, total
        self._started = self._last_line = time.monotonic()
        self._done = 0

    def advance(self, count: int) -> None:
        """Count, and write a line if one is due."""
        self._done += count
        now = time.monotonic()
        if now - self._last_line < _LOG_INTERVAL:
            return
        self._last_line = now
        rate = self._done / (now - self._started)
        left = f" of {self._total:,}, {(self._total - self._done) / rate:,.0f} s left" if self._total else ""
        self._console.print(f"{self._title}: {self._done:,}{left} ({rate:,.1f}/s)", highlight=False)
