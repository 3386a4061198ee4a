"""Runs schedules in a worker process, and cuts those that diverge down to the steps that they need."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.bench import bench
from tests.faults.run import run
from tests.faults.schedule import Step, draw, read
from tests.faults.shrink import shrink

if TYPE_CHECKING:
    from tests.faults.bench import Bench


@dataclass(frozen=True, slots=True)
class Divergence:
    """A schedule that broke something that must hold.

    Attributes:
        steps: how many steps it had before it was cut down.
        trace: the steps that it needs, as they are kept.
    """

    seed: int
    complaint: str
    steps: int
    trace: list[str]


@dataclass(slots=True)
class Outcome:
    """What became of some schedules, and what happened in them how often."""

    counts: Counter[str] = field(default_factory=Counter)
    divergences: list[Divergence] = field(default_factory=list)


_RESOURCES = ExitStack()
_SHARED: list[Bench] = []


def begin() -> None:
    """Begin a worker process: it has a stack of its own."""
    _SHARED.append(_RESOURCES.enter_context(bench()))


def run_seeds(seeds: list[int]) -> Outcome:
    """Run the schedules of some seeds."""
    outcome = Outcome()
    for seed in seeds:
        divergence = _diverges(seed, draw(seed), outcome.counts)
        if divergence is not None:
            outcome.divergences.append(divergence)
    return outcome


def run_file(file: str) -> Outcome:
    """Run a schedule from a file."""
    outcome = Outcome()
    divergence = _diverges(0, read(Path(file).read_text().splitlines()), outcome.counts)
    outcome.divergences += [divergence] if divergence else []
    return outcome


def _diverges(seed: int, steps: list[Step], counts: Counter[str]) -> Divergence | None:
    found, happened = _complaint(steps)
    counts.update(happened)
    if not found:
        return None
    first_words = found.split(" ")[0]  # another kind of trouble on the way is not this one
    trace = shrink(steps, lambda some: _complaint(some)[0].startswith(first_words))
    return Divergence(seed, _complaint(trace)[0] or found, len(steps), [str(step) for step in trace])


def _complaint(steps: list[Step]) -> tuple[str, Counter[str]]:
    """Run a schedule; return what it broke (empty: nothing), and what happened in it."""
    try:
        return "", run(_SHARED[0], steps)
    except Exception as error:  # noqa: BLE001 - whatever a schedule brings about is its outcome
        return f"{type(error).__name__}: {error}", Counter(schedules=1)
