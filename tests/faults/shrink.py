"""Cuts a diverging schedule down to the steps that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.schedule import Step


def shrink(steps: list[Step], diverges: Callable[[list[Step]], bool], most_runs: int = 150) -> list[Step]:
    """Return steps that still diverge, of which none can be left out; the first one, `begin`, always stays.

    Halves are tried first, then quarters, down to single steps (delta debugging), in at most `most_runs` runs.
    """
    kept, size, runs = list(steps), max(1, (len(steps) - 1) // 2), 0
    while runs < most_runs:
        start, shorter = 1, False
        while start < len(kept) and runs < most_runs:
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
