"""The formats of an export: rows of the Transactions table as JSON lines, CSV or Parquet, with exact amounts."""

from __future__ import annotations

import base64
import csv
import unicodedata
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from plaid_sync.domain import exact_json
from plaid_sync.domain.clock import parse_timestamp
from plaid_sync.domain.transaction import plaid_object

from plaid_sync_cli.errors import CommandError, usage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Row = dict[str, Any]
FORMATS: Final = ("jsonl", "csv", "parquet")
COLUMNS: Final = (
    "item_id",
    "transaction_id",
    "account_id",
    "date",
    "authorized_date",
    "amount",
    "iso_currency_code",
    "unofficial_currency_code",
    "name",
    "merchant_name",
    "pending",
    "pending_transaction_id",
    "category",
    "payment_channel",
    "removed_at",
    "annotations",
)
UNREADABLE: Final = "unreadable_row"
AMOUNT_PRECISION: Final = 38
AMOUNT_SCALE: Final = 18
"""Decimals of a Parquet amount: more than any currency has, with 20 digits left before the point."""
_DATES: Final = frozenset({"date", "authorized_date"})
_REQUIRED: Final[dict[str, type]] = {"account_id": str, "date": str, "amount": Decimal, "pending": bool}
_ALL_DIGITS: Final = Context(prec=AMOUNT_PRECISION)
_ROW_GROUP: Final = 10_000
"""Rows of a Parquet row group, which are held in memory."""
_FORMULA_STARTS: Final = frozenset("=+-@\u2212")
"""What spreadsheets take for the beginning of a formula, after normalization; U+2212 is the minus sign."""
_CONTROLS: Final = frozenset({"Cc", "Cf"})


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """A row to be written.

    Attributes:
        attributes: the row's, as Python values.
        plaid: Plaid's whole object; None for a tombstone without content, and where it is unreadable.
        damaged: a live row that lacks what each has, or that another program has changed.
    """

    attributes: Row
    plaid: Row | None
    damaged: bool

    @classmethod
    def of(cls, attributes: Row) -> ExportedRow:
        """Read a row."""
        plaid = plaid_object(attributes)
        typed = all(isinstance(attributes.get(name), kind) for name, kind in _REQUIRED.items())
        readable = plaid is not None and typed and parse_date(attributes["date"]) is not None
        return cls(attributes, plaid, damaged="removed_at" not in attributes and not readable)

    @property
    def annotations(self) -> dict[str, Any] | None:
        """What the application has stored under `annotations`, as JSON values."""
        value = self.attributes.get("annotations")
        return {name: _plain(member) for name, member in value.items()} if isinstance(value, Mapping) else None


class RowWriter(Protocol):
    """Writes rows into a stream that the caller opens and closes."""

    def write(self, row: ExportedRow) -> None:
        """Write a row, at the latest with `close`."""

    def close(self) -> None:
        """Write what is left."""


def open_writer(file_format: str, stream: IO[Any]) -> RowWriter:
    """Return the writer of a format: of a binary stream for Parquet, otherwise of a text stream.

    Raises:
        CommandError: pyarrow is missing.
    """
    writers: dict[str, Callable[[IO[Any]], RowWriter]] = {
        "jsonl": _JsonLines,
        "csv": _Csv,
        "parquet": _Parquet,
    }
    return writers[file_format](stream)


def require(file_format: str) -> None:
    """Check that a format exists, and that what it needs is installed.

    Raises:
        CommandError: it does not, or is not.
    """
    if file_format not in FORMATS:
        raise usage_error(f"--format {file_format}", "Give jsonl, csv or parquet.")
    if file_format == "parquet":
        _pyarrow()


def write_rows(
    rows: Iterable[Row], stream: IO[Any], file_format: str, advance: Callable[[int], None]
) -> tuple[int, list[str]]:
    """Write rows, call `advance` for each, and return their number and the ids of damaged ones.

    Raises:
        CommandError: the format cannot hold an amount exactly.
    """
    count, unreadable = 0, []
    with closing(open_writer(file_format, stream)) as writer:
        for attributes in rows:
            row = ExportedRow.of(attributes)
            writer.write(row)
            unreadable += [str(attributes["transaction_id"])] if row.damaged else []
            count += 1
            advance(1)
    return count, unreadable


def parse_date(value: object) -> date | None:
    """Return a date that is written as `2026-02-28`; None for anything else."""
    try:
        found = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found and found.isoformat() == value else None


def _plain(value: Any) -> Any:  # noqa: ANN401 - any DynamoDB type
    """Convert to what JSON has: sets to sorted lists, bytes to Base64."""
    match value:
        case Mapping():
            return {name: _plain(member) for name, member in value.items()}
        case list():
            return [_plain(member) for member in value]
        case set():
            return sorted(map(_plain, value))
        case bytes():
            return base64.b64encode(value).decode()
    return value


