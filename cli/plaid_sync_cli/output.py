"""Data on standard output, as text or as JSON; what is said about the work on standard error."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import simplejson
import typer
from plaid_sync.core.plain_text import moment_text
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import RenderableType

_WIDTH_OF_A_PIPE: Final = 160
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command writes.

    Attributes:
        as_json: data are one JSON document.
    """

    as_json: bool

    @property
    def console(self) -> Console:
        """Standard output as it is now; a pipe gets lines that are not folded at 80 columns."""
        return _console(stderr=False)

    @property
    def notes(self) -> Console:
        """Standard error as it is now."""
        return _console(stderr=True)

    def show(self, document: object, text: Callable[[], Iterable[RenderableType]]) -> None:
        """Write a result: the document as JSON, or else what `text` returns."""
        if self.as_json:
            sys.stdout.write(to_json(document, indent=2) + "\n")
            return
        console = self.console
        for part in text():
            # A folded command can't be copied.
            console.print(part, highlight=False, soft_wrap=isinstance(part, str))

    def say(self, line: str) -> None:
        """Tell how far the work is."""
        self.notes.print(escape(line), highlight=False, soft_wrap=True)

    def fail(self, error: CommandError) -> None:
        """Tell what went wrong, and the fix."""
        if self.as_json:
            document = {"error": error.message, "fix": error.fix, "exit_code": int(error.exit_code)}
            sys.stderr.write(to_json(document) + "\n")
            return
        self.notes.print(f"[bold red]plaid-sync:[/] {escape(error.message)}", highlight=False, soft_wrap=True)
        self.notes.print(f"  {escape(error.fix)}", highlight=False, soft_wrap=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before what can't be undone, or costs something.

        Raises:
            CommandError: the answer is no.
        """
        if not yes and not typer.confirm(question, err=True):
            raise CommandError("not confirmed", "Nothing was changed.", ExitCode.INTERRUPTED)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, soft_wrap=False, emoji=False)  # an ARN has :secret: in it
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_PIPE
    return console


def to_json(document: object, indent: int | None = None) -> str:
    """Write JSON: decimals digit for digit, times in ISO 8601, durations in seconds."""
    return simplejson.dumps(document, use_decimal=True, indent=indent, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a document holds
    match value:
        case datetime():
            return moment_text(value)
        case timedelta():
            return round(value.total_seconds())
        case Enum():
            return value.value
        case set() | frozenset():
            return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def table(*columns: str, right: Iterable[str] = (), rows: Iterable[Sequence[object]] = ()) -> Table:
    """Return a table of texts; `right` names the columns of figures."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), show_header=any(columns))
    figures = set(right)
    for column in columns:
        made.add_column(column, justify="right" if column in figures else "left", overflow="fold")
    for row in rows:
        made.add_row(*("-" if cell is None else escape(str(cell)) for cell in row))
    return made


def duration(span: timedelta) -> str:
    """Say how long, in the two largest units at most."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def age(moment: datetime | None, now: datetime, never: str = "never") -> str:
    """Say how long ago."""
    return never if moment is None else f"{duration(now - moment)} ago"


def plural(count: int, thing: str, things: str = "") -> str:
    """Return `1 message`, `2,000 messages`."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"
