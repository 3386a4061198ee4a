"""`export`: from a DynamoDB export to S3, in parts that an interrupted export continues, in bounded memory."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from plaid_sync.domain import exact_json
from plaid_sync.domain.transaction import plaid_object
from plaid_sync_cli.app import app
from plaid_sync_cli.export_formats import parquet_schema
from plaid_sync_cli.export_parts import MANIFEST, PartedExport
from plaid_sync_cli.export_sources import DynamoDbExport, Selection
from typer.testing import CliRunner, Result

from local.stack.paths import PROJECT
from tests.documents.reading import MARKDOWN
from tests.fakes.dynamodb_export import EXPORT_ARN, FIRST_DAY, stored_row, write_export

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plaid_sync_cli.export_sources import Position, Source

DOCUMENT = (PROJECT / "docs" / "exports.md").read_text(encoding="utf-8")
MEGABYTE = 1_000_000
EVERYTHING: dict[str, Any] = {"items": None, "user": None, "since": None, "until": None, "removed": False}


def export(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def peak_of_an_export(copy: Path, folder: Path) -> int:
    """Export as Parquet in a process of its own; return its peak memory in bytes."""
    arguments = ["export", "--from", str(copy), "--format", "parquet", "--directory", str(folder)]
    command = [sys.executable, "-m", "plaid_sync_cli", *arguments, "--part-rows", "30000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr:
        output = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, output
    return usage.ru_maxrss * 1024


def test_100_000_rows_read_back_equal_and_take_no_more_memory_than_a_tenth_of_them(tmp_path: Path) -> None:
    peaks = {}
    for count in (10_000, 100_000):
        copy = write_export(tmp_path / f"copy-{count}", map(stored_row, range(count)), 20_000)
        peaks[count] = peak_of_an_export(copy, tmp_path / str(count))
    assert peaks[100_000] - peaks[10_000] < 60 * MEGABYTE, peaks
    written = manifest(tmp_path / "100000")
    assert (written["rows"], written["complete"], len(written["parts"])) == (100_000, True, 4)
    names = ("item_id", "transaction_id", "account_id", "amount", "pending", "name", "category")
    query = "SELECT * FROM read_parquet(?) ORDER BY transaction_id"
    rows = duckdb.execute(query, [f"{tmp_path}/100000/*.parquet"])
    at = [column[0] for column in rows.description or ()]
    number = 0
    while chunk := rows.fetchmany(5_000):
        for values in chunk:
            found, stored = dict(zip(at, values, strict=True)), stored_row(number)
            assert [found[name] for name in names] == [stored[name] for name in names]
            assert (str(found["date"]), found["error"]) == (stored["date"], None)
            assert exact_json.loads(found["plaid"]) == plaid_object(stored)
            number += 1
    assert number == 100_000


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """An export of 25 rows in three files, the last of them empty; one is a tombstone, one an application's."""
    rows = [stored_row(number) for number in range(25)]
    rows[3]["removed_at"] = "2026-01-01T00:00:00.000Z"
    rows[4] = {"item_id": "item-0", "transaction_id": "transaction-000004", "annotations": {"note": "mine"}}
    rows[5]["annotations"] = {"note": "mine", "share": Decimal("0.5")}
    folder = write_export(tmp_path / "copy", rows, 13)
    with gzip.open(folder / "data" / "empty.json.gz", "w"):
        pass
    with (folder / "manifest-files.json").open("a") as stream:
        stream.write('{"itemCount": 0, "dataFileS3Key": "data/empty.json.gz"}\n')
    return folder


def lines_of(*arguments: str | Path) -> list[dict[str, Any]]:
    return [exact_json.loads(line) for line in export(*arguments).stdout.splitlines()]


def test_a_copied_export_gives_what_the_table_gives(copy: Path) -> None:
    lines = lines_of("--from", copy)
    assert [line["transaction_id"][-2:] for line in lines] == [f"{n:02}" for n in range(25) if n not in {3, 4}]
    assert all(line["plaid"] == plaid_object(stored_row(int(line["transaction_id"][-6:]))) for line in lines)
    assert [line["annotations"] for line in lines if "annotations" in line] == [
        {"note": "mine", "share": Decimal("0.5")}
    ]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--removed"], {*range(25)} - {4}),
        (["--since", "2025-01-10"], {*range(9, 25)}),
        (["--until", "2025-01-04"], {0, 1, 2}),
        (["--since", "2025-01-04", "--until", "2025-01-06", "--removed"], {3, 5}),
        (["item-1"], {*range(1, 25, 2)} - {3}),
    ],
    ids=str,
)
def test_rows_are_selected_by_date_removal_and_item(copy: Path, options: list[str], numbers: set[int]) -> None:
    assert {int(line["transaction_id"][-6:]) for line in lines_of("--from", copy, *options)} == numbers


