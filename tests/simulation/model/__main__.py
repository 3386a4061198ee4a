"""Command line: explore the protocol completely, with all of its guards and without each of them."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from tests.simulation.model.explore import Exploration, explore
from tests.simulation.model.guards import BY_NAME, GUARDS, Guard
from tests.simulation.model.scenarios import ALL, SECOND_LINE, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.model.scenarios import Scenario


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.model", description=__doc__)
    names = ", ".join(sorted(BY_NAME))
    parser.add_argument(
        "--without",
        choices=sorted(BY_NAME),
        metavar="GUARD",
        help=f"remove a guard and print the shortest trace to a violation: {names}",
    )
    name = parser.parse_args().without
    return _explore_without(BY_NAME[name]) if name else _explore_all()


def _explore_without(guard: Guard) -> int:
    """Search for a violation without this guard; without a guard that is needed there must be one."""
    found = _until_violation(_scenarios_of(guard), guard.name)
    if not found[-1].violation:
        _print(f"{_states(found):,} states: no trace within the bounds needs {guard.name}")
    return int(guard.second_line == bool(found[-1].violation))


def _explore_all() -> int:
    _print("With all guards:")
    began = time.monotonic()
    found = _until_violation(ALL)
    if found[-1].violation:
        _print("The protocol is broken; removing guards would prove nothing before it is fixed.")
        return 1
    fair = sum(result.fair for result in found)
    _print(
        f"{_states(found):,} states, {sum(result.transitions for result in found):,} transitions, "
        f"{time.monotonic() - began:.0f} s\n"
        f"  safety: no step and no quiescent state violates an invariant\n"
        f"  liveness: {fair:,} transitions need neither a fault nor a change at Plaid; they form no cycle, "
        f"and each of the {sum(result.quiescent for result in found):,} states where they end equals Plaid"
    )
    _print("\nWithout each guard:")
    results = [_remove(guard) for guard in GUARDS]
    _print("\nPrint a trace: python -m tests.simulation.model --without GUARD")
    return int(not all(results))


def _remove(guard: Guard) -> bool:
    """Return whether the guard is needed, or a second line that is not needed."""
    found = _until_violation(SECOND_LINE if guard.second_line else _scenarios_of(guard), guard.name, verbose=False)
    violation = found[-1].violation
    if violation:
        text, ok = f"{violation.what} (in {len(violation.trace)} steps)", not guard.second_line
    elif guard.second_line:
        text, ok = "second line: not needed while the other guards hold", True
        if guard.protects:
            text, ok = _without_the_fence(guard, text)
    else:
        text, ok = "NO VIOLATION, but the guard is needed", False
    _print(f"  {guard.name:23}{_states(found):>9,} states  {text}")
    return ok


def _without_the_fence(guard: Guard, text: str) -> tuple[str, bool]:
    """Show that a second line keeps an invariant by itself once the fence is removed."""
    scenario = next(scenario for scenario in SMALL if scenario.name == "paused worker")
    found = explore(scenario, frozenset({"fence", guard.name}), guard.protects).violation
    if found and not explore(scenario, frozenset({"fence"}), guard.protects).violation:
        return f"{text}; without the fence, too: {found.what}", True
    return f"{text}; BUT IT PROTECTS NOTHING without the fence either", False


def _scenarios_of(guard: Guard) -> list[Scenario]:
    return [scenario for scenario in SMALL if guard.scenario in ("", scenario.name)]


def _until_violation(scenarios: Iterable[Scenario], *without: str, verbose: bool = True) -> list[Exploration]:
    """Explore scenarios up to the first violation; print it and the counts if `verbose`."""
    results: list[Exploration] = []
    for scenario in scenarios:
        result = explore(scenario, frozenset(without))
        results.append(result)
        if verbose:
            label = f"{scenario.name} ({scenario.reporting})"
            _print(f"  {label:66}{result.states:>9,} states {result.transitions:>10,} transitions")
        if result.violation:
            if verbose:
                _print(f"\nVIOLATION: {result.violation.what}")
                for number, text in enumerate(result.violation.trace, start=1):
                    _print(f"  {number:>3}. {text}")
            break
    return results


def _states(results: list[Exploration]) -> int:
    return sum(result.states for result in results)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
