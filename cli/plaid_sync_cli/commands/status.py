"""`status`: how the deployment is, the answer first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer
from plaid_sync.adapters.aws import utc_now
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.items_api.item_view import summary
from rich.markup import escape

from plaid_sync_cli import readings
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import age, duration, table
from plaid_sync_cli.verdict import ENABLED, LATELY, STALE_AFTER, UNSYNCED_AFTER, Facts, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_SHOWN: Final = 5


@command(APP, "status")
def status(context: Context) -> int:
    """Tell whether money data is fresh, which Items are not, why, and what to do.

    Exit code 1 if an operator has to act: not for Items that wait for their banks or users.

    Example: `plaid-sync status --stack plaid-sync`
    """
    facts = read(context.deployment)
    verdict = judge(facts)
    context.output.show(document(facts, verdict), lambda: picture(context.deployment.name, facts, verdict))
    return ExitCode.FOUND if verdict.needs_someone else ExitCode.FINE


def read(deployment: Deployment) -> Facts:
    """Read everything that `status` shows."""
    now = utc_now()
    return Facts(
        read_at=now,
        queue=readings.queue_depth(deployment, deployment.output("SyncQueueUrl"), now),
        dead_letters=readings.queue_depth(deployment, deployment.output("DeadLetterQueueUrl"), now),
        mapping=readings.mapping_state(deployment),
        alarms=tuple(readings.alarms(deployment)),
        items={state: readings.count_items(deployment, state) for state in ItemStatus},
        stale=sum(readings.count_items(deployment, state, now - STALE_AFTER) for state in readings.SYNCED),
        unsynced=sum(
            readings.count_unsynced(deployment, state, now - STALE_AFTER, now - UNSYNCED_AFTER)
            for state in readings.SYNCED
        ),
        stalest=tuple(readings.stalest(deployment, readings.SYNCED, _SHOWN)),
        swept_at=readings.last_sweep(deployment, now),
        rang=readings.rang(deployment, now - LATELY, now),
    )


def document(facts: Facts, verdict: Verdict) -> dict[str, Any]:
    """Return the result as JSON."""
    return {
        "fresh": verdict.fresh,
        "needs_someone": verdict.needs_someone,
        "verdict": verdict.sentence,
        "findings": [
            {"what": one.what, "fix": one.fix, "needs_someone": one.needs_someone} for one in verdict.findings
        ],
        "read_at": facts.read_at,
        "paused": facts.mapping != ENABLED,
        "queue": _depth(facts.queue),
        "dead_letters": _depth(facts.dead_letters),
        "alarms": [{"name": one.slug, "state": one.state, "since": one.since} for one in facts.alarms],
        "rang": dict(facts.rang),
        "items": {state.value: count for state, count in facts.items.items()},
        "stale_items": facts.stale,
        "unsynced_items": facts.unsynced,
        "stalest": [summary(record) for record in facts.stalest],
        "swept_at": facts.swept_at,
    }


def _depth(depth: readings.QueueDepth) -> dict[str, Any]:
    return {"visible": depth.visible, "in_flight": depth.in_flight, "oldest_seconds": depth.oldest}


def picture(name: str, facts: Facts, verdict: Verdict) -> Iterator[RenderableType]:
    """Return the result as text, the answer first."""
    colour = "red" if verdict.needs_someone else "green"
    yield f"[bold {colour}]{escape(verdict.sentence)}[/]"
    for finding in verdict.findings:
        mark = "[red]![/]" if finding.needs_someone else "-"
        yield f"  {mark} {escape(finding.what)}\n    [dim]{escape(finding.fix)}[/]"
    yield ""
    yield table(name, "", rows=_figures(facts))
    if facts.stalest:
        rows = [
            (one.item_id, one.standing.status.value, age(one.synced_at, facts.read_at), one.institution_id)
            for one in facts.stalest
        ]
        yield ""
        yield table("least fresh Items", "state", "last sync", "bank", rows=rows)


def _figures(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "Items", ", ".join(f"{count:,} {state.value}" for state, count in facts.items.items() if count) or "none"
    yield "queue", _queue_line(facts.queue)
    yield "dead letters", _queue_line(facts.dead_letters)
    yield "syncing", "on" if facts.mapping == ENABLED else f"off ({facts.mapping})"
    ringing = ", ".join(alarm.slug for alarm in facts.ringing) or "none"
    yield "alarms", f"{len(facts.alarms)}, in alarm: {ringing}"
    yield "last sweep", age(facts.swept_at, facts.read_at, never="unknown (no metric SweepRuns in six hours)")


def _queue_line(depth: readings.QueueDepth) -> str:
    oldest = "" if depth.oldest is None else f", the oldest {duration(depth.oldest)} old"
    return f"{depth.visible:,} waiting, {depth.in_flight:,} in flight{oldest}"
