"""`status` and `watch`: the health of the deployment, once or live."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.domain.clock import utc_now
from plaid_sync.items_api.views import item_summary
from rich.console import Group
from rich.live import Live
from rich.markup import escape

from plaid_sync_cli import monitoring
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.health import (
    ENABLED,
    RECENT,
    STALE_AFTER,
    UNSYNCED_AFTER,
    Health,
    Snapshot,
    evaluate,
    failing_line,
)
from plaid_sync_cli.output import age, duration, table, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_MAX_STALEST: Final = 5


@command(APP, "status")
def status(context: Context) -> int:
    """Show whether money data is fresh, which Items are not, why, and what to do.

    Exit code 1 if action is required; Items that wait for their banks or users require none.

    Example: `plaid-sync status --stack plaid-sync`
    """
    snapshot = _read(context.deployment)
    health = evaluate(snapshot)
    context.output.show(_document(snapshot, health), lambda: _render(context.deployment.name, snapshot, health))
    return ExitCode.ACTION_REQUIRED if health.action_required else ExitCode.OK


@command(APP, "watch")
def watch(
    context: Context,
    interval: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="Seconds between updates.")] = 5.0,
    times: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after N updates.")] = None,
) -> int:
    """Show the status live until Ctrl-C; without a terminal one line per update, with `--json` one document per line.

    Example: `plaid-sync watch --interval 2`
    """
    console = context.output.console
    if context.output.as_json or not console.is_terminal:
        return _write_lines(context, interval, times)
    with Live(console=console, auto_refresh=False, screen=False) as live:
        for _ in _updates(interval, times):
            snapshot = _read(context.deployment)
            live.update(Group(*_render(context.deployment.name, snapshot, evaluate(snapshot))), refresh=True)
    return ExitCode.OK


def _write_lines(context: Context, interval: float, times: int | None) -> int:
    console = context.output.console
    for _ in _updates(interval, times):
        snapshot = _read(context.deployment)
        health = evaluate(snapshot)
        line = to_json(_document(snapshot, health)) if context.output.as_json else _line(snapshot, health)
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return ExitCode.OK


def _updates(interval: float, times: int | None) -> Iterator[int]:
    for update in count(1):
        yield update
        if update == times:
            return
        time.sleep(interval)


def _read(deployment: Deployment) -> Snapshot:
    now = utc_now()
    states, indexes = monitoring.SYNCED, monitoring.item_indexes(deployment)
    alarms = tuple(monitoring.alarms(deployment))
    return Snapshot(
        read_at=now,
        queue=monitoring.queue_depth(deployment, deployment.output("SyncQueueUrl"), now),
        dead_letters=monitoring.queue_depth(deployment, deployment.output("DeadLetterQueueUrl"), now),
        mapping=monitoring.mapping_state(deployment),
        alarms=alarms,
        items=indexes.counts(),
        failing=indexes.failures(),
        stale=sum(monitoring.count_stale(deployment, state, now - STALE_AFTER) for state in states),
        unsynced=sum(
            monitoring.count_unsynced(deployment, state, now - STALE_AFTER, now - UNSYNCED_AFTER) for state in states
        ),
        stalest=tuple(monitoring.stalest(deployment, states, _MAX_STALEST)),
        swept_at=monitoring.last_sweep(deployment, now),
        alarmed=monitoring.recent_alarms(deployment, alarms, now - RECENT, now),
    )


def _document(snapshot: Snapshot, health: Health) -> dict[str, Any]:
    return {
        "fresh": health.fresh,
        "action_required": health.action_required,
        "summary": health.summary,
        "findings": [
            {"what": finding.what, "fix": finding.fix, "action_required": finding.action_required}
            for finding in health.findings
        ],
        "read_at": snapshot.read_at,
        "paused": snapshot.mapping != ENABLED,
        "queue": _depth(snapshot.queue),
        "dead_letters": _depth(snapshot.dead_letters),
        "alarms": [{"name": alarm.slug, "state": alarm.state, "since": alarm.since} for alarm in snapshot.alarms],
        "recent_alarms": dict(snapshot.alarmed),
        "items": dict(snapshot.items),
        "failing": {
            attempt_class.value: {"items": failures.count, "since": failures.oldest}
            for attempt_class, failures in snapshot.failing.items()
        },
        "stale_items": snapshot.stale,
        "unsynced_items": snapshot.unsynced,
        "stalest": [item_summary(record) for record in snapshot.stalest],
        "swept_at": snapshot.swept_at,
    }


def _depth(depth: monitoring.QueueDepth) -> dict[str, Any]:
    return {"visible": depth.visible, "in_flight": depth.in_flight, "oldest_seconds": depth.oldest}


def _render(name: str, snapshot: Snapshot, health: Health) -> Iterator[RenderableType]:
    color = "red" if health.action_required else "green"
    yield f"[bold {color}]{escape(health.summary)}[/]"
    for finding in health.findings:
        bullet = "[red]![/]" if finding.action_required else "-"
        yield f"  {bullet} {escape(finding.what)}\n    [dim]{escape(finding.fix)}[/]"
    yield ""
    yield table(name, "", rows=_figures(snapshot))
    if snapshot.stalest:
        rows = [
            (
                record.item_id,
                record.state.name,
                age(record.synced_at, snapshot.read_at),
                record.institution_id,
            )
            for record in snapshot.stalest
        ]
        yield ""
        yield table("least fresh Items", "state", "last sync", "bank", rows=rows)


def _figures(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    counts = ", ".join(f"{number:,} {state}" for state, number in snapshot.items.items() if number)
    yield "Items", counts or "none"
    failing = (failing_line(name, found, snapshot.read_at) for name, found in snapshot.failing.items() if found.count)
    yield "failing", "; ".join(failing) or "none"
    yield "queue", _queue_line(snapshot.queue)
    yield "dead letters", _queue_line(snapshot.dead_letters)
    yield "syncing", "on" if snapshot.mapping == ENABLED else f"off ({snapshot.mapping})"
    in_alarm = ", ".join(alarm.slug for alarm in snapshot.in_alarm) or "none"
    yield "alarms", f"{len(snapshot.alarms)}, in alarm: {in_alarm}"
    yield "last sweep", age(snapshot.swept_at, snapshot.read_at, never="unknown (no metric SweepRuns in six hours)")


def _queue_line(depth: monitoring.QueueDepth) -> str:
    oldest = "" if depth.oldest is None else f", the oldest {duration(depth.oldest)} old"
    return f"{depth.visible:,} waiting, {depth.in_flight:,} in flight{oldest}"


def _line(snapshot: Snapshot, health: Health) -> str:
    syncing = "" if snapshot.mapping == ENABLED else f", syncing {snapshot.mapping}"
    return (
        f"{snapshot.read_at:%H:%M:%S} queue {snapshot.queue.visible:,} + {snapshot.queue.in_flight:,} in flight, "
        f"dead letters {snapshot.dead_letters.total:,}{syncing} | {health.summary}"
    )
