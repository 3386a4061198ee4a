"""`erase-user`: erases everything that a deployment stores of a user."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.domain.clock import parse_timestamp, utc_now

from plaid_sync_cli.api import ApiError, user_path
from plaid_sync_cli.command import Context, YesOption, command
from plaid_sync_cli.deployment import LOSABLE_TABLES, TABLES
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import plural, table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_MAX_PAUSE_SECONDS: Final = 60.0
_MIN_PAUSE_SECONDS: Final = 5.0


@command(APP, "erase-user")
def erase_user(
    context: Context,
    client_user_id: Annotated[str, typer.Argument(metavar="CLIENT_USER_ID", help="Your reference of the user.")],
    *,
    search_all: Annotated[
        bool, typer.Option("--search-all", help="Then read every row of every table, which costs, and search it.")
    ] = False,
    yes: YesOption = False,
) -> int:
    """Erase a user: all Items, at Plaid, too, and all that any table has of the user. It cannot be undone.

    It takes some eleven minutes, because what began before can write for ten. Interrupted, the same command continues.
    Exit code 1 if the search finds anything.

    Example: `plaid-sync erase-user user-17`
    """
    context.output.confirm(f"Erase {client_user_id} permanently, with all Items and transactions?", yes=yes)
    items = {str(item["item_id"]) for item in context.api.pages("/items", "items", client_user_id=client_user_id)}
    receipt = _erase(context, client_user_id, items)
    found = _search(context.deployment, {client_user_id}, items) if search_all else None
    document = receipt if found is None else receipt | {"found": found}
    context.output.show(document, lambda: _render(client_user_id, receipt, found))
    return ExitCode.ACTION_REQUIRED if found and any(found.values()) else ExitCode.OK


def _erase(context: Context, client_user_id: str, items: set[str]) -> dict[str, Any]:
    """Request the erasure until it is completed; add the Items that it names, and return the receipt."""
    before = ""
    while True:
        pause = _MIN_PAUSE_SECONDS
        try:
            document: dict[str, Any] = context.api.call("DELETE", user_path(client_user_id))
        except ApiError as error:
            if error.status not in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
                raise
        else:
            if document["state"] == "erased":
                return document
            items.update(document["item_ids"])
            if (shown := _progress(document)) != before:
                context.output.log(shown)
            before = shown
            settles_at = parse_timestamp(document.get("settles_at"))
            pause = pause if settles_at is None else (settles_at - utc_now()).total_seconds()
        time.sleep(min(max(pause, _MIN_PAUSE_SECONDS), _MAX_PAUSE_SECONDS))


def _progress(document: dict[str, Any]) -> str:
    if waiting := document["waiting_for"]:
        return f"Plaid and the workers remove {plural(len(waiting), 'Item')}: {', '.join(waiting)}"
    if document["state"] == "settling":
        return f"Erased; what began before can write until {document['settles_at']}"
    return "Erasing what the tables have"


def _search(deployment: Deployment, references: Collection[str], items: Collection[str]) -> dict[str, int]:
    """Return in how many rows of each table a value is a reference, or contains an Item's id."""
    found = {}
    for name in (*TABLES, *LOSABLE_TABLES):
        pages = deployment.client("dynamodb").get_paginator("scan").paginate(TableName=deployment.output(name))
        rows = (deserialize(row) for page in pages for row in page["Items"])
        found[name] = sum(any(_names(value, references, items) for value in _texts(row)) for row in rows)
    return found


def _names(text: str, references: Collection[str], items: Collection[str]) -> bool:
    return text in references or any(item_id in text for item_id in items)


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, (list, set)):
        for member in value:
            yield from _texts(member)


def _render(client_user_id: str, receipt: dict[str, Any], found: dict[str, int] | None) -> Iterator[RenderableType]:
    yield f"{client_user_id} was erased at {receipt['erased_at']}; every look-up by key finds nothing."
    yield table("erased", "", rows=[(kind, f"{count:,}") for kind, count in receipt["erased"].items()])
    if found is not None:
        yield table("table", "rows that name the user", rows=[(name, f"{count:,}") for name, count in found.items()])
