"""Breadth-first exploration: complete within a scenario's bounds, shortest trace first.

Safety: no step and no quiescent state breaks an invariant. Liveness: without further faults and changes at Plaid, and
even if no paused worker ever continues, every run ends in a quiescent state. The steps that are left are fair: so it is
enough that they form no cycle, and that each state without one is quiescent.
"""

from __future__ import annotations

import gc
from array import array
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.model.guards import removed
from tests.simulation.model.invariants import broken_when_quiescent
from tests.simulation.model.replay import Machine, small_limits
from tests.simulation.model.state import State
from tests.simulation.model.steps import World

if TYPE_CHECKING:
    from tests.simulation.model.scenarios import Scenario

_NEW, _OPEN, _CLOSED = range(3)
ENDLESS: Final = "no end: without further faults and changes, the steps from the last state on can repeat for ever"


@dataclass(frozen=True, slots=True)
class Violation:
    what: str
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exploration:
    """What an exploration found.

    Attributes:
        fair: how many of the transitions are neither a fault nor a change at Plaid, nor a paused worker's.
        quiescent: states in which no fair step is left, so that the table was compared with Plaid.
    """

    states: int
    transitions: int
    fair: int
    quiescent: int
    violation: Violation | None


def explore(scenario: Scenario, without: frozenset[str] = frozenset(), only: str = "") -> Exploration:
    """Visit every state of a scenario, or stop at the first that breaks an invariant; then look for endless runs.

    Args:
        scenario: the bounds.
        without: guards to remove.
        only: a part of the text of the violations that count; empty: all count.
    """
    with small_limits(scenario), removed(without):
        gc.disable()  # nothing here becomes garbage, and collecting takes half of the time
        try:
            return _Search(World(scenario, Machine(), without), only).run()
        finally:
            gc.enable()


class _Search:
    """The explored graph.

    Attributes:
        successors: numbers of the states that fair steps lead to, state by state.
        ends: where the successors of each state end.
    """

    def __init__(self, world: World, only: str) -> None:
        self.world, self.only = world, only
        start = world.scenario.initial_state()
        self.numbers: dict[State, int] = {start: 0}
        self.states = [start]
        self.parents = array("q", [-1])
        self.successors, self.ends = array("I"), array("I")
        self.interned: defaultdict[type, dict[Any, Any]] = defaultdict(dict)
        self.transitions = self.quiescent = 0

    def run(self) -> Exploration:
        violation, number = None, 0
        while violation is None and number < len(self.states):
            violation = self._expand(number)
            number += 1
        if violation is None and self.only in ENDLESS:
            violation = self._endless()
        return Exploration(len(self.states), self.transitions, len(self.successors), self.quiescent, violation)

    def _expand(self, number: int) -> Violation | None:
        state = self.states[number]
        before = len(self.successors)
        for step in self.world.steps(state):
            self.transitions += 1
            following = self.numbers.get(step.state)
            if following is None:
                following = self._add(step.state, number)
            if step.fair:
                self.successors.append(following)
            if step.broken and self.only in step.broken:
                return Violation(step.broken, (*self._trace(number), step.text))
        self.ends.append(len(self.successors))
        if len(self.successors) == before:
            self.quiescent += 1
            broken = broken_when_quiescent(state, self.world.scenario)
            if broken and self.only in broken:
                return Violation(broken, self._trace(number))
        return None

    def _add(self, state: State, parent: int) -> int:
        """Add a state; equal parts of states are stored once."""
        shared = State._make(self.interned[type(part)].setdefault(part, part) for part in state)
        number = self.numbers[shared] = len(self.states)
        self.states.append(shared)
        self.parents.append(parent)
        return number

    # ---- liveness

    def _endless(self) -> Violation | None:
        """Search for a cycle of fair steps, depth first."""
        marks = bytearray(len(self.states))
        left = array("I", (0, *self.ends[:-1]))  # the next successor to visit of each state
        for start in range(len(self.states)):
            path = [start] if marks[start] == _NEW else []
            while path:
                number = path[-1]
                marks[number] = _OPEN
                if left[number] == self.ends[number]:
                    marks[number] = _CLOSED
                    path.pop()
                    continue
                following = self.successors[left[number]]
                left[number] += 1
                if marks[following] == _OPEN:
                    cycle = path[path.index(following) :]
                    return Violation(ENDLESS, (*self._trace(cycle[0]), "from here on:", *self._texts(cycle)))
                if marks[following] == _NEW:
                    path.append(following)
        return None

    # ---- traces

    def _trace(self, number: int) -> tuple[str, ...]:
        path = [number]
        while (parent := self.parents[path[-1]]) >= 0:
            path.append(parent)
        return self._texts(path[::-1], closed=False)

    def _texts(self, path: list[int], *, closed: bool = True) -> tuple[str, ...]:
        """Describe the steps along a path, and back to its beginning if it is closed."""
        following = [*path[1:], path[0]] if closed else path[1:]
        return tuple(self._text(before, self.states[after]) for before, after in zip(path, following, strict=False))

    def _text(self, number: int, after: State) -> str:
        return next(step.text for step in self.world.steps(self.states[number]) if step.state == after)
