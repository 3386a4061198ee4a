"""`sync`, `refresh`, `resync` and `remove`: what is asked of Items, each by a request to the Item API."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.core.items import ItemStatus

from plaid_sync_cli.api import ApiError, ItemApi, item_path
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.output import duration, plural, table
from plaid_sync_cli.pacing import Pace, parse_rate
from plaid_sync_cli.progress import progress
from plaid_sync_cli.readings import item_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from plaid_sync_cli.output import Output

APP: Final = typer.Typer()
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="item_ids.")]
_TRIES: Final = 5
_REMOVE: Final = "remove"
_RESYNCED: Final = (ItemStatus.ACTIVE, ItemStatus.EXPIRING, ItemStatus.DEGRADED, ItemStatus.NEEDS_USER)
"""Those that the Item API lets resync."""


@dataclass(slots=True)
class Asked:
    """What became of requests.

    Attributes:
        done: the Items that accepted it.
        refused: the others, with the reason.
        stopped_at: the last Item that was asked, where the rest was not asked any more.
    """

    done: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    stopped_at: str | None = None


@command(APP, "sync")
def sync(context: Context, item_ids: Ids) -> int:
    """Ask for a sync of Items now. It goes through the queue: seconds, while syncing is not paused.

    Example: `plaid-sync sync eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6`
    """
    return _ask_each(context, item_ids, "sync")


@command(APP, "refresh")
def refresh(context: Context, item_ids: Ids) -> int:
    """Have Plaid ask the banks of Items for new transactions. Plaid bills each request.

    Example: `plaid-sync refresh eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6`
    """
    return _ask_each(context, item_ids, "refresh")


def _ask_each(context: Context, ids: list[str], action: str) -> int:
    asked = Asked()
    for item_id in ids:
        ask(context.api, item_id, action, asked)
    return _told(context, asked, action)


@command(APP, "resync")
def resync(  # noqa: PLR0913 - each is an option
    context: Context,
    item_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="item_ids.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All Items that can be resynced.")] = False,
    rate: Annotated[str, typer.Option(help="How fast to ask: 2/s, 30/min.")] = "2/s",
    after: Annotated[str | None, typer.Option(help="With --all: go on behind this item_id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Have the next sync of Items pull their whole history again, and remove what Plaid no longer has.

    Items are asked in the order of their ids. Ctrl-C stops between two, and says how to go on.

    Example: `plaid-sync resync --all --rate 30/min`
    """
    seconds = 1 / parse_rate(rate)
    ids = _chosen(context, item_ids or [], after, every=every)
    span = duration(timedelta(seconds=len(ids) * seconds))
    if dry_run:
        document = {"would_resync": ids, "seconds": round(len(ids) * seconds)}
        context.output.show(document, lambda: [f"Would resync {plural(len(ids), 'Item')} in {span}.", *ids])
        return ExitCode.FINE
    if every:
        context.output.confirm(f"Resync {plural(len(ids), 'Item')}, in {span}?", yes=yes)
    asked = ask_all(context.api, context.output, ids, Pace(1 / seconds))
    code = _told(context, asked, "resync")
    if asked.stopped_at is None:
        return code
    left = ids[ids.index(asked.stopped_at) + 1 :]
    context.output.say(
        f"Stopped behind {asked.stopped_at}: {len(ids) - len(left):,} of {len(ids):,} asked. "
        f"Go on with: {_going_on(context, rate, ['--all', '--after', asked.stopped_at] if every else left)}"
    )
    return ExitCode.INTERRUPTED


def _chosen(context: Context, ids: list[str], after: str | None, *, every: bool) -> list[str]:
    if every == bool(ids):
        raise usage_error("ID", "Give the item_ids to resync, or --all.")
    if after is not None and not every:
        raise usage_error("--after", "Give it with --all only.")
    if not every:
        return ids
    return [one for one in sorted(item_ids(context.deployment, _RESYNCED)) if after is None or one > after]


def _going_on(context: Context, rate: str, items: list[str]) -> str:
    stack = ["--stack", context.choice.stack] if context.choice.stack else []
    where = ["--local"] if context.choice.local else stack
    return shlex.join(["plaid-sync", "resync", *items, "--rate", rate, *where])


def ask_all(api: ItemApi, output: Output, ids: Sequence[str], pace: Pace) -> Asked:
    """Ask for a resync of Items, one after the other; Ctrl-C stops between two."""
    asked, last = Asked(), None
    try:
        with progress(output.notes, "resync", len(ids)) as advance:
            for item_id in ids:
                pace.wait()
                ask(api, item_id, "resync", asked)
                last = item_id
                advance(1)
    except KeyboardInterrupt:
        if last is None:
            raise
        asked.stopped_at = last
    return asked


def ask(api: ItemApi, item_id: str, action: str, asked: Asked) -> None:
    """Make a request, `remove` or a POST, again where it comes too fast; what stops all of them is raised."""
    method, path = ("DELETE", item_path(item_id)) if action == _REMOVE else ("POST", item_path(item_id, action))
    for left in reversed(range(_TRIES)):
        try:
            api.call(method, path)
        except ApiError as error:
            if error.status == HTTPStatus.TOO_MANY_REQUESTS and error.code != "refreshed_recently" and left:
                time.sleep(error.retry_after or 1)
                continue
            if error.exit_code is ExitCode.UNREACHABLE and not error.code:
                raise
            asked.refused[item_id] = f"{error.message}. {error.fix}"
            return
        asked.done.append(item_id)
        return


def _told(context: Context, asked: Asked, action: str) -> int:
    document = {"requested": asked.done, "refused": asked.refused, "stopped_at": asked.stopped_at}
    context.output.show(document, lambda: _picture(asked, action))
    return ExitCode.FOUND if asked.refused else ExitCode.FINE


def _picture(asked: Asked, action: str) -> Iterator[RenderableType]:
    if asked.done:
        yield f"Asked for a {action} of {plural(len(asked.done), 'Item')}; plaid-sync item ID shows when it is done."
    if asked.refused:
        yield table("refused", "why", rows=list(asked.refused.items()))


@command(APP, "remove")
def remove(
    context: Context,
    item_id: Annotated[str, typer.Argument(metavar="ID", help="An item_id.")],
    transactions: Annotated[str, typer.Option(help="keep or erase its transactions.")] = "keep",
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Remove an Item, here and at Plaid. It can't be undone: the user has to link the bank anew.

    Example: `plaid-sync remove eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6 --transactions erase`
    """
    if transactions not in {"keep", "erase"}:
        raise usage_error(f"--transactions {transactions}", "Give keep or erase.")
    item = context.api.call("GET", item_path(item_id))
    what = "erase its" if transactions == "erase" else "keep its"
    context.output.confirm(
        f"Remove {item_id} ({item['state']}, user {item.get('client_user_id', 'unknown')}) for good, and {what} "
        f"{item['transactions']['live']:,} transactions?",
        yes=yes,
    )
    answer = context.api.call("DELETE", item_path(item_id), transactions=transactions)
    context.output.show(
        answer, lambda: [f"{item_id} is removed. plaid-sync item {item_id} shows how far it is at Plaid."]
    )
    return ExitCode.FINE
