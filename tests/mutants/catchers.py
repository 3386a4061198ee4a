"""What can catch a mutant, and whether it did so for the right reason."""

from __future__ import annotations

import json
import re
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from local.builds.imports import ENVIRONMENT
from tests.mutants.copy import NotRunError

if TYPE_CHECKING:
    from tests.mutants.copy import Copy
    from tests.mutants.mutant import Mutant

_FAILED: Final = 1
_BROKEN: Final = re.compile(
    r"(NameError|UnboundLocalError|ImportError|ModuleNotFoundError|SyntaxError|IndentationError|fixture )"
)
"""A mutant that fails like this was not caught: it never ran."""


class Catcher(Protocol):
    """Something that looks at a copy of the project."""

    def caught(self, copy: Copy) -> str:
        """Return what showed that the engine is wrong; empty where nothing did.

        Raises:
            NotRunError: it could not look.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tests:
    """Tests, by node id."""

    selection: tuple[str, ...]

    def caught(self, copy: Copy) -> str:
        """Run them up to the first that fails; see `Catcher`."""
        with tempfile.TemporaryDirectory() as directory:
            report = Path(directory, "report.xml")
            options = ("-x", "-q", "-p", "no:cacheprovider", "--tb=short", f"--junitxml={report}")
            done = copy.run("-m", "pytest", *options, *self.selection)
            if done.status not in (0, _FAILED):
                raise NotRunError(f"pytest ended with {done.status}: {_last_lines(done.output)}")
            return _first_failure(ET.parse(report), done.output) if done.status else ""  # noqa: S314 - pytest wrote it


@dataclass(frozen=True, slots=True)
class ModelScenario:
    """A scenario of the model, explored with the engine as it is in the copy."""

    name: str

    def caught(self, copy: Copy) -> str:
        """Explore it up to the first violation; see `Catcher`."""
        done = copy.run("-m", "tests.mutants.explore", self.name)
        if done.status == 0:
            return ""
        if done.status != _FAILED or not done.output.startswith("violation:"):
            raise NotRunError(f"the exploration ended with {done.status}: {_last_lines(done.output)}")
        return f"model, {self.name!r}: {done.output.splitlines()[0].removeprefix('violation:').strip()}"


@dataclass(frozen=True, slots=True)
class FaultSchedules:
    """Random schedules of `tests/faults`, with these arguments."""

    arguments: str

    def caught(self, copy: Copy) -> str:
        """Run them; see `Catcher`."""
        done = copy.run("-m", "tests.faults", *self.arguments.split())
        if done.status not in (0, _FAILED) or "Traceback" in done.output:
            raise NotRunError(f"tests.faults ended with {done.status}: {_last_lines(done.output)}")
        return f"faults {self.arguments}" if done.status else ""


def catchers(mutant: Mutant) -> list[Catcher]:
    """Return what should catch a mutant, the quickest first."""
    tests: list[Catcher] = [Tests(mutant.pytest)] if mutant.pytest else []
    return [*tests, *map(ModelScenario, mutant.model), *map(FaultSchedules, mutant.faults)]


def demand_import(copy: Copy, file: str) -> None:
    """Import a file of the copy.

    Raises:
        NotRunError: it can't be imported.
    """
    module = file.removeprefix("layers/plaid_sync/").removesuffix(".py").replace("/", ".")
    program = f"import os, importlib; os.environ.update({ENVIRONMENT!r}); importlib.import_module({module!r})"
    done = copy.run("-c", program)
    if done.status:
        raise NotRunError(f"{module} can't be imported: {_last_lines(done.output)}")


def _first_failure(report: ET.ElementTree[ET.Element], output: str) -> str:
    for case in report.iter("testcase"):
        failure = case.find("failure")
        if failure is None:
            continue
        if _BROKEN.match(failure.get("message", "")):
            break
        return f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
    raise NotRunError(f"no test failed, but something is broken: {_last_lines(output)}")


def _last_lines(output: str) -> str:
    return json.dumps(output.strip()[-600:])
