"""`items` and `item`: lists Items, and explains one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.aws.dynamodb.quarantine import QuarantineTable
from plaid_sync.domain.clock import SystemClock, parse_timestamp, utc_now
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.items_api.views import item_summary
from rich.markup import escape

from plaid_sync_cli import item_report
from plaid_sync_cli.api import ItemApi, item_path
from plaid_sync_cli.command import Context, ItemArgument, UserOption, command
from plaid_sync_cli.dead_letters import DeadLetterQueue
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.item_report import ItemReport
from plaid_sync_cli.monitoring import item_indexes, stalest
from plaid_sync_cli.output import age, plural, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_HISTORY: Final = 10
_STATES: Final = tuple(state.value for state in StateName)


@command(APP, "items")
def items(
    context: Context,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help=f"Only Items in this state: {', '.join(_STATES)}.")
    ] = None,
    user: UserOption = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most N Items.")] = 50,
    *,
    failing: Annotated[bool, typer.Option("--failing", help="Only Items that fail, and are retried.")] = False,
) -> int:
    """List Items, the least fresh first; removed Items only with `--state removed`.

    With `--failing`, those whose last attempts failed, the longest failing first, and when they are tried next.

    Example: `plaid-sync items --state needs_user --limit 20`
    """
    if failing:
        if state is not None or user is not None:
            raise usage_error("--failing", "Give it without --state and --user.")
        found, more = _failing(context.deployment, limit)
    else:
        found, more = _least_fresh(context, state, user, limit)
    render = _render_failing if failing else _render_list
    context.output.show({"items": found, "more": more}, lambda: render(found, utc_now()))
    if more:
        context.output.log(f"There are more: --limit {limit * 2} shows them.")
    return ExitCode.OK


def _least_fresh(
    context: Context, state: str | None, user: str | None, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """Return the least fresh Items, oldest success first, and whether there are more."""
    if user is not None:
        pages = context.api.pages("/items", "items", client_user_id=user, state=state)
        found = [item for item in pages if state or item["state"] != StateName.REMOVED]
        found.sort(key=lambda item: str(item.get("pulled_at") or item.get("linked_at") or ""))
    else:
        states = _states(context.deployment, state)
        found = [item_summary(item) for item in stalest(context.deployment, states, limit + 1)]
    return found[:limit], len(found) > limit


def _states(deployment: Deployment, state: str | None) -> list[str]:
    """Return the states to list; those of a newer version are among them, removed Items are not unless requested."""
    if state in _STATES:
        return [state]
    existing = item_indexes(deployment).counts()
    if state is not None and state not in existing:
        raise usage_error(f"--state {state}", f"Give one of {', '.join(existing)}.")
    return [state] if state else [name for name in existing if name != StateName.REMOVED]


def _failing(deployment: Deployment, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the Items that fail, the longest failing first, and whether there are more."""
    found: list[dict[str, Any]] = [
        {
            "item_id": item.item_id,
            "failing": item_report.failure_document(item.failure),
            "next_attempt_at": item.next_attempt_at,
        }
        for item in item_indexes(deployment).failing_items()
        if item.failure is not None
    ]
    found.sort(key=lambda item: (item["failing"]["since"], item["item_id"]))
    return found[:limit], len(found) > limit


def _render_failing(found: list[dict[str, Any]], now: datetime) -> Iterator[RenderableType]:
    if not found:
        yield "No Item fails."
        return
    rows = [
        (
            item["item_id"],
            item["failing"]["class"],
            item["failing"]["code"],
            age(item["failing"]["since"], now),
            item_report.until(item["next_attempt_at"], now),
        )
        for item in found
    ]
    yield table("item", "class", "code", "failing since", "next attempt", rows=rows)


def _render_list(found: list[dict[str, Any]], now: datetime) -> Iterator[RenderableType]:
    if not found:
        yield "No such Items."
        return
    rows = [
        (
            item["item_id"],
            item["state"],
            item.get("code", ""),
            age(parse_timestamp(item.get("pulled_at")), now),
            item.get("client_user_id"),
            item.get("institution_id"),
            item["remedy"],
        )
        for item in found
    ]
    yield table("item", "state", "code", "last sync", "user", "bank", "remedy", rows=rows)


