"""Measure, in simulated time, how long it takes after each kind of fault until the tables equal Plaid.

The functions' handlers run against a local Plaid and the emulated AWS; many Items at once are simulated with the
sweep and the retry policy alone. Exit status: 0 where each bound is met, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from plaid_sync.domain.schedule import AttemptClass

from tests.simulation.liveness.fleet import budget
from tests.simulation.liveness.measure import measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.liveness.scenarios import Measurement


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.liveness", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    began, measurements = time.monotonic(), measure()
    if options.json:
        _print(json.dumps([asdict(each) | {"met": each.met} for each in measurements], indent=2))
    else:
        for line in _table(measurements):
            _print(line)
        missed = sum(not each.met for each in measurements)
        _print(f"\n{len(measurements)} bounds, {missed} not met, {time.monotonic() - began:.0f} s")
    return int(any(not each.met for each in measurements))


def _table(measurements: list[Measurement]) -> Iterator[str]:
    yield "Exact after, in simulated seconds (the worst of all cases)\n"
    width = max(len(each.fault) for each in measurements)
    yield f"{'fault':<{width}} {'bound':>8} {'measured':>8}"
    for each in measurements:
        met = "" if each.met else "NOT MET"
        yield f"{each.fault:<{width}} {each.bound:>8,.0f} {each.seconds:>8,.0f} {met or 'met':<7}  {each.detail}"
    budgets = ", ".join(f"{attempt_class.value} {budget(attempt_class)}" for attempt_class in AttemptClass)
    yield f"\nAttempts that the sweep begins in a minute: {budgets}. More Items wait for their number divided by that."


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
