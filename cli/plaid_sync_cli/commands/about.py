"""`whoami` and `about`: where commands go, and where a deployment is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer

from plaid_sync_cli import deployment, keys
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_ADDRESSES: Final = (
    ("webhook URL", "WebhookUrl"),
    ("Item API", "ApiUrl"),
    ("dashboard", "DashboardUrl"),
    ("alarms' topic", "AlarmTopicArn"),
    ("Plaid's keys", "PlaidSecretId"),
)


@command(APP, "whoami")
def whoami(context: Context) -> int:
    """Say which account and region commands go to, and as whom. It needs no deployment.

    Example: `plaid-sync whoami --profile dev`
    """
    session, endpoint = deployment.session_of(context.choice)
    identity = session.client("sts", endpoint_url=endpoint, config=deployment.CONFIG).get_caller_identity()
    document = {"account": identity["Account"], "region": session.region_name, "arn": identity["Arn"]}
    context.output.show(
        document, lambda: [f"Account {document['account']}, {document['region']}, as {document['arn']}"]
    )
    return ExitCode.FINE


@command(APP, "about")
def about(context: Context) -> int:
    """Say where a deployment is: its addresses, what it was deployed with, and what is to be done next.

    Example: `plaid-sync about --stack plaid-sync-dev`
    """
    found = context.deployment
    addresses = {name: found.outputs[output] for name, output in _ADDRESSES if output in found.outputs}
    following = _next(found)
    document: dict[str, Any] = {
        "stack": found.name,
        "region": found.region,
        "addresses": addresses,
        "parameters": dict(found.parameters),
        "next": following,
    }
    context.output.show(document, lambda: _picture(found, addresses, following))
    return ExitCode.FINE


def _next(found: Deployment) -> str:
    where = "--local" if found.local else f"--stack {found.name}"
    if not keys.are_there(found):
        return f"plaid-sync keys set {where}: without Plaid's keys webhooks are answered 5xx"
    if found.parameters.get("PlaidEnvironment") == "sandbox":
        return f"plaid-sync smoke {where}: links a bank of Plaid's sandbox, and looks at everything once"
    return f"plaid-sync link --hosted {where}: links the first bank (docs/api.md is for your application)"


def _picture(found: Deployment, addresses: dict[str, str], following: str) -> Iterator[RenderableType]:
    yield f"{found.name} in {found.region}"
    yield table("", "", rows=list(addresses.items()))
    yield f"Next: {following}"
