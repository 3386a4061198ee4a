"""Breadth-first exploration: complete within a scenario's bounds, shortest trace first."""

from __future__ import annotations

import gc
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.model.guards import taken_away
from tests.model.invariants import at_rest, wrong_at_rest
from tests.model.replay import Machine, small_constants
from tests.model.state import Faults, Item, Log, Row, Scenario, State, Worker
from tests.model.steps import Step, World

if TYPE_CHECKING:
    from collections.abc import Callable

_REPORT_EVERY = 20_000
Rows = tuple[Row | None, ...]
Workers = tuple[Worker | None, Worker | None]


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant and the shortest way to it."""

    what: str
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exploration:
    """What an exploration found.

    Attributes:
        rests: distinct states at rest, in each of which table and Plaid were compared.
        histories: distinct courses of a worker: so often did the real engine run.
    """

    scenario: str
    states: int
    transitions: int
    rests: int
    histories: int
    seconds: float
    violation: Violation | None


def explore(
    scenario: Scenario,
    without: frozenset[str] = frozenset(),
    only: str = "",
    progress: Callable[[int, int, float], None] | None = None,
) -> Exploration:
    """Visit every state of a scenario, or stop at the first that breaks an invariant.

    Args:
        scenario: the bounds.
        without: guards to take away.
        only: look for violations of this kind only (a part of their text).
        progress: told now and then of the states seen, the states waiting, and the seconds.
    """
    with small_constants(), taken_away(without):
        return _Search(World(scenario, Machine(), without), only, progress).run()


class _Search:
    def __init__(self, world: World, only: str, progress: Callable[[int, int, float], None] | None) -> None:
        self.world, self.only, self.progress = world, only, progress
        start = world.scenario.start()
        self.numbers: dict[State, int] = {start: 0}
        self.states = [start]
        self.parents = array("q", [-1])
        self.logs: dict[Log, Log] = {}
        self.items: dict[Item, Item] = {}
        self.rows: dict[Rows, Rows] = {}
        self.workers: dict[Workers, Workers] = {}
        self.faults: dict[Faults, Faults] = {}
        self.transitions = self.rests = 0

    def run(self) -> Exploration:
        gc.disable()  # nothing here becomes garbage, and looking for it takes half of the time
        try:
            return self._search()
        finally:
            gc.enable()

    def _search(self) -> Exploration:
        began, violation, number = time.perf_counter(), None, 0
        while violation is None and number < len(self.states):
            if self.progress and number % _REPORT_EVERY == 0 and number:
                self.progress(number, len(self.states) - number, time.perf_counter() - began)
            violation = self._expand(number)
            number += 1
        return Exploration(
            scenario=f"{self.world.scenario.name} ({self.world.scenario.telling})",
            states=len(self.states),
            transitions=self.transitions,
            rests=self.rests,
            histories=len(self.world.machine.calls),
            seconds=time.perf_counter() - began,
            violation=violation,
        )

    def _expand(self, number: int) -> Violation | None:
        state = self.states[number]
        dead_end = True
        for step in self.world.steps(state):
            dead_end = False
            self.transitions += 1
            broken = step.broken
            if step.state not in self.numbers:
                following = self._add(step.state, number)
                if not broken and at_rest(following):
                    self.rests += 1
                    broken = wrong_at_rest(following, self.world.scenario.ids)
            if broken and self.only in broken:
                return Violation(broken, (*self._trace(number), step.text))
        if dead_end and not at_rest(state):
            return Violation("nothing can happen any more, and it is not at rest", self._trace(number))
        return None

    def _add(self, state: State, parent: int) -> State:
        """Remember a state; equal parts of states are kept once."""
        shared = state._replace(
            log=self.logs.setdefault(state.log, state.log),
            item=self.items.setdefault(state.item, state.item),
            rows=self.rows.setdefault(state.rows, state.rows),
            workers=self.workers.setdefault(state.workers, state.workers),
            faults=self.faults.setdefault(state.faults, state.faults),
        )
        self.numbers[shared] = len(self.states)
        self.states.append(shared)
        self.parents.append(parent)
        return shared

    def _trace(self, number: int) -> tuple[str, ...]:
        texts: list[str] = []
        while (parent := self.parents[number]) >= 0:
            texts.append(self._text(self.states[parent], self.states[number]))
            number = parent
        return tuple(reversed(texts))

    def _text(self, before: State, after: State) -> str:
        def leads_there(step: Step) -> bool:
            return step.state == after

        return next(filter(leads_there, self.world.steps(before))).text
