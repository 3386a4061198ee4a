"""`import` and `undo-import`: Items that another system linked move in, and get their webhooks back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.domain.transitions import LIVE_STATES

from plaid_sync_cli.api import ApiError, annotations_path, item_path
from plaid_sync_cli.bulk import RateLimiter, call_with_retries, parse_rate, progress, request_each
from plaid_sync_cli.command import (
    AllOption,
    Context,
    DryRunOption,
    OptionalItemsArgument,
    RateOption,
    YesOption,
    command,
)
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.import_files import ImportEntry, read_imports
from plaid_sync_cli.monitoring import item_ids
from plaid_sync_cli.output import plural, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

APP: Final = typer.Typer()
IMPORTED_ID: Final = "imported_id"
"""The annotation that has the other system's own id of a transaction."""
_MAX_SHOWN: Final = 20
_NO_ROW: Final = frozenset({"transaction_not_found", "transaction_removed"})


@dataclass(slots=True)
class ImportResults:
    """The results of the entries of a file.

    Attributes:
        counts: how many entries had each outcome; `failed` for those that were refused.
        failures: the others: where in the file, the code and the fix.
        duplicates: for imported Items, other Items of the user with the same bank accounts.
        annotated: how many transactions have the other system's id as an annotation.
        not_stored: ids in the file of transactions that the table does not have.
        interrupted: whether it was interrupted: the same command continues.
    """

    counts: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    duplicates: dict[str, list[str]] = field(default_factory=dict)
    annotated: int = 0
    not_stored: list[str] = field(default_factory=list)
    interrupted: bool = False

    def count(self, outcome: str) -> None:
        """Count an entry."""
        self.counts[outcome] = self.counts.get(outcome, 0) + 1

    def add_failure(self, line: int, error: ApiError) -> None:
        """Note what was refused."""
        self.failures.append({"line": line, "code": error.code, "message": error.message, "fix": error.fix})


@dataclass(slots=True)
class RestoreResults:
    """The results of `undo-import`.

    Attributes:
        restored: the Items whose webhooks go where they did before.
        skipped: those that were linked here.
        refused: the others, with the reason.
        interrupted: whether it was interrupted: the same command continues.
    """

    restored: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


