"""What the user sees while the demo runs: a live table under the story on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from local.demo.board import Board

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import RenderableType

_PICTURES_A_SECOND = 5
BoardOf = Callable[[], Board]


class View(Protocol):
    """Shows the demo."""

    def __enter__(self) -> Self:
        """Start showing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""

    def say(self, line: str) -> None:
        """Tell a line of the story."""

    def chapter(self, title: str) -> None:
        """Begin a chapter."""

    def watch(self, board_of: BoardOf) -> None:
        """Show the board that this returns from now on."""


class PlainView:
    """Lines, each with the seconds since the start; a line of figures ends each chapter."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()
        self._board_of: BoardOf | None = None

    def __enter__(self) -> Self:
        """Start showing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""
        if kind is None:
            self._figures()

    def say(self, line: str) -> None:
        """Tell a line of the story."""
        print(f"[{time.monotonic() - self._started:5.1f} s] {line}", file=self._stream, flush=True)

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._figures()
        self.say(f"== {title}")

    def watch(self, board_of: BoardOf) -> None:
        """Show the figures of this board after each chapter."""
        self._board_of = board_of

    def _figures(self) -> None:
        if self._board_of:
            self.say(self._board_of().summary())


class LiveView:
    """A table of the Items that is kept up to date, below the lines of the story."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._board_of: BoardOf | None = None
        self._title = "Starting"
        self._live = Live(
            get_renderable=self._picture, console=console, refresh_per_second=_PICTURES_A_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        """Start showing."""
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""
        self._live.__exit__(kind, error, trace)

    def say(self, line: str) -> None:
        """Tell a line of the story."""
        self._console.print(f"[dim]{self._elapsed()}[/dim] {escape(line)}", highlight=False)

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._title = title
        self._console.print(f"\n[bold]{escape(title)}[/bold]")

    def watch(self, board_of: BoardOf) -> None:
        """Show this board from now on."""
        self._board_of = board_of

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started:5.1f} s"

    def _picture(self) -> RenderableType:
        head = Text.assemble((self._title, "bold"), f"   {self._elapsed()}", "   Ctrl-C ends it")
        if self._board_of is None:
            return head
        board = self._board_of()
        return Group("", _table(board), Text(board.summary(), style="dim"), head)


def _table(board: Board) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Item")
    table.add_column("History")
    for title in ("Rows in table", "Rows at Plaid", "Webhooks", "Syncs"):
        table.add_column(title, justify="right")
    table.add_column("Last sync", min_width=18)
    for line in board.lines:
        equal = line.in_table == line.at_plaid
        rows = Text(f"{line.in_table:,}", style="green" if equal else "yellow")
        figures = (f"{line.at_plaid:,}", f"{line.webhooks:,}", f"{line.syncs:,}")
        table.add_row(line.name, line.history, rows, *figures, line.state)
    return table