@command(APP, "item")
def item(context: Context, item_id: ItemArgument) -> int:
    """Explain one Item: its state, why, since when, what to do, how fresh it is, and its recent history.

    Exit code 1 if action is required. Takes up to ten seconds, because Plaid is called.

    Example: `plaid-sync item eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6`
    """
    report = _read_report(context.api, context.deployment, item_id)
    now = utc_now()
    problems = report.problems(now)
    links = item_report.log_links(context.deployment, item_id)
    document = {
        "item": report.item,
        "meaning": item_report.meaning(report.item),
        "problems": [{"what": what, "fix": fix} for what, fix in problems],
        "pending_messages": len(report.pending()),
        "dead_letters": list(report.dead_letters),
        "quarantined": list(report.quarantined),
        "history": list(report.history),
        **links,
    }
    context.output.show(document, lambda: _render_report(report, problems, dict(links), now))
    return ExitCode.ACTION_REQUIRED if problems else ExitCode.OK


def _read_report(api: ItemApi, deployment: Deployment, item_id: str) -> ItemReport:
    """Read everything that is known about an Item.

    Raises:
        ApiError: there is no such Item.
    """
    document = api.call("GET", item_path(item_id))
    history = api.call("GET", item_path(item_id, "history"), limit=str(_HISTORY))["history"]
    causes = [letter.cause for letter in DeadLetterQueue.of(deployment).peek() if letter.item_id == item_id]
    tables = deployment.output("ItemsTable"), deployment.output("QuarantineTable")
    quarantine = QuarantineTable(deployment.client("dynamodb"), *tables, SystemClock())
    quarantined = [
        {
            "entry_id": stored.entry_id,
            "field": stored.entry.field,
            "source": stored.entry.source,
            "since": stored.quarantined_at,
        }
        for stored in quarantine.entries(ItemId(item_id))
    ]
    return ItemReport(document, history, causes, quarantined)


def _render_report(
    report: ItemReport, problems: list[tuple[str, str]], links: dict[str, str], now: datetime
) -> Iterator[RenderableType]:
    document = report.item
    color = "red" if problems else "green" if report.state == StateName.ACTIVE else "yellow"
    yield f"[bold {color}]{escape(item_report.headline(document, now))}[/]"
    yield f"  {escape(item_report.meaning(document))}"
    yield f"  [bold]For the user:[/] {escape(document['what_to_do'])}"
    for what, fix in problems:
        yield f"  [red]![/] {escape(what)}\n    [dim]{escape(fix)}[/]"
    if not problems:
        yield "  [bold]For you:[/] no action required"
    yield ""
    yield table("", "", rows=_facts(report, now))
    yield ""
    if document["accounts"]:
        yield item_report.account_table(document["accounts"], now)
        yield ""
    rows = [item_report.history_row(entry, now) for entry in report.history]
    yield table(f"last {plural(len(rows), 'event')}", "what", "outcome", "details", rows=rows)
    yield ""
    for name, link in links.items():
        yield f"{name}: {escape(link)}"


def _facts(report: ItemReport, now: datetime) -> Iterator[tuple[str, str]]:
    document = report.item
    yield "fresh", item_report.freshness(document, now)
    yield "rows", item_report.counts(report)
    if failing := item_report.failing(document, now):
        yield "failing", failing
    if next_attempt := parse_timestamp(document.get("next_attempt_at")):
        yield "next attempt", f"{item_report.until(next_attempt, now)}, or with the next webhook or request"
    yield "messages", item_report.pending_messages(report, now)
    yield "dead letters", f"{len(report.dead_letters)}"
    yield "user", f"{document.get('client_user_id', 'unknown')}, at {document.get('institution_id', 'an unknown bank')}"
    yield "linked", f"{age(parse_timestamp(document.get('linked_at')), now)} ({document.get('linked_at')})"
    if document.get("reconcile_pending"):
        yield "full resync", "pending; if Plaid's history is incomplete, it waits up to 16 hours for that"
    if checked := parse_timestamp(document.get("accounts_checked_at")):
        yield "accounts", f"compared with Plaid's list {age(checked, now)}"
    if removal := document.get("removal"):
        completed = removal.get("completed_at", "not yet")
        kept = removal["transactions"]
        yield "removed", f"requested {removal['requested_at']} ({kept} transactions), completed: {completed}"
