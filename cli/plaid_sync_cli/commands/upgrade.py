"""`upgrade`: what an older version has stored, brought up to what this one expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.core.items import ItemStatus

from plaid_sync_cli import readings
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.commands.requests import Asked, ask
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import plural, table
from plaid_sync_cli.pacing import Pace, parse_rate
from plaid_sync_cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()


@command(APP, "upgrade")
def upgrade(
    context: Context, rate: Annotated[str, typer.Option(help="How fast Items are asked: 5/s, 60/min.")] = "5/s"
) -> int:
    """Bring what an older version has stored up to this one. Run it after each update; without need it does nothing.

    Items that were linked before there was a sweep have no time at which it looks at them: each is synced once, which
    gives it one. Ctrl-C loses nothing: run it again.

    Example: `plaid-sync upgrade --stack plaid-sync`
    """
    pace = Pace(parse_rate(rate))
    found = _unswept(context.deployment)
    asked = Asked()
    with progress(context.output.notes, "upgrade", len(found)) as advance:
        for item_id, state in found.items():
            pace.wait()
            ask(context.api, item_id, "remove" if state is ItemStatus.REMOVED else "sync", asked)
            advance(1)
    document = {"unswept": len(found), "requested": asked.done, "refused": asked.refused}
    context.output.show(document, lambda: _picture(asked))
    return ExitCode.FOUND if asked.refused else ExitCode.FINE


def _unswept(deployment: Deployment) -> dict[str, ItemStatus]:
    """Return the Items that the sweep should know and does not, and how they are."""
    found: dict[str, ItemStatus] = {}
    for state in ItemStatus:
        swept = set(readings.item_ids(deployment, (state,), "by_due"))
        unswept = [one for one in readings.item_ids(deployment, (state,)) if one not in swept]
        if state is ItemStatus.REMOVED:  # a removal that is complete is none of the sweep's business
            unswept = readings.unfinished_removals(deployment, unswept)
        found |= dict.fromkeys(unswept, state)
    return found


def _picture(asked: Asked) -> Iterator[RenderableType]:
    if not asked.done and not asked.refused:
        yield "Nothing is to be upgraded: the sweep knows all Items."
        return
    yield f"{plural(len(asked.done), 'Item')} asked for a sync, after which the sweep knows them: plaid-sync watch"
    if asked.refused:
        yield table("refused", "why", rows=list(asked.refused.items()))
