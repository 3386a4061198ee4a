"""Run thousands of fault schedules against the handlers, a local Plaid and the emulated AWS, and compare the outcome.

Each schedule is drawn from its own seed. One that diverges is cut down to the steps that it needs, and printed the way
it is kept in tests/faults/kept/.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults import working
from tests.faults.schedule import draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.working import Outcome

CHUNK = 10
"""Schedules that a process is given at a time."""


def _outcomes(options: argparse.Namespace) -> Iterator[Outcome]:
    """Run everything that was asked for, in as many processes as were asked for."""
    seeds = list(range(options.seed, options.seed + options.schedules))
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn"), initializer=working.begin) as pool:
        tasks = [pool.submit(working.run_file, options.replay)] if options.replay else []
        tasks = tasks or [pool.submit(working.run_seeds, chunk) for chunk in chunks]
        for task in as_completed(tasks):
            outcome = task.result()
            yield outcome
            if outcome.divergences and options.stop:
                pool.shutdown(wait=False, cancel_futures=True)
                return


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit status: 0 for no divergence, 1 for some, 2 for wrong usage."""
    options = _options(arguments)
    began, total = time.monotonic(), working.Outcome()
    show = _progress(options, began)
    for outcome in _outcomes(options):
        total.counts.update(outcome.counts)
        total.divergences += outcome.divergences
        show(total)
    seconds = time.monotonic() - began
    if options.json:
        divergences = [asdict(divergence) for divergence in total.divergences]
        # Not asdict of the whole: it makes nonsense of a Counter.
        document = {"seed": options.seed, "seconds": round(seconds), "counts": total.counts, "divergences": divergences}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        _report(options, total, seconds)
    return int(bool(total.divergences))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--schedules", type=int, default=500, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first; the next ones count on")
    parser.add_argument("--jobs", type=int, default=2, metavar="J", help="processes, each with an emulator of its own")
    parser.add_argument("--replay", metavar="FILE", help="run one schedule from a file instead")
    parser.add_argument("--stop", action="store_true", help="stop at the first that diverges")
    parser.add_argument("--show", action="store_true", help="print the steps of the seed, and run nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    options = parser.parse_args(arguments)
    for name in ("schedules", "jobs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    if options.replay and not Path(options.replay).is_file():
        parser.error(f"--replay: {options.replay} is not a file")
    if options.show:
        sys.stdout.write("".join(f"{step}\n" for step in draw(options.seed)))
        sys.exit(0)
    return options


def _progress(options: argparse.Namespace, began: float) -> Callable[[Outcome], None]:
    last = [began]

    def show(total: Outcome) -> None:
        now, done = time.monotonic(), total.counts["schedules"]
        if now - last[0] < 5 or options.json:
            return
        last[0] = now
        left = (options.schedules - done) * (now - began) / max(done, 1)
        sys.stdout.write(
            f"  {done:,} of {options.schedules:,} schedules, {len(total.divergences)} diverged, "
            f"{done / (now - began):.1f}/s, {left / 60:.0f} min left\n"
        )
        sys.stdout.flush()

    return show


def _report(options: argparse.Namespace, total: Outcome, seconds: float) -> None:
    write = sys.stdout.write
    for divergence in total.divergences:
        write(f"\nSeed {divergence.seed} diverged: {divergence.complaint}\n")
        write(f"{len(divergence.trace)} of its {divergence.steps} steps are enough; as a file for --replay:\n")
        write("".join(f"{line}\n" for line in divergence.trace))
    write("".join(f"{count:>10,}  {name}\n" for name, count in total.counts.most_common() if name != "schedules"))
    last = options.seed + options.schedules - 1
    what = options.replay or f"seeds {options.seed} to {last}"
    write(f"{total.counts['schedules']:,} schedules ({what}), {len(total.divergences)} diverged, {seconds:.0f} s\n")


if __name__ == "__main__":
    sys.exit(main())
