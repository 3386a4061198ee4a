"""The tables of the benchmark."""

from __future__ import annotations

import pytest

from tests.bench import tables
from tests.bench.figures import Figure, Table

TABLE = Table(
    "sync",
    (
        Figure("a sync of 50 changes", "ms of CPU time", 20.0, baseline=80.0, floor=8.0, target=16.0),
        Figure("a sync of 0 changes", "ms of CPU time", 3.0, baseline=6.0, floor=2.0, target=4.0),
        Figure("calls", "KMS calls", 1.0, floor=0.0),
    ),
    "raw JSON",
)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_line_has_the_ratios_and_says_whether_the_target_is_met() -> None:
    title, _, _, _, missed, met, open_ended = tables.markdown(TABLE).splitlines()
    assert title == "sync; baseline: raw JSON."
    assert cells(missed)[2:] == ["80", "20", "0.25", "8", "2.5", "16", "missed"]
    assert cells(met)[2:] == ["6", "3", "0.5", "2", "1.5", "4", "met"]
    assert cells(open_ended)[2:] == ["", "1", "", "0", "", "", ""]


def test_the_text_has_the_same_cells_as_the_document() -> None:
    shown = tables.plain(TABLE)
    assert all(cell in shown for line in tables.markdown(TABLE).splitlines()[4:] for cell in cells(line))


def test_json_has_every_figure() -> None:
    (subject,) = tables.as_json([TABLE])
    assert subject["subject"] == "sync"
    assert [(figure["name"], figure["met"]) for figure in subject["figures"]] == [
        ("a sync of 50 changes", False),
        ("a sync of 0 changes", True),
        ("calls", None),
    ]


def test_a_table_replaces_its_former_one_in_a_document_and_no_other_text() -> None:
    document = "before\n\n<!-- sync -->\n\nold\n\n<!-- end -->\n\nbetween\n\n<!-- rows -->\n\nkept\n\n<!-- end -->\n"
    once = tables.put_into(document, [TABLE])
    assert tables.put_into(once, [TABLE]) == once
    before, after = once.split(tables.markdown(TABLE))
    assert before == "before\n\n<!-- sync -->\n\n"
    assert after == document.partition("old")[2]


def test_a_document_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for sync"):
        tables.put_into("text", [TABLE])
