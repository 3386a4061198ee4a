"""`restore`: copies rows of a restored table back, with what happened since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from plaid_sync_cli.bulk import progress
from plaid_sync_cli.command import Context, DryRunOption, OptionalItemsArgument, YesOption, command
from plaid_sync_cli.errors import CommandError, ExitCode, usage_error
from plaid_sync_cli.monitoring import mapping_state
from plaid_sync_cli.output import table
from plaid_sync_cli.restoring import Report, Restorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
RESTORE: Final = typer.Typer(no_args_is_help=True, help="Copy rows of a restored table back (docs/runbook.md).")
APP.add_typer(RESTORE, name="restore")
FromOption = Annotated[str, typer.Option("--from", metavar="TABLE", help="The restored table.")]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace rows that exist, not only missing ones.")]
_MEANINGS: Final = {
    "removed": "was removed since, and is removed again",
    "lost": "was linked since, and its access token is lost: let its user link again, have Plaid's support remove it",
    "imported": "was imported since: import it again",
    "unregistered": "was not registered yet at the restored time, and is removed at Plaid: let its user link again",
    "token_in_doubt": "its access token may have been replaced since: if it fails with INVALID_ACCESS_TOKEN, let its "
    "user link again with ?replace=, have Plaid's support remove it",
    "modified": "was modified meanwhile: run the command again",
    "unreadable": "its row is damaged",
    "unknown": "is not in the Items table: restore that first",
}
_REQUIRE_ACTION: Final = _MEANINGS.keys() - {"removed"}


@command(RESTORE, "items")
def items(  # noqa: PLR0913 - each is an option
    context: Context,
    source: FromOption,
    items: OptionalItemsArgument = None,
    *,
    replace: ReplaceOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Restore Items, and apply what the history knows of them since. The next sync of each is a full resync.

    Removed Items stay removed, and erased and withdrawn accounts closed. Exit code 1 if Items need their users.

    Example: `plaid-sync restore items --from plaid-sync-ItemsTable-1ABC-restored`
    """
    restore = Restorer.items
    return _run(context, restore, ("ItemsTable", source), items, replace=replace, dry_run=dry_run, yes=yes)


@command(RESTORE, "transactions")
def transactions(  # noqa: PLR0913 - each is an option
    context: Context,
    source: FromOption,
    items: OptionalItemsArgument = None,
    *,
    replace: ReplaceOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Restore transactions with your annotations, but none of an erased Item or account. Request a resync afterwards.

    With the stack's own table, which was restored under its name, it erases those.

    Example: `plaid-sync restore transactions --from plaid-sync-TransactionsTable-1ABC-restored`
    """
    restore = Restorer.transactions
    return _run(context, restore, ("TransactionsTable", source), items, replace=replace, dry_run=dry_run, yes=yes)


@command(RESTORE, "history")
def history(context: Context, source: FromOption, *, dry_run: DryRunOption = False, yes: YesOption = False) -> int:
    """Restore history entries that are missing; their events are not published again.

    Example: `plaid-sync restore history --from plaid-sync-HistoryTable-1ABC-restored`
    """
    return _run(context, Restorer.history, ("HistoryTable", source), None, dry_run=dry_run, yes=yes)


@command(RESTORE, "links")
def links(context: Context, *, dry_run: DryRunOption = False, yes: YesOption = False) -> int:
    """Restore the account claims that the Links table lacks, from the Items that hold them.

    Example: `plaid-sync restore links`
    """
    source = context.deployment.output("ItemsTable")
    return _run(context, Restorer.links, ("ItemsTable", source), None, dry_run=dry_run, yes=yes)


def _run(  # noqa: PLR0913 - each is an option
    context: Context,
    restore: Callable[[Restorer], None],
    tables: tuple[str, str],
    only: list[str] | None,
    *,
    replace: bool = False,
    dry_run: bool,
    yes: bool,
) -> int:
    """Restore a table; `tables` is the output that names the stack's table, and the table to read."""
    deployment, (name, source) = context.deployment, tables
    target = deployment.output(name)

    def run(report: Report, *, dry_run: bool) -> None:
        with progress(context.output.stderr, "restore", None) as advance:
            restore(Restorer(deployment, source, advance, replace, frozenset(only or ()), dry_run, report))

    _require_same_keys(deployment, source, target)
    if not dry_run:
        _require_pause(deployment)
        question = f"Restore {target} from {source}?"
        if restore is Restorer.items and not yes:
            preview = Report()
            run(preview, dry_run=True)
            question += _loss(preview)
        context.output.confirm(question, yes=yes)
    report = Report()
    try:
        run(report, dry_run=dry_run)
    finally:  # also of a part: what is restored is kept by the next run, and not named again
        context.output.show({"dry_run": dry_run, "rows": report.rows, "items": report.items}, lambda: _render(report))
    return ExitCode.ACTION_REQUIRED if _REQUIRE_ACTION & report.items.keys() else ExitCode.OK


def _require_same_keys(deployment: Deployment, source: str, target: str) -> None:
    dynamodb = deployment.client("dynamodb")
    keys = [dynamodb.describe_table(TableName=name)["Table"]["KeySchema"] for name in (source, target)]
    if keys[0] != keys[1]:
        raise usage_error(f"--from {source}", f"Give a restored copy of {target}: this table has another key.")


def _require_pause(deployment: Deployment) -> None:
    """Refuse while syncs run: a row that is restored after the full resync of its Item would not be compared."""
    if mapping_state(deployment) != "Disabled":
        raise CommandError("syncing is not paused", "Run plaid-sync pause first.", ExitCode.USAGE)


def _loss(preview: Report) -> str:
    """Return a warning if a restored table lacks Items: it may be the wrong one."""
    lost = len(preview.items.get("lost", ()))
    return f" Items in neither table, which become lost: {lost:,}." if lost else ""


def _render(report: Report) -> Iterator[RenderableType]:
    yield ", ".join(f"{count:,} {result}" for result, count in sorted(report.rows.items())) or "No rows."
    rows = [(item_id, _MEANINGS[what]) for what, ids in sorted(report.items.items()) for item_id in ids]
    if rows:
        yield table("item", "what", rows=rows)
