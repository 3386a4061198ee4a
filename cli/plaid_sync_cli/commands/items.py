"""`items` and `item`: which Items there are, and one of them explained."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.adapters.aws import utc_now
from plaid_sync.adapters.dynamodb.quarantine_table import QuarantineTable
from plaid_sync.core.items import ItemId, ItemStatus
from plaid_sync.core.plain_text import moment_or_none
from rich.markup import escape

from plaid_sync_cli import explaining
from plaid_sync_cli.api import ItemApi, item_path
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.dead_letters import DeadLetterQueue
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.explaining import Explained
from plaid_sync_cli.output import age, plural, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_PAGE: Final = 100
_HISTORY: Final = 10
STATES: Final = tuple(state.value for state in ItemStatus)
"""What `--state` can be."""


@command(APP, "items")
def items(
    context: Context,
    state: Annotated[str | None, typer.Option(help=f"Only those in a state: {', '.join(STATES)}.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of a client_user_id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 50,
) -> int:
    """List Items, the least fresh first; removed ones only with `--state removed`.

    Example: `plaid-sync items --state needs_user --limit 20`
    """
    if state is not None and state not in STATES:
        raise usage_error(f"--state {state}", f"Give one of {', '.join(STATES)}.")
    found, more = least_fresh(context.api, state, user, limit)
    context.output.show({"items": found, "more": more}, lambda: _list(found, utc_now()))
    if more:
        context.output.say(f"There are more: --limit {limit * 2} shows them.")
    return ExitCode.FINE


def least_fresh(api: ItemApi, state: str | None, user: str | None, most: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the Items that were fresh the longest time ago, that one first, and whether there are more."""
    if user is not None:
        found = [one for one in api.pages("/items", "items", client_user_id=user, state=state) if state or _lives(one)]
    else:
        states = [state] if state else [one for one in STATES if one != ItemStatus.REMOVED]
        limit = str(min(_PAGE, most + 1))
        found = [
            one for name in states for one in islice(api.pages("/items", "items", state=name, limit=limit), most + 1)
        ]
    found.sort(key=lambda one: str(one.get("pulled_at") or one.get("linked_at") or ""))
    return found[:most], len(found) > most


def _lives(item: dict[str, Any]) -> bool:
    return bool(item["state"] != ItemStatus.REMOVED)


def _list(found: list[dict[str, Any]], now: datetime) -> Iterator[RenderableType]:
    if not found:
        yield "No such Items."
        return
    rows = [
        (
            one["item_id"],
            one["state"],
            one.get("code", ""),
            age(moment_or_none(one.get("pulled_at")), now),
            one.get("client_user_id"),
            one.get("institution_id"),
            one["remedy"],
        )
        for one in found
    ]
    yield table("item", "state", "code", "last sync", "user", "bank", "remedy", rows=rows)


@command(APP, "item")
def item(context: Context, item_id: Annotated[str, typer.Argument(metavar="ID", help="An item_id.")]) -> int:
    """Explain one Item: how it is, why, since when, what to do, how fresh its rows are, what happened lately.

    Exit code 1 if an operator has to see to it. Takes up to ten seconds, for Plaid is asked, too.

    Example: `plaid-sync item eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6`
    """
    explained = explain(context.api, context.deployment, item_id)
    now = utc_now()
    problems = explained.problems(now)
    links = explaining.log_links(context.deployment, item_id)
    document = {
        "item": explained.item,
        "meaning": explaining.meaning(explained.item),
        "problems": [{"what": what, "fix": fix} for what, fix in problems],
        "owed_triggers": len(explained.owed()),
        "dead_letters": list(explained.dead_letters),
        "quarantined": list(explained.quarantined),
        "history": list(explained.history),
        **links,
    }
    context.output.show(document, lambda: _picture(explained, problems, dict(links), now))
    return ExitCode.FOUND if problems else ExitCode.FINE


def explain(api: ItemApi, deployment: Deployment, item_id: str) -> Explained:
    """Read everything that there is about an Item.

    Raises:
        ApiError: there is no such Item.
    """
    shown = api.call("GET", item_path(item_id))
    history = api.call("GET", item_path(item_id, "history"), limit=str(_HISTORY))["history"]
    letters = [letter.cause for letter in DeadLetterQueue.of(deployment).peek() if letter.item_id == item_id]
    tables = deployment.output("ItemsTable"), deployment.output("QuarantineTable")
    quarantine = QuarantineTable(deployment.client("dynamodb"), *tables, utc_now, lambda _: None)
    kept = [
        {"entry_id": one.entry_id, "field": one.entry.field, "source": one.entry.source, "since": one.quarantined_at}
        for one in quarantine.entries(ItemId(item_id))
    ]
    return Explained(shown, history, letters, kept)


def _picture(
    explained: Explained, problems: list[tuple[str, str]], links: dict[str, str], now: datetime
) -> Iterator[RenderableType]:
    one = explained.item
    colour = "red" if problems else "green" if explained.state is ItemStatus.ACTIVE else "yellow"
    yield f"[bold {colour}]{escape(explaining.headline(one, now))}[/]"
    yield f"  {escape(explaining.meaning(one))}"
    yield f"  [bold]What its user has to do:[/] {escape(one['what_to_do'])}"
    for what, fix in problems:
        yield f"  [red]![/] {escape(what)}\n    [dim]{escape(fix)}[/]"
    if not problems:
        yield "  [bold]What you have to do:[/] nothing"
    yield ""
    yield table("", "", rows=_facts(explained, now))
    yield ""
    rows = [explaining.history_row(entry, now) for entry in explained.history]
    yield table(f"last {plural(len(rows), 'event')}", "what", "outcome", "details", rows=rows)
    yield ""
    for name, link in links.items():
        yield f"{name}: {escape(link)}"


def _facts(explained: Explained, now: datetime) -> Iterator[tuple[str, str]]:
    one = explained.item
    yield "fresh", explaining.freshness(one, now)
    yield "rows", explaining.amounts(explained)
    yield "waiting", explaining.waiting(explained, now)
    yield "dead letters", f"{len(explained.dead_letters)}"
    yield "user", f"{one.get('client_user_id', 'unknown')}, at {one.get('institution_id', 'an unknown bank')}"
    yield "linked", f"{age(moment_or_none(one.get('linked_at')), now)} ({one.get('linked_at')})"
    if one.get("reconcile_owed"):
        yield "owed", "a full resync, with the next sync"
    if removal := one.get("removal"):
        done = removal.get("completed_at", "not finished yet")
        yield "removed", f"asked {removal['requested_at']} ({removal['transactions']} transactions), finished: {done}"
