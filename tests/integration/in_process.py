"""Whether the functions run in the test's own process, and the marks of tests that need their inside."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

strikes_a_call = pytest.mark.inside("it is struck at one of its calls")
steps_the_clock = pytest.mark.inside("its clock is the test's")
reads_the_logs = pytest.mark.inside("its logs are caught as it writes them")
wires_it = pytest.mark.inside("parts of it are used by themselves")
waits_long = pytest.mark.inside("it waits between its tries, for more than half a minute in all")
runs_in_the_emulator = pytest.mark.inside("the emulator runs it, over HTTP")

_open = True


def close() -> None:
    """Let no test of this run reach into a function: a test that does would test something else than it says."""
    global _open  # noqa: PLW0603 - a run is one or the other
    _open = False


def reach(what: str) -> None:
    """Fail a test that is about to reach into a function that runs as it was built, in a process of its own."""
    if not _open:
        message = (
            f"{what} needs the inside of a function, and this run tests the artifact: mark the test, see {__name__}"
        )
        raise AssertionError(message)


def function(name: str) -> Any:
    """Return a function's module; its environment must be in place."""
    reach(f"the module of {name}")
    return importlib.import_module(f"functions.{name}.app")
