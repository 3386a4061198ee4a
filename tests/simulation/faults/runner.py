"""Runs schedules in a worker process, and shrinks those that diverge."""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.simulation.faults.harness import harness
from tests.simulation.faults.run import run
from tests.simulation.faults.schedule import Step, draw, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.faults.harness import Harness

MAX_SHRINK_RUNS: Final = 150
_RESOURCES: Final = ExitStack()
_HARNESSES: Final[list[Harness]] = []


def start_process() -> None:
    """Start a worker process: it has its own stack."""
    warnings.filterwarnings("ignore", message="No application metrics")  # of an invocation that was killed
    _HARNESSES.append(_RESOURCES.enter_context(harness()))


def run_source(source: int | Path) -> tuple[Counter[str], str]:
    """Run the schedule of a seed or a file.

    Returns:
        What happened how often, and the report of a divergence; empty: none.
    """
    steps = parse(source.read_text().splitlines()) if isinstance(source, Path) else draw(source)
    counts, complaint = _run(steps)
    if not complaint:
        return counts, ""
    error = complaint.split(" ")[0]  # another error on the way is another divergence
    trace = shrink(steps, lambda candidate: _run(candidate)[1].startswith(error))
    lines = (
        f"{source} diverged: {_run(trace)[1] or complaint}",
        f"{len(trace)} of its {len(steps)} steps are enough; as a file for --replay:",
        *map(str, trace),
    )
    return counts, "\n".join(lines)


def _run(steps: list[Step]) -> tuple[Counter[str], str]:
    try:
        return run(_HARNESSES[0], steps), ""
    except Exception as error:  # noqa: BLE001 - each error of a schedule is its outcome
        return Counter(), f"{type(error).__name__}: {error}"


def shrink(steps: list[Step], diverges: Callable[[list[Step]], bool]) -> list[Step]:
    """Return steps that still diverge, of which none can be omitted; the first one, `begin`, always stays.

    Halves are tried first, then quarters, down to single steps (delta debugging), in `MAX_SHRINK_RUNS` runs at most.
    """
    kept, size, runs = list(steps), max(1, (len(steps) - 1) // 2), 0
    while runs < MAX_SHRINK_RUNS:
        start, shorter = 1, False
        while start < len(kept) and runs < MAX_SHRINK_RUNS:
            candidate = kept[:start] + kept[start + size :]
            runs += 1
            if diverges(candidate):
                kept, shorter = candidate, True
            else:
                start += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return kept