@command(APP, "import")
def import_items(  # noqa: PLR0913 - each is an option
    context: Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="JSON Lines or CSV: access_token, client_user_id, cursor, transaction_ids.",
        ),
    ],
    *,
    annotate: Annotated[
        bool,
        typer.Option("--annotate", help=f"Then annotate the transactions in transaction_ids with your {IMPORTED_ID}."),
    ] = False,
    rate: RateOption = "2/s",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Import Items that another system linked, without a relink: tokens, webhooks, and a first sync.

    The whole file is checked first. Interrupted, the same command continues: Items that are present stay as they are.
    Exit code 1 if an entry is refused.

    Example: `plaid-sync import items.jsonl --dry-run`
    """
    entries, limiter = read_imports(file), RateLimiter(parse_rate(rate))
    if not dry_run:
        text = f"Import {plural(len(entries), 'Item')}, and have Plaid send their webhooks to this stack?"
        context.output.confirm(text, yes=yes)
    results = ImportResults()
    try:
        with progress(context.output.stderr, "import", len(entries)) as advance:
            for entry in entries:
                item_id = _import(context, entry, limiter, results, dry_run=dry_run)
                if annotate and item_id is not None and not dry_run:
                    _annotate(context, item_id, entry, limiter, results)
                advance(1)
    except KeyboardInterrupt:
        results.interrupted = True
    finally:
        # Also where the rest cannot be sent: what is done is done.
        if results.counts:
            context.output.show(asdict(results), lambda: _render(results))
    if results.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.ACTION_REQUIRED if results.failures else ExitCode.OK


def _import(
    context: Context, entry: ImportEntry, limiter: RateLimiter, results: ImportResults, *, dry_run: bool
) -> str | None:
    """Import one Item; return it, unless it is refused.

    Raises:
        ApiError: the error concerns all Items, not this one.
    """
    body = entry.body | ({"dry_run": True} if dry_run else {})
    try:
        document = _send(lambda: context.api.call("POST", "/items/import", body), limiter)
    except ApiError as error:
        if error.concerns_all:
            raise
        results.count("failed")
        results.add_failure(entry.line, error)
        return None
    results.count(document["outcome"])
    item_id = str(document["item_id"])
    if document["duplicates"]:
        results.duplicates[item_id] = document["duplicates"]
    return item_id


def _send(call: Callable[[], Any], limiter: RateLimiter) -> Any:  # noqa: ANN401 - JSON
    limiter.wait()
    return call_with_retries(call)


def _annotate(context: Context, item_id: str, entry: ImportEntry, limiter: RateLimiter, results: ImportResults) -> None:
    """Annotate an Item's transactions with the other system's ids, beside what they are annotated with.

    Raises:
        ApiError: the error concerns all Items, not this one.
    """
    for transaction_id, own_id in entry.transaction_ids.items():
        path, body = annotations_path(item_id, transaction_id), {IMPORTED_ID: own_id}
        try:
            _send(lambda path=path, body=body: context.api.call("PATCH", path, body, if_match="*"), limiter)  # type: ignore[misc] # bound
        except ApiError as error:
            if error.concerns_all:
                raise
            if error.code in _NO_ROW:
                results.not_stored.append(transaction_id)
            else:
                results.add_failure(entry.line, error)
        else:
            results.annotated += 1


def _render(results: ImportResults) -> Iterator[RenderableType]:
    if results.counts:
        yield table("outcome", "Items", rows=[(name, f"{count:,}") for name, count in sorted(results.counts.items())])
    if results.failures:
        rows = [(str(each["line"]), str(each["message"]), str(each["fix"])) for each in results.failures[:_MAX_SHOWN]]
        yield table("line", "refused", "fix", rows=rows)
        if len(results.failures) > _MAX_SHOWN:
            yield f"and {len(results.failures) - _MAX_SHOWN:,} more; --json has all."
    if results.duplicates:
        rows_of = [(item_id, ", ".join(others)) for item_id, others in list(results.duplicates.items())[:_MAX_SHOWN]]
        yield table("Item", "holds accounts that these hold, too", rows=rows_of)
    if results.annotated or results.not_stored:
        yield f"{results.annotated:,} transactions annotated; {len(results.not_stored):,} are not stored."
    if results.interrupted:
        yield "Interrupted. The same command continues."


@command(APP, "undo-import")
def undo_import(
    context: Context,
    items: OptionalItemsArgument = None,
    *,
    all_items: AllOption = False,
    rate: RateOption = "2/s",
    yes: YesOption = False,
) -> int:
    """Have Plaid send the webhooks of imported Items where it did before the import.

    The Items stay, and are synced by routine. Importing them again switches their webhooks back. Items that were linked
    here are skipped.

    Example: `plaid-sync undo-import --all`
    """
    if all_items == bool(items):
        raise usage_error("ITEM_ID", "Give the Items whose webhooks to restore, or --all.")
    selected = items or sorted(item_ids(context.deployment, LIVE_STATES))
    context.output.confirm(f"Restore the webhook URLs of {plural(len(selected), 'Item')}?", yes=yes)
    results, limiter = RestoreResults(), RateLimiter(parse_rate(rate))

    def restore(item_id: str) -> None:
        _restore(context, item_id, limiter, results)

    try:
        request_each(context.output.stderr, "undo-import", selected, restore, results.refused)
    except KeyboardInterrupt:
        results.interrupted = True
    finally:
        context.output.show(asdict(results), lambda: _render_restored(results))
    if results.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.ACTION_REQUIRED if results.refused else ExitCode.OK


def _restore(context: Context, item_id: str, limiter: RateLimiter, results: RestoreResults) -> None:
    try:
        _send(lambda: context.api.call("DELETE", item_path(item_id, "webhook")), limiter)
    except ApiError as error:
        if error.code != "item_not_imported":
            raise
        results.skipped.append(item_id)
    else:
        results.restored.append(item_id)


def _render_restored(results: RestoreResults) -> Iterator[RenderableType]:
    restored, skipped = plural(len(results.restored), "Item"), len(results.skipped)
    yield f"Restored the webhook URL of {restored}; {skipped:,} were linked here."
    if results.refused:
        yield table("refused", "why", rows=list(results.refused.items()))
    if results.interrupted:
        yield "Interrupted. The same command continues."
