"""Rows of the Transactions table as JSON lines or CSV: amounts digit for digit, files whole or not at all."""

from __future__ import annotations

import csv
import os
import sys
import zlib
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, Final, TextIO

from plaid_sync.adapters.dynamodb.expressions import Expression, deserialize
from plaid_sync.core import exact_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from plaid_sync_cli.deployment import Deployment

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
FORMATS: Final = ("jsonl", "csv")
Row = dict[str, Any]


def rows_of(deployment: Deployment, item_id: str, *, removed: bool) -> Iterator[Row]:
    """Iterate over an Item's rows, consistently, in the order of their ids: live ones, or tombstones, too.

    Rows that only an application has written to are left out: they are no transactions.
    """
    expression = Expression()
    request: dict[str, Any] = {
        "TableName": deployment.output("TransactionsTable"),
        "ConsistentRead": True,
        "KeyConditionExpression": expression.equals("item_id", item_id),
    }
    engine = f"attribute_exists({expression.name('generation')})"
    live = "" if removed else f" AND {expression.equals('removed_at', None)}"
    pages = (
        deployment.client("dynamodb")
        .get_paginator("query")
        .paginate(**request, FilterExpression=engine + live, **expression.arguments())
    )
    for page in pages:
        yield from map(deserialize, page["Items"])


def json_line(row: Row) -> str:
    """Return a row as a line: its columns, and Plaid's own object whole."""
    columns = {name: row[name] for name in COLUMNS if row.get(name) is not None}
    plaid = {"plaid": exact_json.loads(zlib.decompress(bytes(row["plaid"])))} if row.get("plaid") else {}
    return exact_json.dumps(columns | plaid)


def csv_cells(row: Row) -> list[str]:
    """Return a row's cells, in the order of `COLUMNS`."""
    return [_cell(row.get(name)) for name in COLUMNS]


def _cell(value: Any) -> str:  # noqa: ANN401 - any of DynamoDB's types
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return exact_json.dumps(value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def write(rows: Iterable[Row], stream: TextIO, kind: str, told: Callable[[int], None]) -> int:
    """Write rows; return how many.

    Args:
        rows: which.
        stream: where to.
        kind: `jsonl` or `csv`.
        told: is told of each.
    """
    count = 0
    writer = csv.writer(stream, lineterminator="\n")
    if kind == "csv":
        writer.writerow(COLUMNS)
    for row in rows:
        if kind == "csv":
            writer.writerow(csv_cells(row))
        else:
            stream.write(json_line(row) + "\n")
        count += 1
        told(1)
    return count


@contextmanager
def target(path: Path | None) -> Iterator[TextIO]:
    """Open standard output, or a file that is there, whole, once the `with` block has ended well, and else not at all.

    Only its owner may read it: it holds bank data.
    """
    if path is None:
        yield sys.stdout
        return
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False, newline="") as partial:
        try:
            yield partial  # type: ignore[misc] # it is a TextIO in all but name
            partial.flush()
            os.fsync(partial.fileno())
            Path(partial.name).replace(path)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise
