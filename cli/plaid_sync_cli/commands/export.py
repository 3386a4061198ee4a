"""`export`: transactions as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.core.items import ItemStatus

from plaid_sync_cli import exporting
from plaid_sync_cli.api import item_path
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.output import plural, to_json
from plaid_sync_cli.progress import progress
from plaid_sync_cli.readings import item_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plaid_sync_cli.exporting import Row

APP: Final = typer.Typer()


@command(APP, "export")
def export(  # noqa: PLR0913 - each is an option
    context: Context,
    item: Annotated[str | None, typer.Option(help="Those of an item_id.")] = None,
    user: Annotated[str | None, typer.Option(help="Those of a client_user_id.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Those of all Items.")] = False,
    kind: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    file: Annotated[Path | None, typer.Option("--output", "-o", help="A file; without it, standard output.")] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Removed transactions, too.")] = False,
) -> int:
    """Write transactions as JSON lines (with Plaid's whole object) or CSV; amounts are exact decimals.

    With `--json` and a file, standard output tells how many there are.

    Example: `plaid-sync export --all --format csv --output transactions.csv`
    """
    if kind not in exporting.FORMATS:
        raise usage_error(f"--format {kind}", "Give jsonl or csv.")
    if sum((item is not None, user is not None, every)) != 1:
        raise usage_error("--item, --user or --all", "Give exactly one of them.")
    if file is not None and not file.parent.is_dir():
        raise usage_error(f"--output {file}", f"Make the folder {file.parent} first.")
    ids = _items(context, item, user)
    with (
        progress(context.output.notes, "export", None) as advance,
        exporting.target(file) as stream,
    ):
        count = exporting.write(_rows(context, ids, removed=removed), stream, kind, advance)
    if file is not None:
        context.output.say(f"{plural(count, 'transaction')} of {plural(len(ids), 'Item')} in {file}.")
        if context.output.as_json:
            context.output.console.print(to_json({"transactions": count, "items": len(ids), "file": str(file)}))
    return ExitCode.FINE


def _items(context: Context, item: str | None, user: str | None) -> list[str]:
    if item is not None:
        context.api.call("GET", item_path(item))  # an unknown one is a mistake, not an empty file
        return [item]
    if user is not None:
        return [str(one["item_id"]) for one in context.api.pages("/items", "items", client_user_id=user)]
    return sorted(item_ids(context.deployment, tuple(ItemStatus)))


def _rows(context: Context, ids: list[str], *, removed: bool) -> Iterator[Row]:
    for item_id in ids:
        yield from exporting.rows_of(context.deployment, item_id, removed=removed)
