"""Command line: take each guard out of a copy of the engine, and run the tests that must fail without it."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from local.stack.paths import PROJECT
from tests.mutants.mutation import AnchorError, Guard, copy_engine, load_guards

_SECONDS: Final = 300
_TESTS_FAILED: Final = 1
_FAILED: Final = re.compile(r"^FAILED (.+?)(?: - (.*))?$", re.MULTILINE)
_BROKEN: Final = re.compile(r"(NameError|UnboundLocalError|ImportError|ModuleNotFoundError|SyntaxError)")
"""A test that fails like this shows nothing about the guard."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the tests say about an engine.

    Attributes:
        guard: the guard that is missing; empty for the engine as it is.
        caught_by: the test that failed; empty where all passed.
        problem: why it is unknown whether a test catches it.
    """

    guard: str
    caught_by: str
    problem: str
    seconds: float


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit code: 1 if a guard is not caught, 2 if a test fails without any mutation."""
    guards = load_guards()
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[guard.name for guard in guards])
    parser.add_argument("--list", action="store_true", help="list the guards and run nothing")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at the same time (default: 2)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    guards = [guard for guard in guards if not options.only or guard.name in options.only]
    if options.list:
        _print("\n".join(f"{guard.name:30} {guard.protects}" for guard in guards))
        return 0
    return _run(guards, options.jobs, as_json=options.json)


def _run(guards: list[Guard], jobs: int, *, as_json: bool) -> int:
    began = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        unmutated = list(pool.map(lambda tests: _test(None, tests), sorted({guard.tests for guard in guards})))
        failed = [result.caught_by + result.problem for result in unmutated if result.caught_by or result.problem]
        if failed:
            sys.stderr.write("Tests fail without any mutation:\n" + "\n".join(failed) + "\n")
            return 2
        results = []
        for future in as_completed([pool.submit(_test, guard, guard.tests) for guard in guards]):
            results.append(future.result())
            if not as_json:
                _print(f"[{len(results):>2}/{len(guards)}] {_line(results[-1])}")
    survivors = [result.guard for result in results if not result.caught_by]
    seconds = time.monotonic() - began
    if as_json:
        _print(json.dumps({"results": [asdict(result) for result in results], "survivors": survivors}, indent=2))
    else:
        _print(f"{len(results) - len(survivors)} of {len(results)} caught, {seconds:.0f} s")
        _print(f"NOT CAUGHT: {', '.join(survivors)}" if survivors else "every guard is tested")
    return int(bool(survivors))


def _test(guard: Guard | None, tests: str) -> Result:
    """Run tests on a copy of the engine without the guard, up to the first that fails."""
    began, caught_by, problem = time.monotonic(), "", ""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        try:
            copy_engine(Path(folder), guard)
            caught_by, problem = _run_pytest(Path(folder), tests)
        except AnchorError as error:
            problem = str(error)
        except subprocess.TimeoutExpired:
            problem = f"{tests} still runs after {_SECONDS} s"
    return Result(guard.name if guard else "", caught_by, problem, round(time.monotonic() - began, 1))


def _run_pytest(engine: Path, tests: str) -> tuple[str, str]:
    """Return the test that failed, and why it is unknown whether one does."""
    unused = ("cacheprovider", "schemathesis", "hypothesispytest", "anyio")
    options = ["-x", "-q", "--tb=no", "-o", "pythonpath=. cli", *(f"-pno:{plugin}" for plugin in unused)]
    # Without bytecode: two mutations of equal size look alike to it. The columns keep the reason on the line.
    environment = {"PYTHONPATH": str(engine), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tests],
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return "", ""
    found = _FAILED.search(done.stdout)
    if done.returncode != _TESTS_FAILED or found is None or _BROKEN.match(found[2] or ""):
        return "", f"{tests} ended with {done.returncode}: {done.stdout[-600:].strip()}"
    return found[1], ""


def _line(result: Result) -> str:
    return f"{result.guard:30} {result.caught_by or f'NOT CAUGHT {result.problem}'}, {result.seconds:.1f} s"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