def test_a_period_has_damaged_rows_but_no_tombstone_without_a_date() -> None:
    period = Selection(since=FIRST_DAY, removed=True)
    damaged = {name: value for name, value in stored_row(1).items() if name != "date"}
    assert period.has(damaged)
    assert period.has(damaged | {"date": "?"})
    assert not period.has(damaged | {"removed_at": "2026-01-01T00:00:00.000Z"})


class InterruptedExportError(Exception):
    """The process dies."""


class Failing:
    """A source that dies after some rows."""

    def __init__(self, source: Source, rows: int) -> None:
        self.source, self.left, self.name = source, rows, source.name

    def rows(self, after: Position | None) -> Iterator[tuple[Position, dict[str, Any]]]:
        for found in self.source.rows(after):
            if self.left == 0:
                raise InterruptedExportError
            self.left -= 1
            yield found


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_an_export_that_dies_at_any_row_is_continued_and_equals_one_that_does_not(
    copy: Path, tmp_path: Path, file_format: str
) -> None:
    source, selection = DynamoDbExport.at(copy, frozenset()), Selection()
    whole = tmp_path / "whole"
    PartedExport(whole, source, selection, file_format, 7).run({}, lambda _: None)
    for row in range(26):
        folder = tmp_path / f"died-{row}"
        with pytest.raises(InterruptedExportError) if row < 25 else nullcontext():
            PartedExport(folder, Failing(source, row), selection, file_format, 7).run({}, lambda _: None)
        assert manifest(folder)["complete"] is (row == 25)
        (folder / ".part-000002.jsonl.x7").write_text("what a killed process leaves")
        if row < 14:
            (folder / f"part-000002.{file_format}").write_text("complete, and not yet in the manifest")
        (folder / f"part-000009.{file_format}").write_text("of rows that are removed by now")
        (folder / "._manifest.json.x7").write_text("{")
        PartedExport(folder, source, selection, file_format, 7).run({}, lambda _: None)
        assert contents(folder) == contents(whole)


def test_the_manifest_has_counts_checksums_and_keys(copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    options = ("--from", copy, "--directory", folder, "--part-rows", "10", "--since", "2025-01-02")
    document = json.loads(export(*options, "--json").stdout)
    assert document == {"transactions": 22, "directory": str(folder), "parts": 3, "unreadable": []}
    found = manifest(folder)
    assert found["options"] == {
        "format": "jsonl",
        "export": EXPORT_ARN,
        "part_rows": 10,
        **EVERYTHING,
        "since": "2025-01-02",
    }
    assert (found["rows"], found["complete"], [part["rows"] for part in found["parts"]]) == (22, True, [10, 10, 2])
    for part in found["parts"]:
        data = (folder / part["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part["bytes"], part["sha256"])
        keys = [exact_json.loads(line)["transaction_id"] for line in data.splitlines()]
        assert (part["first"]["transaction_id"], part["last"]["transaction_id"]) == (keys[0], keys[-1])
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    before = contents(folder)
    export(*options)  # complete: nothing to do
    assert contents(folder) == before


def test_an_export_without_rows_has_one_part(copy: Path, tmp_path: Path) -> None:
    export("--from", copy, "nothing", "--format", "parquet", "--directory", tmp_path / "out")
    assert duckdb.read_parquet(f"{tmp_path}/out/*.parquet").aggregate("count(*), sum(amount)").fetchall() == [(0, None)]


def test_damaged_rows_of_earlier_parts_are_reported_again(tmp_path: Path) -> None:
    copy = write_export(tmp_path / "copy", [stored_row(1, plaid=b""), stored_row(3)])
    for _ in range(2):
        result = export("--from", copy, "--directory", tmp_path / "out", "--part-rows", "1", code=1)
        assert "1 row damaged: transaction-000001" in result.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--format", "csv"], "another format"),
        (["--since", "2025-01-01"], "another since"),
        (["--removed"], "another removed"),
        (["item-0"], "another items"),
        (["--part-rows", "7"], "another part_rows"),
    ],
)
def test_other_options_do_not_continue_an_export(copy: Path, tmp_path: Path, options: list[str], text: str) -> None:
    folder = tmp_path / "out"
    export("--from", copy, "--directory", folder)
    before = contents(folder)
    assert text in export("--from", copy, "--directory", folder, *options, code=2).stderr
    assert contents(folder) == before


def test_a_folder_with_other_files_or_a_changed_part_is_refused(copy: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "part-000001.csv").write_text("mine")
    assert "Give a new or an empty folder" in export("--from", copy, "--directory", used, code=2).stderr
    assert contents(used) == {"part-000001.csv": b"mine"}
    folder = tmp_path / "out"
    export("--from", copy, "--directory", folder)
    (folder / "part-000001.jsonl").write_text("edited")
    assert "not as it was written" in export("--from", copy, "--directory", folder, code=1).stderr


def test_two_exports_do_not_write_into_one_folder(copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    source = DynamoDbExport.at(copy, frozenset())

    def start_another(_: int) -> None:
        assert "another export" in export("--from", copy, "--directory", folder, code=2).stderr

    PartedExport(folder, source, Selection(), "jsonl", 20).run({}, start_another)
    assert manifest(folder)["complete"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def shorten(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).split(b"\n", 1)[1]))


def spoil(path: Path) -> None:
    first, second, *others = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join([first, second.replace(b'"S"', b'"N"'), *others])))


@pytest.mark.parametrize(
    ("damage", "text"),
    [(cut, "cannot be read"), (shorten, "12 items, and 13 in the manifest"), (spoil, "line 2 is no row")],
)
@pytest.mark.parametrize("continued", [True, False])
def test_a_damaged_copy_is_no_complete_export(
    copy: Path, tmp_path: Path, damage: Any, text: str, *, continued: bool
) -> None:
    if continued:
        source = Failing(DynamoDbExport.at(copy, frozenset()), 10)
        with pytest.raises(InterruptedExportError):
            PartedExport(tmp_path / "out", source, Selection(), "jsonl").run(EVERYTHING, lambda _: None)
    damage(min((copy / "data").iterdir()))
    result = export("--from", copy, "--directory", tmp_path / "out", code=1)
    assert text in result.stderr
    assert not manifest(tmp_path / "out")["complete"]


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("manifest-summary.json", None, "no manifest"),
        ("manifest-summary.json", ("FULL_EXPORT", "INCREMENTAL_EXPORT"), "INCREMENTAL_EXPORT"),
        ("manifest-summary.json", ("DYNAMODB_JSON", "ION"), "ION"),
        ("manifest-files.json", ("dataFileS3Key", "key"), "no manifest"),
        ("manifest-files.json", ("0000nf", "other"), "is missing"),
        ("manifest-files.json", ("AWSDynamoDB", "/etc"), ""),
    ],
)
def test_only_a_full_export_is_read(copy: Path, name: str, change: tuple[str, str] | None, text: str) -> None:
    file = copy / name
    if change is None:
        file.unlink()
    else:
        file.write_text(file.read_text().replace(*change))
    assert text in export("--from", copy, code=2 if text else 0).stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--from . --user a", "no users"),
        ("--from . a --all", "no users"),
        ("--all --since 2026-1-1", "--since 2026-1-1"),
        ("--all --until 20260101", "--until 20260101"),
        ("--all --since 2026-01-02 --until 2026-01-01", "is after"),
        ("--all --format parquet", "--directory"),
        ("--all --output a --directory b", "one of them"),
        ("--all --directory no/such", "Create the folder"),
        ("--all --directory b --part-rows 0", "--part-rows"),
    ],
)
def test_wrong_usage_names_the_fix(arguments: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert text in re.sub(r"[\s│]+", " ", export(*arguments.split(), code=2).stderr)
    assert not any(tmp_path.iterdir())


def test_parquet_without_pyarrow_says_how_to_install_it(copy: Path, tmp_path: Path) -> None:
    program = "import sys; sys.modules['pyarrow'] = None; from plaid_sync_cli import main; main()"
    arguments = ("export", "--from", str(copy), "--format", "parquet", "--directory", str(tmp_path / "out"))
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "pipx install --force '.[cli,export]'" in result.stderr
    assert not (tmp_path / "out").exists()


def blocks(language: str) -> list[str]:
    return [token.content for token in MARKDOWN.parse(DOCUMENT) if token.type == "fence" and token.info == language]


def test_the_documented_path_from_the_copy_to_duckdb_works(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = [line for line in "\n".join(blocks("sh")).splitlines() if line.startswith("plaid-sync export --from")]
    export(*line.replace("dynamodb-export", copy.name).split()[2:])
    _, query = blocks("sql")
    rows = [row for row in map(stored_row, range(25)) if row["transaction_id"][-2:] not in {"03", "04"}]
    expected = sum((row["amount"] for row in rows if not row["pending"]), Decimal())
    found = duckdb.execute(query).fetchall()
    assert found == [("2025-01", None, expected, len(rows) - 3)]


def test_the_documented_athena_table_has_the_columns_of_the_files() -> None:
    athena, _ = blocks("sql")
    types = {"date32[day]": "date", "bool": "boolean", "decimal128(38, 18)": "decimal(38,18)"}
    types["timestamp[ms, tz=UTC]"] = "timestamp"
    columns = [(field.name, types.get(str(field.type), str(field.type))) for field in parquet_schema()]
    assert re.findall(r"^  `?(\w+)`? ([\w(),]+?),?$", athena, re.MULTILINE) == columns
