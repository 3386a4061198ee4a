"""Run schedules of injected faults against the handlers, a local Plaid and the emulated AWS, and compare the results.

Each schedule is drawn from its own seed. One that diverges is shrunk to the steps that it needs, and printed in the
form of the files in tests/simulation/faults/regressions/.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from tests.simulation.faults import runner

_PROGRESS: Final = 100
"""Schedules from one line of progress to the next."""


def main() -> int:
    """Run; return the exit status: 0 for no divergence, 1 for some."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.faults", description=__doc__)
    parser.add_argument("--schedules", type=int, default=500, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first one; the next ones count up")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one schedule from a file instead")
    options = parser.parse_args()
    sources = [options.replay] if options.replay else range(options.seed, options.seed + options.schedules)
    began, counts, diverged = time.monotonic(), Counter[str](), 0
    # Each process has its own emulator.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=runner.start_process) as pool:
        results = pool.map(runner.run_source, sources, chunksize=10)
        for done, (schedule_counts, report) in enumerate(results, start=1):
            counts += schedule_counts
            if report:
                diverged += 1
                _print(report)
            if done % _PROGRESS == 0:
                _print(f"  {done:,} of {len(sources):,} schedules, {diverged} diverged")
    for name, count in counts.most_common():
        _print(f"{count:>10,}  {name}")
    first = options.replay or f"from seed {options.seed}"
    _print(f"{len(sources):,} schedules ({first}), {diverged} diverged, {time.monotonic() - began:.0f} s")
    return int(diverged > 0)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
