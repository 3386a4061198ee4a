"""What a benchmark found: a table for each subject, a line for each figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table; all values are in its unit, and those that make no sense for it are None.

    Attributes:
        name: what is measured, such as `a sync of 50 changes`.
        unit: such as `ms of CPU time`, `bytes`, `write units`, `calls`.
        ours: this engine's.
        baseline: that of the way in which it is usually written; the table says which.
        floor: what no implementation in Python can be below: the calls and the bytes that must move, without an SDK.
        target: what `ours` should be at most, worked out where it is a ratio to the baseline or the floor.
    """

    name: str
    unit: str
    ours: float
    baseline: float | None = None
    floor: float | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The figures of a subject, of one run.

    Attributes:
        baseline: what the baselines are, in a phrase; empty where there are none.
    """

    subject: str
    figures: tuple[Figure, ...]
    baseline: str = ""
