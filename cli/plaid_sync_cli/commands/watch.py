"""`watch`: `status`, again and again."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Group
from rich.live import Live

from plaid_sync_cli.command import Context, command
from plaid_sync_cli.commands.status import document, picture, read
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import to_json
from plaid_sync_cli.verdict import ENABLED, Facts, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

APP: Final = typer.Typer()


@command(APP, "watch")
def watch(
    context: Context,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 5.0,
    times: Annotated[int | None, typer.Option(min=1, help="End after so many looks.")] = None,
) -> int:
    """Show the status live until Ctrl-C; without a terminal a line for each look, with `--json` a document a line.

    Example: `plaid-sync watch --interval 2`
    """
    console = context.output.console
    if context.output.as_json or not console.is_terminal:
        return _lines(context, interval, times)
    with Live(console=console, auto_refresh=False, screen=False) as live:
        for _ in _looks(interval, times):
            facts = read(context.deployment)
            live.update(Group(*picture(context.deployment.name, facts, judge(facts))), refresh=True)
    return ExitCode.FINE


def _lines(context: Context, interval: float, times: int | None) -> int:
    console = context.output.console
    for _ in _looks(interval, times):
        facts = read(context.deployment)
        line = to_json(document(facts, judge(facts))) if context.output.as_json else _line(facts)
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return ExitCode.FINE


def _looks(interval: float, times: int | None) -> Iterator[int]:
    """Come back after each interval, until it was often enough."""
    for look in count(1):
        yield look
        if look == times:
            return
        time.sleep(interval)


def _line(facts: Facts) -> str:
    verdict = judge(facts)
    syncing = "" if facts.mapping == ENABLED else f", syncing {facts.mapping}"
    return (
        f"{facts.read_at:%H:%M:%S} queue {facts.queue.visible:,} + {facts.queue.in_flight:,} in flight, "
        f"dead letters {facts.dead_letters.total:,}{syncing} | {verdict.sentence}"
    )
