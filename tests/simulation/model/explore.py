"""Breadth-first exploration: complete within a scenario's bounds, shortest trace first."""

from __future__ import annotations

import gc
from array import array
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.simulation.model.guards import removed
from tests.simulation.model.invariants import broken_when_quiescent, is_quiescent
from tests.simulation.model.replay import Machine, small_limits
from tests.simulation.model.state import State
from tests.simulation.model.steps import World

if TYPE_CHECKING:
    from tests.simulation.model.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Violation:
    what: str
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exploration:
    """What an exploration found.

    Attributes:
        quiescent: states in which nothing was in flight, so that the table was compared with Plaid.
    """

    states: int
    transitions: int
    quiescent: int
    violation: Violation | None


def explore(scenario: Scenario, without: frozenset[str] = frozenset(), only: str = "") -> Exploration:
    """Visit every state of a scenario, or stop at the first that breaks an invariant.

    Args:
        scenario: the bounds.
        without: guards to remove.
        only: a part of the text of the violations that count; empty: all count.
    """
    with small_limits(), removed(without):
        gc.disable()  # nothing here becomes garbage, and collecting takes half of the time
        try:
            return _Search(World(scenario, Machine(), without), only).run()
        finally:
            gc.enable()


class _Search:
    def __init__(self, world: World, only: str) -> None:
        self.world, self.only = world, only
        start = world.scenario.initial_state()
        self.numbers: dict[State, int] = {start: 0}
        self.states = [start]
        self.parents = array("q", [-1])
        self.interned: defaultdict[type, dict[Any, Any]] = defaultdict(dict)
        self.transitions = self.quiescent = 0

    def run(self) -> Exploration:
        violation, number = None, 0
        while violation is None and number < len(self.states):
            violation = self._expand(number)
            number += 1
        return Exploration(len(self.states), self.transitions, self.quiescent, violation)

    def _expand(self, number: int) -> Violation | None:
        state = self.states[number]
        dead_end = True
        for step in self.world.steps(state):
            dead_end = False
            self.transitions += 1
            broken = step.broken
            if step.state not in self.numbers:
                following = self._add(step.state, number)
                if not broken and is_quiescent(following):
                    self.quiescent += 1
                    broken = broken_when_quiescent(following, self.world.scenario.ids)
            if broken and self.only in broken:
                return Violation(broken, (*self._trace(number), step.text))
        if dead_end and not is_quiescent(state):
            return Violation("deadlock: nothing can happen, and something is in flight", self._trace(number))
        return None

    def _add(self, state: State, parent: int) -> State:
        """Add a state; equal parts of states are stored once."""
        shared = State._make(self.interned[type(part)].setdefault(part, part) for part in state)
        self.numbers[shared] = len(self.states)
        self.states.append(shared)
        self.parents.append(parent)
        return shared

    def _trace(self, number: int) -> tuple[str, ...]:
        texts: list[str] = []
        while (parent := self.parents[number]) >= 0:
            after = self.states[number]
            texts += [step.text for step in self.world.steps(self.states[parent]) if step.state == after][:1]
            number = parent
        return tuple(reversed(texts))
