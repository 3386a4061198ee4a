"""Prints a comparison: a table for people, or JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import simplejson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.conformance.comparing import Comparison, Verdict
from tests.conformance.differences import DYNAMODB_LOCAL, MINISTACK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.conformance.case import Case
    from tests.conformance.differences import Difference

_WIDTH_IN_A_FILE = 160
_GOOD = (Verdict.AS_DOCUMENTED, Verdict.EXPLAINED)


def print_report(comparison: Comparison, skipped: Mapping[str, str]) -> None:
    """Print the table, the differences and the sum."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_IN_A_FILE
    console.print(_table(comparison, skipped))
    _print_differences(console, comparison)
    _print_failures(console, comparison)
    for database, reason in skipped.items():
        console.print(Text(f"{database}: skipped: {reason}"))
    console.print(Text(summary(comparison)))


def summary(comparison: Comparison) -> str:
    """Return the outcome as a line."""
    cases = comparison.cases
    relied_on = [case for case in cases if case.relied_on]
    same = sum(comparison.same(case) for case in cases)
    databases = " and ".join(comparison.answers)
    pair = f"{same} answered alike, {len(cases) - same} not; " if len(comparison.answers) > 1 else ""
    verdicts = Counter(comparison.verdict(database, case) for database in comparison.answers for case in cases)
    bad = sum(count for verdict, count in verdicts.items() if verdict not in _GOOD) + len(comparison.outdated())
    end = "every difference from AWS's documentation is explained" if comparison.passed else f"{bad} to look into"
    return f"{len(cases)} cases, {len(relied_on)} of which the engine relies on, on {databases}: {pair}{end}"


def as_json(comparison: Comparison, skipped: Mapping[str, str], seconds: Mapping[str, float]) -> str:
    """Return everything as JSON."""
    document = {
        "passed": comparison.passed,
        "summary": summary(comparison),
        "seconds": {database: round(taken, 1) for database, taken in seconds.items()},
        "skipped": dict(skipped),
        "cases": [_as_data(comparison, case) for case in comparison.cases],
        "differences": [asdict(one) for one in comparison.seen()],
        "outdated": [asdict(one) for one in comparison.outdated()],
    }
    return simplejson.dumps(document, indent=2, ensure_ascii=False)


def _as_data(comparison: Comparison, case: Case) -> dict[str, Any]:
    return {
        "group": case.group,
        "case": case.name,
        "relied_on": case.relied_on,
        "documented": case.documented,
        "answers": {database: answers[case.name] for database, answers in comparison.answers.items()},
        "same": comparison.same(case),
        "verdicts": {database: comparison.verdict(database, case).value for database in comparison.answers},
    }


def _table(comparison: Comparison, skipped: Mapping[str, str]) -> Table:
    table = Table(title="● the engine relies on it", title_justify="left")
    for heading, ratio in (("", None), ("case", 3), (MINISTACK, 4), (DYNAMODB_LOCAL, 4), ("same?", None)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for group in dict.fromkeys(case.group for case in comparison.cases):
        table.add_section()
        for case in comparison.cases:
            if case.group == group:
                table.add_row(*_cells(comparison, case, skipped))
    return table


def _cells(comparison: Comparison, case: Case, skipped: Mapping[str, str]) -> list[Text]:
    answers = [
        Text("skipped", "dim")
        if database in skipped
        else Text(
            comparison.answers[database][case.name], "" if comparison.verdict(database, case) in _GOOD else "bold red"
        )
        for database in (MINISTACK, DYNAMODB_LOCAL)
    ]
    alike = "-" if skipped else "yes" if comparison.same(case) else "no"
    return [Text("●" if case.relied_on else ""), Text(case.name), *answers, Text(alike)]


def _print_differences(console: Console, comparison: Comparison) -> None:
    seen = comparison.seen()
    console.print(Text("\nKnown differences from AWS's documentation, none of which the engine relies on", "bold"))
    for case in comparison.cases:
        differences = [one for one in seen if one.case == case.name]
        if differences:
            console.print(Text(f"  {case.name}", "bold"))
            for line in dict.fromkeys(_explanation(comparison, case, differences)):
                console.print(Text(f"    {line}"), soft_wrap=True)
    console.print()


def _explanation(comparison: Comparison, case: Case, differences: Sequence[Difference]) -> Iterator[str]:
    for database, answers in comparison.answers.items():
        right = "   (as AWS documents it)" if comparison.verdict(database, case) is Verdict.AS_DOCUMENTED else ""
        yield f"{database}: {answers[case.name]}{right}"
    yield f"AWS: {case.documented or 'not documented'}"
    for one in differences:
        yield f"Documentation: {one.documentation}"
    for one in differences:
        yield f"For the engine ({one.database}): {one.consequence}"


def _print_failures(console: Console, comparison: Comparison) -> None:
    for database, answers in comparison.answers.items():
        for case in comparison.cases:
            verdict = comparison.verdict(database, case)
            if verdict not in _GOOD:
                console.print(Text(f"{database}: {case.name}: {verdict.value}", "bold red"))
                console.print(Text(f"    answered: {answers[case.name]}\n    AWS:      {case.documented}"))
    for one in comparison.outdated():
        console.print(Text(f"{one.database}: {one.case}: no longer answers {one.answer!r}: explain anew", "bold red"))
