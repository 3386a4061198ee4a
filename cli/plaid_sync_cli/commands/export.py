"""`export`: writes transactions as JSON lines, CSV or Parquet."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from plaid_sync_cli.api import item_path
from plaid_sync_cli.bulk import progress
from plaid_sync_cli.command import AllOption, Context, OptionalItemsArgument, UserOption, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.export_formats import parse_date, require, write_rows
from plaid_sync_cli.export_parts import PART_ROWS, PartedExport
from plaid_sync_cli.export_sources import DynamoDbExport, Selection, TableSource
from plaid_sync_cli.monitoring import item_ids, item_indexes
from plaid_sync_cli.output import plural, private_file, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from plaid_sync_cli.export_sources import Source

APP: Final = typer.Typer()
_MAX_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class _Written:
    """What an export has written: how many transactions, the ids of damaged ones, and where, for text and JSON."""

    count: int
    unreadable: list[str]
    place: str
    document: dict[str, Any]


@command(APP, "export")
def export(  # noqa: PLR0913 - each is an option
    context: Context,
    items: OptionalItemsArgument = None,
    user: UserOption = None,
    *,
    all_items: AllOption = False,
    copied: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Read a local copy of a DynamoDB export to S3.")
    ] = None,
    file_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="jsonl, csv or parquet (with --directory).")
    ] = "jsonl",
    since: Annotated[str | None, typer.Option("--since", metavar="DATE", help="First date: 2026-01-31.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DATE", help="Last date: 2026-01-31.")] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Include removed transactions.")] = False,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A file; default: standard output.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="Parts and a manifest; run again to continue.")
    ] = None,
    part_rows: Annotated[
        int, typer.Option("--part-rows", metavar="N", min=1, help="Transactions of a part of --directory.")
    ] = PART_ROWS,
) -> int:
    """Write transactions as JSON lines (with Plaid's whole object), CSV or Parquet; amounts are exact decimals.

    With `--json` and `--output` or `--directory`, standard output has the number of transactions.

    Example: `plaid-sync export --all --format parquet --directory transactions`
    """
    _check_places(file_format, file, directory)
    selection = _selection(since, until, removed=removed)
    source, query = _source(context, items or [], user, all_items=all_items, copied=copied)
    query |= {"since": since, "until": until, "removed": removed}
    with progress(context.output.stderr, "export", None) as advance:
        if directory is not None:
            manifest = PartedExport(directory, source, selection, file_format, part_rows).run(query, advance)
            document = {"directory": str(directory), "parts": len(manifest.parts)}
            place = f"{directory}, {plural(len(manifest.parts), 'part')}"
            written = _Written(manifest.rows, manifest.unreadable, place, document)
        else:
            with _open(file) as stream:
                rows = (row for _, row in source.rows(None) if selection.has(row))
                count, unreadable = write_rows(rows, stream, file_format, advance)
            written = _Written(count, unreadable, str(file or ""), {"file": str(file)} if file else {})
    return _report(context, source, written)


def _check_places(file_format: str, file: Path | None, directory: Path | None) -> None:
    require(file_format)
    if file is not None and directory is not None:
        raise usage_error("--output, --directory", "Give one of them.")
    if file_format == "parquet" and directory is None:
        raise usage_error("--format parquet", "Give --directory DIR: Parquet is written in parts.")
    for option, path in (("--output", file), ("--directory", directory)):
        if path is not None and not path.parent.is_dir():
            raise usage_error(f"{option} {path}", f"Create the folder {path.parent} first.")
    if directory is not None and directory.exists() and not directory.is_dir():
        raise usage_error(f"--directory {directory} is a file", "Give a folder.")


def _selection(since: str | None, until: str | None, *, removed: bool) -> Selection:
    first, last = _day("--since", since), _day("--until", until)
    if first and last and first > last:
        raise usage_error(f"--since {since} is after --until {until}", "Give the first date, then the last.")
    return Selection(since=first, until=last, removed=removed)


def _day(option: str, text: str | None) -> date | None:
    day = parse_date(text)
    if text is not None and day is None:
        raise usage_error(f"{option} {text}", "Give a date as 2026-01-31.")
    return day


def _source(
    context: Context, items: list[str], user: str | None, *, all_items: bool, copied: Path | None
) -> tuple[Source, dict[str, Any]]:
    """Return where to read, and what selects the rows there, for the manifest."""
    given = (bool(items), user is not None, all_items).count(True)
    query: dict[str, Any] = {"items": sorted(set(items)) or None, "user": user}
    if copied is not None:
        if user is not None or given > 1:
            raise usage_error("--from", "Give ITEM_ID, or nothing for all Items: an export has no users.")
        return DynamoDbExport.at(copied, frozenset(items)), query
    if given != 1:
        raise usage_error("ITEM_ID, --user or --all", "Give exactly one of them.")
    return TableSource(context.deployment, _item_ids(context, items, user)), query


def _item_ids(context: Context, items: list[str], user: str | None) -> list[str]:
    for item_id in items:
        context.api.call("GET", item_path(item_id))  # an unknown Item is an error, not an empty file
    if items:
        return sorted(set(items))
    if user is not None:
        return sorted(str(item["item_id"]) for item in context.api.pages("/items", "items", client_user_id=user))
    return sorted(item_ids(context.deployment, item_indexes(context.deployment).counts()))


def _report(context: Context, source: Source, written: _Written) -> int:
    if written.unreadable:
        damaged = f"{plural(len(written.unreadable), 'row')} damaged: {', '.join(written.unreadable[:_MAX_SHOWN])}"
        context.output.log(f"{damaged}. plaid-sync audit ITEM_ID --repair repairs an Item's rows.")
    if written.place:
        items = {"items": len(source.item_ids)} if isinstance(source, TableSource) else {}
        of_items = f" of {plural(items['items'], 'Item')}" if items else ""
        context.output.log(f"{plural(written.count, 'transaction')}{of_items} in {written.place}.")
        if context.output.as_json:
            document = {"transactions": written.count, **items, **written.document, "unreadable": written.unreadable}
            context.output.console.print(to_json(document), soft_wrap=True)
    return ExitCode.ACTION_REQUIRED if written.unreadable else ExitCode.OK


@contextmanager
def _open(path: Path | None) -> Iterator[IO[str]]:
    """Open standard output, or a file that only its owner may read: it has bank data."""
    if path is None:
        yield sys.stdout
        return
    with private_file(path) as stream:
        yield stream