class _JsonLines:
    """A JSON object in each line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, row: ExportedRow) -> None:
        """Write the columns and Plaid's whole object; of a damaged row what is readable, with `error`."""
        columns = {name: row.attributes.get(name) for name in COLUMNS if name != "annotations"}
        document: Row = {name: value for name, value in columns.items() if isinstance(value, str | bool | Decimal)}
        more = {"annotations": row.annotations, "plaid": row.plaid, "error": UNREADABLE if row.damaged else None}
        document |= {name: value for name, value in more.items() if value is not None}
        self._stream.write(exact_json.dumps(document) + "\n")

    def close(self) -> None:
        """See `RowWriter`."""


class _Csv:
    """CSV with a header. Every cell is quoted, so that a text with another separator, such as `;`, stays one cell."""

    def __init__(self, stream: IO[str]) -> None:
        self._writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._writer.writerow(COLUMNS)

    def write(self, row: ExportedRow) -> None:
        """See `RowWriter`."""
        self._writer.writerow(csv_cells(row))

    def close(self) -> None:
        """See `RowWriter`."""


def csv_cells(row: ExportedRow) -> list[str]:
    """Return a row's cells, in the order of `COLUMNS`."""
    return [_cell(row.annotations if name == "annotations" else row.attributes.get(name)) for name in COLUMNS]


def _cell(value: Any) -> str:  # noqa: ANN401 - any DynamoDB type
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return as_text(exact_json.dumps(value) if isinstance(value, dict | list) else str(value))


def as_text(text: str) -> str:
    """Return a text so that no spreadsheet takes it for a formula: such a text gets an apostrophe in front.

    A transaction's name is a stranger's text: the payer can write it. A text that begins with apostrophes and
    then so gets one, too, so that removing one always gives the text back.
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    bare = text.lstrip("'")
    normal = unicodedata.normalize("NFKC", bare)  # full-width variants, too
    visible = (each for each in normal if not each.isspace() and unicodedata.category(each) not in _CONTROLS)
    dangerous = bare[:1] in {"\t", "\r", "\n"} or next(visible, "") in _FORMULA_STARTS
    return f"'{text}" if dangerous else text


def _pyarrow() -> Any:  # noqa: ANN401 - a module without types
    """Import pyarrow, which only this format needs.

    Raises:
        CommandError: it is missing.
    """
    try:
        import pyarrow  # noqa: ICN001, PLC0415 - an optional extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        fix = "Install it: pipx install --force '.[cli,export]'. Or give --format jsonl or csv."
        raise usage_error("--format parquet needs pyarrow", fix) from error
    return pyarrow


def parquet_schema() -> Any:  # noqa: ANN401 - a pyarrow.Schema
    """Return the columns of the Parquet files; `annotations` and `plaid` are JSON texts."""
    pa = _pyarrow()
    special = {
        **dict.fromkeys(_DATES, pa.date32()),
        "amount": pa.decimal128(AMOUNT_PRECISION, AMOUNT_SCALE),
        "pending": pa.bool_(),
        "removed_at": pa.timestamp("ms", tz="UTC"),
    }
    return pa.schema([(name, special.get(name, pa.string())) for name in (*COLUMNS, "plaid", "error")])


class _Parquet:
    """Parquet, in row groups of `_ROW_GROUP` rows."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._pyarrow, self._schema = _pyarrow(), parquet_schema()
        self._file = self._pyarrow.parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._rows: list[Row] = []

    def write(self, row: ExportedRow) -> None:
        """See `RowWriter`."""
        self._rows.append(_parquet_values(row))
        if len(self._rows) == _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """See `RowWriter`."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_batch(self._pyarrow.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


def _parquet_values(row: ExportedRow) -> Row:
    """Return a row's values in the types of the schema; null where another program stored another type."""
    values: Row = {name: value for name, value in row.attributes.items() if name in COLUMNS and isinstance(value, str)}
    values |= {name: parse_date(row.attributes.get(name)) for name in _DATES}
    pending = row.attributes.get("pending")
    return values | {
        "amount": _exact_amount(row.attributes),
        "pending": pending if isinstance(pending, bool) else None,
        "removed_at": parse_timestamp(row.attributes.get("removed_at")),
        "annotations": None if row.annotations is None else exact_json.dumps(row.annotations),
        "plaid": None if row.plaid is None else exact_json.dumps(row.plaid),
        "error": UNREADABLE if row.damaged else None,
    }


def _exact_amount(attributes: Row) -> Decimal | None:
    """Return the amount, if the column holds it exactly.

    Raises:
        CommandError: it does not.
    """
    amount = attributes.get("amount")
    if not isinstance(amount, Decimal):
        return None
    least = amount.normalize(_ALL_DIGITS)
    if least != amount or not _fits(least):
        raise CommandError(
            f"--format parquet: the amount {amount} of transaction {attributes['transaction_id']} of Item "
            f"{attributes['item_id']} is no decimal({AMOUNT_PRECISION},{AMOUNT_SCALE})",
            "Give --format jsonl or csv, which hold every amount.",
        )
    return least


def _fits(amount: Decimal) -> bool:
    exponent = amount.as_tuple().exponent
    return (
        isinstance(exponent, int) and exponent >= -AMOUNT_SCALE and amount.adjusted() < AMOUNT_PRECISION - AMOUNT_SCALE
    )
