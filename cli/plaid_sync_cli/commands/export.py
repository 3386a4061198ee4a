"""`export`: writes transactions as JSON lines or CSV."""

from __future__ import annotations

import csv
import sys
import unicodedata
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize
from plaid_sync.aws.dynamodb.transactions import live_rows, written_by_engine
from plaid_sync.domain import exact_json
from plaid_sync.domain.transaction import plaid_object

from plaid_sync_cli.api import item_path
from plaid_sync_cli.bulk import progress
from plaid_sync_cli.command import AllOption, Context, OptionalItemsArgument, UserOption, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.monitoring import item_ids, item_indexes
from plaid_sync_cli.output import plural, private_file, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
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
)
_REQUIRED: Final[dict[str, type]] = {"account_id": str, "date": str, "amount": Decimal, "pending": bool}
_MAX_SHOWN: Final = 10
_FORMATS: Final = ("jsonl", "csv")
_FORMULA_STARTS: Final = frozenset("=+-@\u2212")
"""What spreadsheets take for the beginning of a formula, after normalization; U+2212 is the minus sign."""
_CONTROLS: Final = frozenset({"Cc", "Cf"})
Row = dict[str, Any]


@command(APP, "export")
def export(  # noqa: PLR0913 - each is an option
    context: Context,
    items: OptionalItemsArgument = None,
    user: UserOption = None,
    *,
    all_items: AllOption = False,
    file_format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="jsonl or csv.")] = "jsonl",
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A file; default: standard output.")
    ] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Include removed transactions.")] = False,
) -> int:
    """Write transactions as JSON lines (with Plaid's whole object) or CSV; amounts are exact decimals.

    With `--json` and `--output`, standard output has the number of transactions.

    Example: `plaid-sync export --all --format csv --output transactions.csv`
    """
    if file_format not in _FORMATS:
        raise usage_error(f"--format {file_format}", "Give jsonl or csv.")
    if (bool(items), user is not None, all_items).count(True) != 1:
        raise usage_error("ITEM_ID, --user or --all", "Give exactly one of them.")
    if file is not None and not file.parent.is_dir():
        raise usage_error(f"--output {file}", f"Create the folder {file.parent} first.")
    selected = _select(context, items or [], user)
    with (
        progress(context.output.stderr, "export", None) as advance,
        _open(file) as stream,
    ):
        rows = (row for item_id in selected for row in _rows(context.deployment, item_id, removed=removed))
        count, unreadable = write(rows, stream, file_format, advance)
    if unreadable:
        damaged = f"{plural(len(unreadable), 'row')} damaged: {', '.join(unreadable[:_MAX_SHOWN])}"
        context.output.log(f"{damaged}. plaid-sync audit ITEM_ID --repair repairs an Item's rows.")
    if file is not None:
        context.output.log(f"{plural(count, 'transaction')} of {plural(len(selected), 'Item')} in {file}.")
        if context.output.as_json:
            document = {"transactions": count, "items": len(selected), "file": str(file), "unreadable": unreadable}
            context.output.console.print(to_json(document))
    return ExitCode.ACTION_REQUIRED if unreadable else ExitCode.OK


def _select(context: Context, items: list[str], user: str | None) -> list[str]:
    for item_id in items:
        context.api.call("GET", item_path(item_id))  # an unknown Item is an error, not an empty file
    if items:
        return items
    if user is not None:
        return [str(item["item_id"]) for item in context.api.pages("/items", "items", client_user_id=user)]
    return sorted(item_ids(context.deployment, item_indexes(context.deployment).counts()))


def _rows(deployment: Deployment, item_id: str, *, removed: bool) -> Iterator[Row]:
    """Iterate over an Item's rows by transaction_id, with consistent reads: live ones, optionally removed ones.

    Rows that only an application has written to are skipped: they are not transactions. Damaged ones are not.
    """
    expression = Expression()
    request: dict[str, Any] = {
        "TableName": deployment.output("TransactionsTable"),
        "ConsistentRead": True,
        "KeyConditionExpression": expression.equals("item_id", item_id),
    }
    chosen = written_by_engine(expression) if removed else live_rows(expression)
    pages = (
        deployment.client("dynamodb")
        .get_paginator("query")
        .paginate(**request, FilterExpression=chosen, **expression.arguments())
    )
    for page in pages:
        yield from map(deserialize, page["Items"])


def _json_line(row: Row, plaid: Row | None, *, damaged: bool) -> str:
    """Format a row: its columns, and Plaid's whole object; of a damaged row what is readable, with `error`."""
    columns = {name: row[name] for name in COLUMNS if isinstance(row.get(name), str | bool | Decimal)}
    shown = {} if plaid is None else {"plaid": plaid}
    return exact_json.dumps(columns | shown | ({"error": "unreadable_row"} if damaged else {}))


def _is_damaged(row: Row, plaid: Row | None) -> bool:
    """Return whether a live row lacks what each has, or another program changed what it has to another type."""
    typed = all(isinstance(row.get(name), kind) for name, kind in _REQUIRED.items())
    return "removed_at" not in row and (plaid is None or not typed)


def csv_cells(row: Row) -> list[str]:
    """Return a row's cells, in the order of `COLUMNS`."""
    return [_cell(row.get(name)) for name in COLUMNS]


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


def write(
    rows: Iterable[Row], stream: TextIO, file_format: str, advance: Callable[[int], None]
) -> tuple[int, list[str]]:
    """Write rows, call `advance` for each, and return their number and the ids of damaged ones."""
    count, unreadable = 0, []
    # Every cell is quoted, so that a text with another separator, such as the semicolon, stays one cell.
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    if file_format == "csv":
        writer.writerow(COLUMNS)
    for row in rows:
        plaid = plaid_object(row)
        damaged = _is_damaged(row, plaid)
        if file_format == "csv":
            writer.writerow(csv_cells(row))
        else:
            stream.write(_json_line(row, plaid, damaged=damaged) + "\n")
        unreadable += [str(row["transaction_id"])] if damaged else []
        count += 1
        advance(1)
    return count, unreadable


@contextmanager
def _open(path: Path | None) -> Iterator[TextIO]:
    """Open standard output, or a file that only its owner may read: it has bank data."""
    if path is None:
        yield sys.stdout
        return
    with private_file(path) as stream:
        yield stream
