"""`keys set`: Plaid's keys, into the stack's secret."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from plaid_sync_cli import keys
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode

APP: Final = typer.Typer()
KEYS: Final = typer.Typer(no_args_is_help=True, help="Plaid's client_id and secret, which the functions call it with.")
APP.add_typer(KEYS, name="keys")


@command(KEYS, "set")
def set_keys(
    context: Context,
    *,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Leave keys that are there alone.")] = False,
    untried: Annotated[bool, typer.Option("--untried", help="Do not try them at Plaid first.")] = False,
) -> int:
    """Put Plaid's keys into the stack's secret: typed without echo, or as JSON on standard input.

    Plaid is asked first whether it takes them. The functions use them within five minutes, without a deployment.

    Example: `plaid-sync keys set --stack plaid-sync-dev`
    """
    deployment = context.deployment
    if if_missing and keys.are_there(deployment):
        context.output.show({"set": False, "tried": False}, lambda: ["Plaid's keys are there already."])
        return ExitCode.FINE
    given = keys.asked_for()
    if not untried:
        keys.try_at_plaid(deployment, given)
    keys.store(deployment, given)
    told = "Plaid's keys are stored" + ("" if untried else f", and {deployment.plaid_host} accepts them") + "."
    context.output.show({"set": True, "tried": not untried}, lambda: [told])
    return ExitCode.FINE
