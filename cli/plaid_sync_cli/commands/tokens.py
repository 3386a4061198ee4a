"""`tokens`: exports access tokens, for another system that goes on with the Items at Plaid."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.domain.item import StateName
from plaid_sync.items_api.http import format_path_id

from plaid_sync_cli.api import ApiError, token_export_path
from plaid_sync_cli.bulk import RateLimiter, call_with_retries, parse_rate, request_each
from plaid_sync_cli.command import AllOption, Context, OptionalItemsArgument, RateOption, YesOption, command
from plaid_sync_cli.errors import CommandError, ExitCode, usage_error
from plaid_sync_cli.output import plural, private_file, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

APP: Final = typer.Typer()
TOKENS: Final = typer.Typer(no_args_is_help=True, help="Export access tokens, encrypted to your public key.")
APP.add_typer(TOKENS, name="tokens")


@dataclass(slots=True)
class Results:
    """What became of the Items.

    Attributes:
        exported: those whose file was written.
        kept: those whose file was there.
        refused: the others, with the reason.
        interrupted: whether Ctrl-C stopped it.
    """

    exported: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


@command(TOKENS, "export")
def export(  # noqa: PLR0913 - each is an option
    context: Context,
    items: OptionalItemsArgument = None,
    *,
    recipient: Annotated[str, typer.Option(metavar="age1...", help="The age public key to encrypt to.")],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write a file for each Item: ITEM_ID.age.")],
    all_items: AllOption = False,
    rate: RateOption = "2/s",
    yes: YesOption = False,
) -> int:
    """Export the access tokens and cursors of Items, each encrypted to your public key, for another system.

    Each export is in the Item's history, and published as an event. An Item whose file is there is not exported again:
    interrupted, the same command continues.

    Example: `plaid-sync tokens export --all --recipient age1... --output tokens`
    """
    limiter = RateLimiter(parse_rate(rate))
    if all_items == bool(items):
        raise usage_error("ITEM_ID", "Give the Items to export, or --all.")
    if not output.parent.is_dir() or output.is_file():
        raise usage_error(f"--output {output}", "Give a folder, or the name of a new one.")
    selected = items or [str(item["item_id"]) for item in _live_items(context)]
    context.output.confirm(f"Export the access tokens of {plural(len(selected), 'Item')} to {recipient}?", yes=yes)
    output.mkdir(mode=0o700, exist_ok=True)
    results = Results()

    def export_item(item_id: str) -> None:
        _export(context, item_id, (recipient, output), limiter, results)

    try:
        request_each(context.output.stderr, "export", selected, export_item, results.refused)
    except KeyboardInterrupt:
        results.interrupted = True
    document = {"exported": results.exported, "kept": results.kept, "refused": results.refused}
    context.output.show(document, lambda: _render(results, output))
    if results.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.ACTION_REQUIRED if results.refused else ExitCode.OK


def _live_items(context: Context) -> Iterator[dict[str, object]]:
    for item in context.api.pages("/items", "items", limit="100"):
        if item["state"] != StateName.REMOVED:
            yield item


def _export(context: Context, item_id: str, target: tuple[str, Path], limiter: RateLimiter, results: Results) -> None:
    """Export an Item into its file, unless that is there."""
    recipient, folder = target
    file = folder / f"{format_path_id(item_id)}.age"
    if file.exists():
        results.kept.append(item_id)
        return
    limiter.wait()
    try:
        body = {"recipient": recipient}
        shown = call_with_retries(lambda: context.api.call("POST", token_export_path(item_id), body))
    except ApiError as error:
        if error.document.get("field") == "recipient":  # of every Item
            raise CommandError(error.message, error.fix, error.exit_code) from error
        raise
    with private_file(file) as opened:
        opened.write(shown["encrypted"])
    results.exported.append(item_id)


def _render(results: Results, folder: Path) -> Iterator[RenderableType]:
    kept = f"; {plural(len(results.kept), 'file')} were there" if results.kept else ""
    yield f"Exported the access tokens of {plural(len(results.exported), 'Item')} to {folder}{kept}."
    if results.refused:
        yield table("refused", "why", rows=list(results.refused.items()))
    if results.interrupted:
        yield "Stopped. The same command continues."
