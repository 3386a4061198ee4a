"""What a check has to say."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

TOOLS: Final = PROJECT / ".local" / "tools" / "supply-chain" / "bin"


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "FAILED"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        line: one line that says what was looked at and found.
        details: what to see to, a line each.
    """

    check: str
    state: State
    line: str
    details: tuple[str, ...] = ()


def found(check: str, line: str, details: list[str]) -> Finding:
    """Return a check's outcome: failed if there is anything to see to."""
    return Finding(check, State.FAILED if details else State.OK, line, tuple(details))


class ToolError(Exception):
    """A tool did not do its work; the text is its own."""


def run_tool(name: str, *arguments: str | Path, fine: tuple[int, ...] = (0, 1)) -> str:
    """Run a tool of the locked environment in the project's folder; return what it printed.

    Args:
        name: the tool.
        arguments: what it is told.
        fine: exit codes that mean that it has looked, whatever it has found.

    Raises:
        ToolError: it could not look.
    """
    command = [str(TOOLS / name), *map(str, arguments)]
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ToolError(f"{name} is not installed: run this as `make supply-chain`") from error
    if done.returncode not in fine:
        raise ToolError(f"{name}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
