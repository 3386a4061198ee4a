"""Command line: let atheris search for inputs that the code under test can't stand.

    make fuzz RUNS=1000000 ARGS="--target webhook"
    make fuzz ARGS="--target webhook --replay FILE"

`make fuzz` installs atheris and calls this. Each target runs in a process of its own (`worker`).
Exit status: 0 nothing found, 1 something found, 2 usage, or no atheris.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fuzz.tally import RUNS, FindingError
from tests.fuzz.targets import TARGETS, make

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE: Final = 2
_NO_LIMIT: Final = 2**62
_LOG_TAIL: Final = 2_000


@dataclass(slots=True)
class Report:
    """What came of one target.

    Attributes:
        outcomes: what became of the inputs, by kind.
        finding: what the code under test did, with which input, and the reproducer.
    """

    target: str
    seed: int
    runs: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    finding: dict[str, str] | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit status."""
    options = _parser().parse_args(arguments)
    names = list(TARGETS) if options.target == "all" else [options.target]
    if options.replay is not None:
        if len(names) > 1:
            sys.stderr.write("fuzz: name the target that the case is for: --target webhook\n")
            return _USAGE
        return _replay(names[0], options.replay)
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("fuzz: atheris is not installed here; `make fuzz` installs it (Linux, Python 3.11 to 3.13)\n")
        return _USAGE
    options.reproducers.mkdir(parents=True, exist_ok=True)
    reports = [_fuzz(name, options) for name in names]
    ok = not any(report.finding for report in reports)
    if options.json:
        document = {"targets": [asdict(report) for report in reports], "ok": ok}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        for report in reports:
            _print(report)
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=[*TARGETS, "all"], default="all", help="what to give inputs to (all)")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=_positive, default=60, help="how long, for each target (60)")
    limit.add_argument("--runs", type=_positive, help="how many inputs, for each target")
    parser.add_argument("--seed", type=_positive, default=7, help="of the search (7)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    parser.add_argument(
        "--reproducers", type=Path, default=Path(".local/fuzz/found"), help="folder for cases found (%(default)s)"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one case that was found, without atheris")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("not positive")
    return number


def _replay(name: str, file: Path) -> int:
    try:
        make(name).run(file.read_bytes())
    except FindingError as error:
        sys.stderr.write(f"{error}: {error.shown}\n")
        return 1
    return 0


def _fuzz(name: str, options: argparse.Namespace) -> Report:
    runs, seconds = (options.runs, _NO_LIMIT) if options.runs else (_NO_LIMIT, options.seconds)
    report = Report(name, options.seed)
    log = options.reproducers / f"{name}.log"
    command = [sys.executable, "-m", "tests.fuzz.worker"]
    command += [name, str(runs), str(seconds), str(options.seed), str(options.reproducers)]
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as worker:
        for line in worker.stdout or ():
            said = json.loads(line)
            report.outcomes = said["tally"]
            report.runs, report.seconds = report.outcomes.pop(RUNS, 0), said["seconds"]
            report.finding = said.get("finding")
            _tell_progress(report, runs, seconds)
            done = said["done"]
            if done:
                break
        else:
            tail = log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
            report.finding = {"what": "the process died or hung", "shown": tail, "file": str(options.reproducers)}
    return report


def _tell_progress(report: Report, runs: int, seconds: float) -> None:
    if not sys.stderr.isatty():
        return
    rate = report.runs / max(report.seconds, 0.001)
    left = (runs - report.runs) / max(rate, 0.001) if runs < _NO_LIMIT else seconds - report.seconds
    end = "\r\x1b[K" if report.finding or left <= 0 else ""
    sys.stderr.write(
        f"\r  {report.target}: {report.runs:,} runs, {rate:,.0f} runs/s, {max(left, 0):,.0f} s left  {end}"
    )


def _print(report: Report) -> None:
    verdict = "1 finding" if report.finding else "nothing found"
    speed = f"{report.runs:,} runs in {report.seconds:,.0f} s ({report.runs / max(report.seconds, 0.001):,.0f}/s)"
    _line(f"{report.target}: {speed}, seed {report.seed}: {verdict}")
    for outcome, count in sorted(report.outcomes.items()):
        _line(f"  {count:>10,}  {outcome}")
    if report.finding:
        _line(f"FOUND: {report.finding['what']}\n  input: {report.finding['shown']}")
        _line(f'  again: make fuzz ARGS="--target {report.target} --replay {report.finding["file"]}"')


def _line(text: str) -> None:
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


if __name__ == "__main__":
    sys.exit(main())
