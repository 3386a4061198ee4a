"""Whether what a program puts out looks like what a document shows: the same lines, whatever the numbers and ids."""

from __future__ import annotations

import re
from typing import Final

_MASKS: Final = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"\b[A-Za-z0-9]{30,}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "ID"),
    (r"\d[\d,.:]*", "#"),
    (r"# (message|row|Item|transaction|dead letter)s\b", r"# \1"),
    (r" --(stack \S+|local)\b", ""),
    (r" +", " "),
)


def shape(line: str) -> str:
    """Return a line without what differs between two runs."""
    for pattern, mask in _MASKS:
        line = re.sub(pattern, mask, line)
    return line.strip()


def missing(shown: str, output: str) -> list[str]:
    """Return the lines of a document's example that have no like in the output; `…` stands for any number of lines.

    Rows of tables are data: their heading is compared.
    """
    there = {shape(line) for line in output.splitlines()}
    return [line for line in _compared(shown) if shape(line) not in there]


def _compared(shown: str) -> list[str]:
    compared, in_table = [], False
    for line in shown.splitlines():
        columns = len(re.split(r" {2,}", line.strip()))
        is_row, in_table = in_table, columns > 2 or (in_table and bool(line.strip()))
        if line.strip() and not is_row and not line.startswith("$ ") and line.strip() != "…" and not line.endswith("…"):
            compared.append(line)
    return compared
