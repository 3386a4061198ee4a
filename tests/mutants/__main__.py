"""Command line: take each guard out of the engine, and see that something notices."""

from __future__ import annotations

import argparse
import json
import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from local.stack.paths import say
from tests.mutants.catchers import Tests, catchers, demand_import
from tests.mutants.copy import NotRunError, copied, prepare
from tests.mutants.mutant import Mutant, RottenError, load, load_equivalents

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.mutants.catchers import Catcher
    from tests.mutants.copy import Copy

_T = TypeVar("_T")
_R = TypeVar("_R")
_NOT_CAUGHT: Final = "NOT CAUGHT"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        by: the tests, traces and schedules that caught it; empty where one of those that should did not.
        trouble: why it counts as not caught.
    """

    mutant: str
    by: str
    trouble: str
    second_line: str
    seconds: float


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit status."""
    options = _options(arguments)
    mutants = [mutant for mutant in load() if not options.only or mutant.name in options.only]
    if options.list:
        return _list(mutants)
    prepare()
    with ExitStack() as stack:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for _ in range(options.jobs):
            copies.put(stack.enter_context(copied()))
        workers = stack.enter_context(ThreadPoolExecutor(options.jobs))
        return _run(mutants, copies, workers, quiet=options.json)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[mutant.name for mutant in load()])
    parser.add_argument("--list", action="store_true", help="print the guards, and run nothing")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    return parser.parse_args(arguments)


def _list(mutants: Sequence[Mutant]) -> int:
    for mutant in mutants:
        _say(f"{mutant.name:34} {mutant.guard}")
    _say("\nNot mutants: changes that no schedule or test can tell, or none needs to.")
    for change in load_equivalents():
        _say(f"{change.name:34} {change.guard}\n{'':34} {change.why}")
    return 0


def _run(
    mutants: Sequence[Mutant], copies: queue.SimpleQueue[Copy], workers: ThreadPoolExecutor, *, quiet: bool
) -> int:
    def with_copy(work: Callable[[Copy, _T], _R]) -> Callable[[_T], _R]:
        def do(one: _T) -> _R:
            copy = copies.get()
            try:
                return work(copy, one)
            finally:
                copies.put(copy)

        return do

    began = time.monotonic()
    say("looking at the engine as it is, with all that should catch the mutants (a few minutes)")
    complaints = [text for text in workers.map(with_copy(_complaint), _all_catchers(mutants)) if text]
    if complaints:
        sys.stderr.write("The engine is not sound as it is, so that no mutant would prove anything:\n")
        sys.stderr.write("\n".join(complaints) + "\n")
        return 1
    if not quiet:
        _say(f"{len(mutants)} mutants; without any, all that should catch them is content.")
    verdicts: list[Verdict] = []
    for verdict in workers.map(with_copy(_judge), mutants):
        verdicts.append(verdict)
        if not quiet:
            _say(f"{len(verdicts):>4}/{len(mutants)} {_line(verdict)}")
    lost = [verdict.mutant for verdict in verdicts if not verdict.by]
    if quiet:
        _say(json.dumps({"verdicts": [asdict(verdict) for verdict in verdicts], "not_caught": lost}, indent=2))
    else:
        seconds = time.monotonic() - began
        _say(f"\n{len(verdicts) - len(lost)} of {len(verdicts)} mutants caught, {seconds:.0f} s")
        _say(f"not caught: {', '.join(lost)}" if lost else "no guard can go unnoticed")
    return int(bool(lost))


def _all_catchers(mutants: Sequence[Mutant]) -> list[Catcher]:
    """Return all that is going to look for mutants, each once, in portions that take about equally long."""
    tests = dict.fromkeys(test for mutant in mutants for test in mutant.pytest)
    portions = [
        tuple(test for test in tests if test.startswith(prefix)) for prefix in ("tests/component/", "tests/unit/")
    ]
    others = [catcher for mutant in mutants for catcher in catchers(mutant) if not isinstance(catcher, Tests)]
    return [*(Tests(portion) for portion in portions if portion), *dict.fromkeys(others)]


def _complaint(copy: Copy, catcher: Catcher) -> str:
    try:
        return catcher.caught(copy)
    except NotRunError as error:
        return str(error)


def _judge(copy: Copy, mutant: Mutant) -> Verdict:
    began, by, trouble = time.monotonic(), "", ""
    try:
        with copy.mutated(mutant):
            demand_import(copy, mutant.file)
            found = [(catcher, catcher.caught(copy)) for catcher in catchers(mutant)]
        trouble = ", ".join(f"nothing noticed by {catcher}" for catcher, what in found if not what)
        by = "" if trouble else "; ".join(what for _, what in found)
    except (NotRunError, RottenError) as error:
        trouble = str(error)
    return Verdict(mutant.name, by, trouble, mutant.second_line, time.monotonic() - began)


def _line(verdict: Verdict) -> str:
    mark = " (second line)" if verdict.second_line else ""
    by = verdict.by or f"{_NOT_CAUGHT}{': ' + verdict.trouble if verdict.trouble else ''}"
    return f"{verdict.mutant:34} {by}{mark}, {verdict.seconds:.1f} s"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
