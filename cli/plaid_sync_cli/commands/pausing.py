"""`pause` and `resume`: the event source mapping between the queue and the sync function."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer
from plaid_sync.adapters.aws import utc_now

from plaid_sync_cli import readings
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import CommandError, ExitCode
from plaid_sync_cli.output import plural

APP: Final = typer.Typer()
_SECONDS: Final = 120


@command(APP, "pause")
def pause(context: Context, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> int:
    """Stop syncing: webhooks are still accepted, and wait in the queue, for four days at most.

    Example: `plaid-sync pause --stack plaid-sync`
    """
    context.output.confirm(f"Stop all syncing of {context.deployment.name}?", yes=yes)
    return _switch(context, enabled=False)


@command(APP, "resume")
def resume(context: Context) -> int:
    """Go on syncing after `pause`.

    Example: `plaid-sync resume --stack plaid-sync`
    """
    return _switch(context, enabled=True)


def _switch(context: Context, *, enabled: bool) -> int:
    deployment = context.deployment
    wanted, mapping = "Enabled" if enabled else "Disabled", deployment.output("SyncTriggersId")
    deployment.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=enabled)
    deadline = time.monotonic() + _SECONDS
    while (state := readings.mapping_state(deployment)) != wanted:
        if time.monotonic() > deadline:
            raise CommandError(
                f"the event source mapping is still {state} after {_SECONDS} s", "Look again: plaid-sync status"
            )
        context.output.say(f"{state}...")
        time.sleep(1)
    depth = readings.queue_depth(deployment, deployment.output("SyncQueueUrl"), utc_now())
    document = {"paused": not enabled, "visible": depth.visible, "in_flight": depth.in_flight}
    now = "on" if enabled else "paused"
    waiting = f"{plural(depth.visible, 'message')} waiting, {depth.in_flight:,} in flight"
    context.output.show(document, lambda: [f"Syncing is {now}: {waiting}."])
    return ExitCode.FINE
