"""Command line: explore the protocol completely, as it is and without each of its guards."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.model.explore import Exploration, explore
from tests.model.guards import BY_NAME, GUARDS, Guard
from tests.model.scenarios import ALL, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.model.state import Scenario

SECOND_LINE = {"one change, a frozen worker", "a frozen worker", "one that was removed", "webhooks repeated"} | {
    "cursor rejected, history incomplete"
}
"""Where removing a second line must break nothing; `--without` searches all small bounds."""


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=sorted(BY_NAME),
        metavar="GUARD",
        help=f"take a guard away (repeatable) and show the shortest trace that needs it: {', '.join(sorted(BY_NAME))}",
    )
    options = parser.parse_args(arguments)
    show = _Show(quiet=options.json)
    if options.without:
        return _without(frozenset(options.without), show)
    return _everything(show)


def _without(names: frozenset[str], show: _Show) -> int:
    """Look for a violation without these guards; finding one is what a needed guard's removal must do."""
    results = _until_violation(_hinted(names), names, "", show)
    violated = results[-1].violation is not None
    show.document({"without": sorted(names), "explorations": [asdict(result) for result in results]})
    show.trace(results[-1])
    if not violated:
        show.line(f"{_states(results):,} states: no trace within the bounds needs {', '.join(sorted(names))}")
    needed = any(not BY_NAME[name].second_line for name in names)
    return int(needed != violated)


def _everything(show: _Show) -> int:
    show.line("As it is, completely:")
    full = _until_violation(ALL, frozenset(), "", show)
    if full[-1].violation:
        show.trace(full[-1])
        show.line("The protocol is broken. Taking guards away would prove nothing before this is mended.")
        show.document({"explorations": [asdict(result) for result in full], "ok": False})
        return 1
    show.line(
        f"{_states(full):,} states, {sum(result.transitions for result in full):,} transitions, "
        f"{sum(result.rests for result in full):,} states at rest compared with Plaid, "
        f"{sum(result.seconds for result in full):.0f} s: 0 violations\n\nWithout each guard:"
    )
    verdicts = [_verdict(guard, show) for guard in GUARDS]
    ok = all(verdict["ok"] for verdict in verdicts)
    show.document({"explorations": [asdict(result) for result in full], "guards": verdicts, "ok": ok})
    show.line("\nOne trace in full: python -m tests.model --without GUARD")
    return int(not ok)


def _verdict(guard: Guard, show: _Show) -> dict[str, Any]:
    name = frozenset({guard.name})
    scenarios = [one for one in SMALL if one.name in SECOND_LINE] if guard.second_line else _hinted(name)
    results = _until_violation(scenarios, name, "", show, tell=False)
    violation = results[-1].violation
    verdict: dict[str, Any] = {"guard": guard.name, "what": guard.what, "states": _states(results)}
    if violation:
        found = f"{violation.what} (in {len(violation.trace)} steps)"
        verdict |= {"ok": not guard.second_line, "violation": asdict(violation)}
    elif guard.second_line:
        found, verdict["ok"] = "second line: not needed while the others hold", True
        if guard.harm:
            found, verdict["ok"] = _alone(guard, found, show)
    else:
        found, verdict["ok"] = "NOTHING FOUND, but it is needed", False
    verdict["found"] = found
    show.line(f"  {guard.name:21}{verdict['states']:>9,} states  {found}")
    return verdict


def _alone(guard: Guard, found: str, show: _Show) -> tuple[str, bool]:
    """Show that a second line holds an invariant by itself once the fence is gone."""
    scenarios = [scenario for scenario in SMALL if scenario.name == "a frozen worker"]
    kept = _until_violation(scenarios, frozenset({"fence"}), guard.harm, show, tell=False)[-1].violation is None
    lost = _until_violation(scenarios, frozenset({"fence", guard.name}), guard.harm, show, tell=False)[-1].violation
    if kept and lost:
        return f"{found}; without the fence, too: {lost.what}", True
    return f"{found}; BUT IT HOLDS NOTHING without the fence either", False


def _hinted(names: frozenset[str]) -> list[Scenario]:
    """Return where a violation is to be looked for: the bounds that are known to need the guard, if it is one."""
    wanted = {BY_NAME[name].where for name in names} if len(names) == 1 else {""}
    return [scenario for scenario in SMALL if scenario.name in wanted or wanted == {""}]


def _until_violation(
    scenarios: Iterable[Scenario], without: frozenset[str], only: str, show: _Show, *, tell: bool = True
) -> list[Exploration]:
    results: list[Exploration] = []
    for scenario in scenarios:
        results.append(explore(scenario, without, only, show.progress))
        if tell:
            show.exploration(results[-1])
        if results[-1].violation:
            break
    return results


def _states(results: list[Exploration]) -> int:
    return sum(result.states for result in results)


class _Show:
    """Prints, unless one document is asked for; progress goes to the terminal's error stream."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def line(self, text: str) -> None:
        if not self._quiet:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def document(self, content: dict[str, Any]) -> None:
        if self._quiet:
            sys.stdout.write(f"{json.dumps(content, indent=2)}\n")

    def progress(self, seen: int, waiting: int, seconds: float) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r  {seen:,} states, {waiting:,} waiting, {seen / seconds:,.0f} states/s ")

    def exploration(self, result: Exploration) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        self.line(
            f"  {result.scenario:62}{result.states:>9,} states {result.transitions:>10,} transitions "
            f"{result.seconds:>5.1f} s {result.states / max(result.seconds, 0.001):>8,.0f}/s"
        )

    def trace(self, result: Exploration) -> None:
        if result.violation is None:
            return
        self.line(f"\nVIOLATION in {result.scenario!r}: {result.violation.what}")
        for number, text in enumerate(result.violation.trace, start=1):
            self.line(f"  {number:>3}. {text}")


if __name__ == "__main__":
    sys.exit(main())
