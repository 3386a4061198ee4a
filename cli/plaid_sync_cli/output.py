"""Results on standard output, as text or JSON; progress, prompts and errors on standard error."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final

import simplejson
import typer
from plaid_sync.domain.clock import format_timestamp
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import RenderableType

_PIPE_WIDTH: Final = 160
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command writes.

    Attributes:
        as_json: write results as one JSON document.
    """

    as_json: bool

    @property
    def console(self) -> Console:
        """Current standard output; a pipe gets lines that are not wrapped at 80 columns."""
        return _console(stderr=False)

    @property
    def stderr(self) -> Console:
        """Current standard error."""
        return _console(stderr=True)

    def show(self, document: object, text: Callable[[], Iterable[RenderableType]]) -> None:
        """Write a result: the document as JSON, otherwise what `text` returns."""
        if self.as_json:
            sys.stdout.write(to_json(document, indent=2) + "\n")
            return
        console = self.console
        for part in text():
            # A wrapped command cannot be copied.
            console.print(part, highlight=False, soft_wrap=isinstance(part, str))

    def log(self, line: str) -> None:
        """Write a line about the progress of the work."""
        self.stderr.print(escape(line), highlight=False, soft_wrap=True)

    def fail(self, error: CommandError) -> None:
        """Write an error and its fix."""
        if self.as_json:
            document = {"error": error.message, "fix": error.fix, "exit_code": int(error.exit_code)}
            sys.stderr.write(to_json(document) + "\n")
            return
        self.stderr.print(f"[bold red]plaid-sync:[/] {escape(error.message)}", highlight=False, soft_wrap=True)
        self.stderr.print(f"  {escape(error.fix)}", highlight=False, soft_wrap=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Prompt for confirmation, unless `yes`.

        Raises:
            CommandError: the answer is no.
            typer.Abort: there is no answer.
        """
        if not yes and not typer.confirm(question, err=True):
            raise CommandError("not confirmed", "Nothing was changed.", ExitCode.INTERRUPTED)


@contextmanager
def private_file(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file that is created atomically when the `with` block succeeds, and that only its owner may read."""
    opened: dict[str, Any] = {"mode": "wb"} if binary else {"mode": "w", "newline": "", "encoding": "utf-8"}
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False, **opened) as partial:
        try:
            yield partial
            partial.flush()
            os.fsync(partial.fileno())
            Path(partial.name).replace(path)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, soft_wrap=False, emoji=False)  # an ARN has :secret: in it
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def to_json(document: object, indent: int | None = None) -> str:
    """Format JSON: decimals digit for digit, times in ISO 8601, durations in seconds."""
    return simplejson.dumps(document, use_decimal=True, indent=indent, default=_to_plain, ensure_ascii=False)


def _to_plain(value: Any) -> Any:  # noqa: ANN401 - any value of a document
    match value:
        case datetime():
            return format_timestamp(value)
        case timedelta():
            return round(value.total_seconds())
        case Enum():
            return value.value
        case set() | frozenset():
            return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def table(*columns: str, right: Iterable[str] = (), rows: Iterable[Sequence[object]] = ()) -> Table:
    """Return a table; `right` names the right-aligned columns."""
    result = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), show_header=any(columns))
    right_aligned = set(right)
    for column in columns:
        result.add_column(column, justify="right" if column in right_aligned else "left", overflow="fold")
    for row in rows:
        result.add_row(*("-" if cell is None else escape(str(cell)) for cell in row))
    return result


def duration(span: timedelta) -> str:
    """Format a duration in at most two units."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def age(moment: datetime | None, now: datetime, never: str = "never") -> str:
    """Format how long ago a time was."""
    return never if moment is None else f"{duration(now - moment)} ago"


def plural(count: int, thing: str, things: str = "") -> str:
    """Return `1 message`, `2,000 messages`."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"
