"""The fast part of the model: the small bounds, and that a missing guard shows."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from tests.model.explore import explore
from tests.model.guards import GUARDS
from tests.model.scenarios import SMALL
from tests.model.steps import World

QUICK = frozenset({"one change, a frozen worker", "a frozen worker"})
FIRST = {scenario.name: scenario for scenario in reversed(SMALL)}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_no_interleaving_of_two_workers_breaks_an_invariant(name: str) -> None:
    found = explore(FIRST[name])

    assert found.violation is None, "\n".join(found.violation.trace)
    assert found.rests > 0


@pytest.mark.parametrize("guard", [guard.name for guard in GUARDS if guard.where in QUICK])
def test_a_trace_needs_the_guard(guard: str) -> None:
    where = next(one.where for one in GUARDS if one.name == guard)

    assert explore(FIRST[where], frozenset({guard})).violation is not None


def test_a_cursor_that_moves_before_the_last_rows_loses_them() -> None:
    violation = explore(FIRST["crashes"], frozenset({"cursor-last"})).violation

    assert violation is not None
    assert violation.what == "b is absent in the table and 1 at Plaid"


@pytest.mark.parametrize("name", sorted(QUICK))
def test_nothing_hides_behind_the_order_that_the_model_leaves_out(name: str) -> None:
    with patch.object(World, "_at_once", lambda *_: False), patch("tests.model.steps.simplest", lambda state: state):
        plain = explore(FIRST[name])

    assert plain.violation is None, "\n".join(plain.violation.trace)
    assert plain.states > explore(FIRST[name]).states


def test_the_same_bounds_are_explored_in_the_same_way_every_time() -> None:
    first, second = (explore(FIRST["a frozen worker"]) for _ in range(2))

    assert (first.states, first.transitions) == (second.states, second.transitions)
