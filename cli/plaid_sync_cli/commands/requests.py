"""`sync`, `refresh`, `resync`, `rotate-token` and `remove`: requests to the Items API."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.domain.item import StateName

from plaid_sync_cli.api import ApiError, ItemApi, item_path
from plaid_sync_cli.bulk import RateLimiter, call_with_retries, parse_rate, progress
from plaid_sync_cli.command import (
    AllOption,
    Context,
    DryRunOption,
    ItemArgument,
    ItemsArgument,
    OptionalItemsArgument,
    RateOption,
    YesOption,
    command,
)
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.monitoring import item_ids
from plaid_sync_cli.output import duration, plural, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from plaid_sync_cli.output import Output

APP: Final = typer.Typer()
_RESYNCABLE: Final = (StateName.ACTIVE, StateName.EXPIRING, StateName.DEGRADED, StateName.NEEDS_USER)
"""The states in which the Items API accepts a resync."""


@dataclass(slots=True)
class Results:
    """The results of requests.

    Attributes:
        requested: the Items whose request was accepted.
        refused: the others, with the reason.
        stopped_at: the last Item before an interruption; None without one.
    """

    requested: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    stopped_at: str | None = None


@command(APP, "sync")
def sync(context: Context, items: ItemsArgument) -> int:
    """Request a sync of Items now. It goes through the queue: seconds, unless syncing is paused.

    Example: `plaid-sync sync eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6`
    """
    return _request_each(context, items, "sync")


@command(APP, "refresh")
def refresh(context: Context, items: ItemsArgument) -> int:
    """Have Plaid check the banks of Items for new transactions. Plaid bills each request.

    Example: `plaid-sync refresh eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6`
    """
    return _request_each(context, items, "refresh")


def _request_each(context: Context, items: list[str], action: str) -> int:
    results = Results()
    for item_id in items:
        _request(context.api, item_id, action, results)
    return _report(context, results, action)


@command(APP, "resync")
def resync(  # noqa: PLR0913 - each is an option
    context: Context,
    items: OptionalItemsArgument = None,
    *,
    all_items: AllOption = False,
    rate: RateOption = "2/s",
    after: Annotated[str | None, typer.Option(metavar="ITEM_ID", help="With --all: continue after this Item.")] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Request a full resync of Items: the next sync pulls the whole history, and removes what Plaid no longer has.

    Items are requested in the order of their ids. Ctrl-C stops between two, and prints the command that continues.

    Example: `plaid-sync resync --all --rate 30/min`
    """
    seconds = 1 / parse_rate(rate)
    selected = _select(context, items or [], after, all_items=all_items)
    span = duration(timedelta(seconds=len(selected) * seconds))
    if dry_run:
        document = {"would_resync": selected, "seconds": round(len(selected) * seconds)}
        context.output.show(document, lambda: [f"Would resync {plural(len(selected), 'Item')} in {span}.", *selected])
        return ExitCode.OK
    if all_items:
        context.output.confirm(f"Resync {plural(len(selected), 'Item')}, in {span}?", yes=yes)
    results = resync_all(context.api, context.output, selected, RateLimiter(1 / seconds))
    code = _report(context, results, "resync")
    if results.stopped_at is None:
        return code
    left = selected[selected.index(results.stopped_at) + 1 :]
    rest = ["--all", "--after", results.stopped_at] if all_items else left
    context.output.log(
        f"Stopped after {results.stopped_at}: {len(selected) - len(left):,} of {len(selected):,} requested. "
        f"Continue with: {_continuation(context, rate, rest)}"
    )
    return ExitCode.INTERRUPTED


def _select(context: Context, items: list[str], after: str | None, *, all_items: bool) -> list[str]:
    if all_items == bool(items):
        raise usage_error("ITEM_ID", "Give the Items to resync, or --all.")
    if after is not None and not all_items:
        raise usage_error("--after", "Give it with --all only.")
    if not all_items:
        return items
    return [
        item_id for item_id in sorted(item_ids(context.deployment, _RESYNCABLE)) if after is None or item_id > after
    ]


