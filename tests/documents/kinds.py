"""The ways in which a command of the documents is known to work."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """What all have in common.

    Attributes:
        command: a pattern for whole commands.
    """

    command: str

    def covers(self, text: str) -> bool:
        """Tell whether this is how the command is run."""
        return re.fullmatch(self.command, text) is not None


@dataclass(frozen=True, slots=True)
class Run(Rule):
    """It is executed, and ends.

    Attributes:
        as_run: what is executed; `{}` is the command, filled in.
        code: its exit code.
        says: patterns that its output must match.
        shows: whether the document's example of output must look like what is put out (`shapes.py`).
        in_project: whether it runs in the repository's folder.
        why: why it is not executed as it stands.
    """

    as_run: str = "{}"
    code: int = 0
    says: tuple[str, ...] = ()
    shows: bool = False
    in_project: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Serve(Rule):
    """It is started, says that it is ready, and ends in order when it is asked to."""

    as_run: str = "{}"
    ready: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Kept(Rule):
    """It keeps up the stack that all others run against."""


@dataclass(frozen=True, slots=True)
class ByTest(Rule):
    """Another test runs the same program: it would take a demo of its own."""

    test: str


@dataclass(frozen=True, slots=True)
class Elsewhere(Rule):
    """Nothing runs it: it needs what a test has not got.

    Attributes:
        why: what that is.
    """

    why: str


@dataclass(frozen=True, slots=True)
class InGate(Rule):
    """The gate runs it, from a fresh clone: `.ci/run` has these steps, or the command itself as one."""

    steps: tuple[str, ...] = ()
