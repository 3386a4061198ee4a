"""Tables of figures as text, as JSON, and in a document."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.bench.figures import Figure, Table

COLUMNS: Final = (
    *("figure", "unit", "baseline", "this engine", "ratio to baseline", "floor", "ratio to floor", "target", "result"),
)
_NUMBERS: Final = slice(2, 8)
_ABSENT: Final = ""


def met(figure: Figure) -> bool | None:
    """Return whether a figure meets its target; None where it has none."""
    return None if figure.target is None else figure.ours <= figure.target


def plain(table: Table) -> str:
    """Return a table for a terminal."""
    rows = [COLUMNS, *map(_cells, table.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([_title(table), *lines])


def markdown(table: Table) -> str:
    """Return a table for a document."""
    rules = ["---"] * len(COLUMNS)
    rules[_NUMBERS] = ["---:"] * len(rules[_NUMBERS])
    rows = [COLUMNS, rules, *map(_cells, table.figures)]
    return "\n".join([f"{_title(table)}", "", *(f"| {' | '.join(row)} |" for row in rows)])


def as_json(tables: Iterable[Table]) -> list[dict[str, Any]]:
    return [
        {
            "subject": table.subject,
            "baseline": table.baseline,
            "figures": [asdict(figure) | {"met": met(figure)} for figure in table.figures],
        }
        for table in tables
    ]


def put_into(document: str, tables: Sequence[Table]) -> str:
    """Return the document with these tables in the place of their former ones: between comments with their subjects."""
    for table in tables:
        mark = re.escape(f"<!-- {table.subject} -->")
        if not re.search(mark, document):
            raise ValueError(f"the document has no place for {table.subject}")
        replacement = f"<!-- {table.subject} -->\n\n{markdown(table)}\n\n<!-- end -->"
        pieces = re.split(f"{mark}.*?<!-- end -->", document, maxsplit=1, flags=re.DOTALL)
        document = replacement.join(pieces)
    return document


def _title(table: Table) -> str:
    return f"{table.subject}; baseline: {table.baseline}." if table.baseline else f"{table.subject}."


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    numbers = range(*_NUMBERS.indices(len(COLUMNS)))
    return [
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _cells(figure: Figure) -> tuple[str, ...]:
    baseline, floor = figure.baseline, figure.floor
    return (
        figure.name,
        figure.unit,
        _number(baseline),
        _number(figure.ours),
        _number(figure.ours / baseline if baseline else None),
        _number(floor),
        _number(figure.ours / floor if floor else None),
        _number(figure.target),
        {True: "met", False: "missed", None: _ABSENT}[met(figure)],
    )


def _number(value: float | None) -> str:
    """Return a number with three significant digits, or whole."""
    if value is None:
        return _ABSENT
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