def _continuation(context: Context, rate: str, items: list[str]) -> str:
    stack = ["--stack", context.target.stack] if context.target.stack else []
    where = ["--local"] if context.target.local else stack
    return shlex.join(["plaid-sync", "resync", *items, "--rate", rate, *where])


def resync_all(api: ItemApi, output: Output, items: Sequence[str], limiter: RateLimiter) -> Results:
    """Request a resync of Items one by one; Ctrl-C stops between two."""
    results, last = Results(), None
    try:
        with progress(output.stderr, "resync", len(items)) as advance:
            for item_id in items:
                limiter.wait()
                _request(api, item_id, "resync", results)
                last = item_id
                advance(1)
    except KeyboardInterrupt:
        if last is None:
            raise
        results.stopped_at = last
    return results


def _request(api: ItemApi, item_id: str, action: str, results: Results) -> None:
    """Send a request and record its result; retry if throttled.

    Raises:
        ApiError: the error concerns all Items, not this one.
    """
    try:
        call_with_retries(lambda: api.call("POST", item_path(item_id, action)))
    except ApiError as error:
        if error.concerns_all:
            raise
        results.refused[item_id] = f"{error.message}. {error.fix}"
        return
    results.requested.append(item_id)


def _report(context: Context, results: Results, action: str) -> int:
    document = {"requested": results.requested, "refused": results.refused, "stopped_at": results.stopped_at}

    def text() -> Iterator[RenderableType]:
        if results.requested:
            items = plural(len(results.requested), "Item")
            yield f"Requested a {action} of {items}; plaid-sync item ITEM_ID shows when it is done."
        if results.refused:
            yield table("refused", "why", rows=list(results.refused.items()))

    context.output.show(document, text)
    return ExitCode.ACTION_REQUIRED if results.refused else ExitCode.OK


@command(APP, "rotate-token")
def rotate_token(context: Context, item_id: ItemArgument, *, yes: YesOption = False) -> int:
    """Replace the access token of an Item, as after a leak. The old token is dead at once.

    Example: `plaid-sync rotate-token eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6`
    """
    context.output.confirm(f"Replace the access token of {item_id}?", yes=yes)
    document = context.api.call("POST", item_path(item_id, "access-token/rotate"))
    context.output.show(document, lambda: [f"The access token of {item_id} is replaced, and a sync requested."])
    return ExitCode.OK


@command(APP, "remove")
def remove(  # noqa: PLR0913 - each is an option
    context: Context,
    item_id: ItemArgument,
    transactions: Annotated[
        str, typer.Option(metavar="keep|erase", help="Keep or erase the Item's transactions.")
    ] = "keep",
    reason: Annotated[str | None, typer.Option(metavar="CODE", help="Why, for Plaid; such as FRAUD_OTHER.")] = None,
    *,
    keep_at_plaid: Annotated[
        bool, typer.Option("--keep-at-plaid", help="Another system goes on with it, by the exported token.")
    ] = False,
    yes: YesOption = False,
) -> int:
    """Remove an Item, here and at Plaid. It cannot be undone: the user has to link the bank again.

    With --keep-at-plaid it is removed here alone, which needs a plaid-sync tokens export before.

    Example: `plaid-sync remove eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6 --transactions erase`
    """
    if transactions not in {"keep", "erase"}:
        raise usage_error(f"--transactions {transactions}", "Give keep or erase.")
    item = context.api.call("GET", item_path(item_id))
    kept = " here, keep it at Plaid," if keep_at_plaid else ","
    context.output.confirm(
        f"Remove {item_id} ({item['state']}, user {item.get('client_user_id', 'unknown')}) permanently{kept} and "
        f"{transactions} its {item['transactions']['live']:,} transactions?",
        yes=yes,
    )
    at_plaid = "keep" if keep_at_plaid else None
    query = {"transactions": transactions, "reason_code": reason, "at_plaid": at_plaid}
    document = context.api.call("DELETE", item_path(item_id), **query)
    context.output.show(document, lambda: [f"{item_id} is removed. plaid-sync item {item_id} shows the progress."])
    return ExitCode.OK
