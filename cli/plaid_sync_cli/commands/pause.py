"""`pause` and `resume`: disable and enable the event source mapping of the sync function."""

from __future__ import annotations

import time
from typing import Final

import typer
from plaid_sync.domain.clock import utc_now

from plaid_sync_cli import monitoring
from plaid_sync_cli.command import Context, YesOption, command
from plaid_sync_cli.errors import CommandError, ExitCode
from plaid_sync_cli.output import plural

APP: Final = typer.Typer()
_TIMEOUT_SECONDS: Final = 120


@command(APP, "pause")
def pause(context: Context, *, yes: YesOption = False) -> int:
    """Stop syncing. Webhooks are still accepted; their messages wait in the queue, for four days at most.

    Example: `plaid-sync pause --stack plaid-sync`
    """
    context.output.confirm(f"Stop all syncing of {context.deployment.name}?", yes=yes)
    return _switch(context, enabled=False)


@command(APP, "resume")
def resume(context: Context) -> int:
    """Resume syncing after `pause`.

    Example: `plaid-sync resume --stack plaid-sync`
    """
    return _switch(context, enabled=True)


def _switch(context: Context, *, enabled: bool) -> int:
    deployment = context.deployment
    target, mapping = "Enabled" if enabled else "Disabled", deployment.output("SyncEventSourceMappingId")
    deployment.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=enabled)
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while (state := monitoring.mapping_state(deployment)) != target:
        if time.monotonic() > deadline:
            raise CommandError(
                f"the event source mapping is still {state} after {_TIMEOUT_SECONDS} s",
                "Check it again: plaid-sync status",
            )
        context.output.log(f"{state}...")
        time.sleep(1)
    depth = monitoring.queue_depth(deployment, deployment.output("SyncQueueUrl"), utc_now())
    document = {"paused": not enabled, "visible": depth.visible, "in_flight": depth.in_flight}
    syncing = "on" if enabled else "paused"
    waiting = f"{plural(depth.visible, 'message')} waiting, {depth.in_flight:,} in flight"
    context.output.show(document, lambda: [f"Syncing is {syncing}: {waiting}."])
    return ExitCode.OK
