"""`smoke`: whether a deployment really works, seen from outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.adapters.plaid.credentials import PlaidCredentials

from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import plural
from plaid_sync_cli.plaid import GivenKeys, Plaid
from plaid_sync_cli.smoking import CREATES_NOTHING, END_TO_END, Smoke, Step, run

if TYPE_CHECKING:
    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()


@command(APP, "smoke")
def smoke(
    context: Context,
    wait: Annotated[int, typer.Option(min=1, help="Seconds that a step waits for what comes by itself.")] = 300,
) -> int:
    """Try a deployment end to end: link a bank of Plaid's sandbox, audit its rows, get a webhook, erase it.

    In Plaid's production environment only what creates nothing. Exit code 1 if a step failed; the Item is removed
    all the same.

    Example: `plaid-sync smoke --stack plaid-sync-dev`
    """
    deployment = context.deployment
    sandbox = deployment.parameters.get("PlaidEnvironment") == "sandbox"
    smoke = Smoke(deployment, context.api, _plaid(deployment), float(wait))
    steps = END_TO_END if sandbox else CREATES_NOTHING
    context.output.say(f"{deployment.name}: {plural(len(steps), 'step')}{'' if sandbox else ', none of which creates'}")
    done = run(smoke, steps, lambda step: context.output.say(_line(step)))
    failed = [step for step in done if not step.passed]
    document = {
        "passed": not failed,
        "steps": [{"step": one.name, "passed": one.passed, "what": one.what, "fix": one.fix or None} for one in done],
        "left_item_id": smoke.item_id or None,
    }
    left = f" {smoke.item_id} is left: plaid-sync item {smoke.item_id} says whether it goes." if smoke.item_id else ""
    verdict = f"Failed: {failed[0].name}." if failed else f"It works: {plural(len(done), 'step')} passed."
    context.output.show(document, lambda: [verdict + left])
    return ExitCode.FOUND if failed else ExitCode.FINE


def _plaid(deployment: Deployment) -> Plaid:
    """Return Plaid with the keys in the environment, or with those in the stack's secret."""
    client_id, secret = os.environ.get("PLAID_CLIENT_ID"), os.environ.get("PLAID_SECRET")
    if client_id and secret:
        return Plaid(deployment.plaid_host, GivenKeys(PlaidCredentials(client_id, secret)))
    return Plaid.of(deployment)


def _line(step: Step) -> str:
    return f"  {'ok    ' if step.passed else 'FAILED'} {step.what}" + (f"\n         {step.fix}" if step.fix else "")
