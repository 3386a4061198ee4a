"""The fast part of the model: small scenarios are safe and live, and a removed guard leads to a violation."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from tests.simulation.model.explore import ENDLESS, explore
from tests.simulation.model.guards import GUARDS
from tests.simulation.model.scenarios import SMALL
from tests.simulation.model.steps import World

if TYPE_CHECKING:
    from tests.simulation.model.guards import Guard

QUICK = frozenset({"one change, paused worker", "paused worker", "refusals", "parts, cursor rejected"})
SCENARIOS = {scenario.name: scenario for scenario in reversed(SMALL)}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_every_interleaving_is_safe_and_ends_with_a_table_equal_to_plaid(name: str) -> None:
    found = explore(SCENARIOS[name])

    assert found.violation is None, "\n".join(found.violation.trace)
    assert found.quiescent > 0


@pytest.mark.parametrize("guard", [guard for guard in GUARDS if guard.scenario in QUICK], ids=lambda guard: guard.name)
def test_a_removed_guard_leads_to_a_violation(guard: Guard) -> None:
    assert explore(SCENARIOS[guard.scenario], frozenset({guard.name})).violation is not None


def test_a_cursor_that_moves_before_the_last_rows_loses_them() -> None:
    violation = explore(SCENARIOS["crashes"], frozenset({"cursor-last"})).violation

    assert violation is not None
    assert violation.what == "b is absent in the table and 1 at Plaid"


def test_a_full_resync_that_is_not_remembered_never_ends() -> None:
    violation = explore(SCENARIOS["parts, cursor rejected"], frozenset({"reconcile-remembered"})).violation

    assert violation is not None
    assert violation.what == ENDLESS


@pytest.mark.parametrize("name", sorted(QUICK))
def test_the_reductions_hide_no_violation(name: str) -> None:
    with (
        patch.object(World, "_commutes", lambda *_: False),
        patch("tests.simulation.model.steps.canonical", lambda state: state),
    ):
        full = explore(SCENARIOS[name])

    assert full.violation is None, "\n".join(full.violation.trace)
    assert full.states > explore(SCENARIOS[name]).states
