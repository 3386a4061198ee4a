"""`make bench`: measures this engine beside the usual ways to write it and the floor, in one run.

Each subject is a module of this package with `measure() -> Table`. Times are of the run's machine, so that the ratios
count; counts (calls, bytes, units) are the same everywhere, and tests hold their ceilings.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from local.stack.paths import PROJECT
from tests.bench import tables
from tests.bench.contestants import profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.figures import Table

SUBJECTS: Final = ("first-sync", "sync", "rows", "units", "events", "webhook", "start", "large", "audit")
"""In the order of the tables."""
LONG: Final = frozenset({"large", "audit"})
"""Measured only by name."""
_RESULT: Final = PROJECT / ".local" / "bench.json"
_DOCUMENT: Final = PROJECT / "docs" / "performance.md"


def module_of(subject: str) -> str:
    return f"tests.bench.{subject.replace('-', '_')}"


def measured(subject: str) -> Table:
    began = time.monotonic()
    sys.stderr.write(f"bench: {subject} …\n")
    table: Table = import_module(module_of(subject)).measure()
    sys.stderr.write(f"bench: {subject}, {time.monotonic() - began:.0f} s\n")
    return table


def _silenced() -> TextIO:
    """Return the standard output, and let what the functions log go nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    options, answers = _parser().parse_args(arguments), _silenced()
    present = [subject for subject in SUBJECTS if find_spec(module_of(subject))]
    if options.profile:
        answers.write(profile(import_module(module_of(options.profile)).profiled()))
        return 0
    chosen = options.subject or [subject for subject in present if subject not in LONG]
    results = []
    for subject in chosen:
        results.append(measured(subject))
        answers.write(f"{tables.plain(results[-1])}\n\n")
        answers.flush()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(tables.as_json(results), indent=2) + "\n")
    if options.document:
        _DOCUMENT.write_text(tables.put_into(_DOCUMENT.read_text(), results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    present = [subject for subject in SUBJECTS if find_spec(module_of(subject))]
    parser.add_argument("--subject", action="append", choices=present, help="measure only this one (repeatable)")
    parser.add_argument("--json", type=Path, default=_RESULT, metavar="FILE", help="where to write the figures")
    parser.add_argument("--document", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument(
        "--profile",
        choices=[subject for subject in ("first-sync", "sync") if subject in present],
        help="print where the CPU time of this subject goes, by function",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
