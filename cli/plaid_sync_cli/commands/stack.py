"""`whoami`, `quotas`, `about`, `doctor` and `retained`: the AWS account and the deployed stack."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.domain.item import StateName
from rich.markup import escape

from plaid_sync_cli import deployment, monitoring, quotas
from plaid_sync_cli.checks import CHECKS, run_checks
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.commands.keys import has_keys
from plaid_sync_cli.deployment import TABLES
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.findings import Finding, Result
from plaid_sync_cli.output import plural, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.deployment import Deployment

APP: Final = typer.Typer()
_ADDRESSES: Final = (
    ("webhook URL", "WebhookUrl"),
    ("Items API", "ApiUrl"),
    ("dashboard", "DashboardUrl"),
    ("topic of pages", "PageTopicArn"),
    ("topic of other alarms", "AlarmTopicArn"),
    ("Plaid's keys", "PlaidSecretId"),
)
_COLORS: Final = {Result.OK: "green", Result.WARNING: "yellow", Result.FAILED: "red"}


@command(APP, "whoami")
def whoami(context: Context) -> int:
    """Show the AWS account, region and identity that commands use. It needs no deployment.

    Example: `plaid-sync whoami --profile dev`
    """
    session, endpoint = deployment.session_of(context.target)
    identity = session.client("sts", endpoint_url=endpoint, config=deployment.CONFIG).get_caller_identity()
    document = {"account": identity["Account"], "region": session.region_name, "arn": identity["Arn"]}
    context.output.show(
        document, lambda: [f"Account {document['account']}, {document['region']}, as {document['arn']}"]
    )
    return ExitCode.OK


@command(APP, "quotas")
def compare_quotas(
    context: Context,
    parameters: Annotated[
        str, typer.Option(metavar="NAME=VALUE...", help="Parameters of the deployment to come.")
    ] = "",
) -> int:
    """Compare the account's quotas with what a deployment needs. It needs no deployment.

    `make deploy` runs it first. Exit code 1 if the deployment would fail; 0 with warnings.

    Example: `plaid-sync quotas --stack plaid-sync --parameters "ReserveSyncConcurrency=true"`
    """
    session, endpoint = deployment.session_of(context.target)
    deployed = deployment.deployed_parameters(context.target)
    given = dict(word.split("=", 1) for word in shlex.split(parameters) if "=" in word)
    findings = list(
        quotas.check(
            lambda service: session.client(service, endpoint_url=endpoint, config=deployment.CONFIG),
            quotas.Needs.of(deployed | given),
            quotas.Needs.of(deployed) if deployed else None,
            emulated=endpoint is not None,
        )
    )
    document = {"quotas": [finding.document() for finding in findings]}
    context.output.show(document, lambda: (line for finding in findings for line in _render(finding)))
    failed = any(finding.result is Result.FAILED for finding in findings)
    return ExitCode.ACTION_REQUIRED if failed else ExitCode.OK


@command(APP, "about")
def about(context: Context) -> int:
    """Show the addresses of a deployment, its parameters (`--json`) and the next step.

    Example: `plaid-sync about --stack plaid-sync-dev`
    """
    stack = context.deployment
    addresses = {name: stack.outputs[output] for name, output in _ADDRESSES if output in stack.outputs}
    next_step = _next_step(stack)
    document: dict[str, Any] = {
        "stack": stack.name,
        "region": stack.region,
        "addresses": addresses,
        "parameters": dict(stack.parameters),
        "next": next_step,
    }

    def text() -> Iterator[RenderableType]:
        yield f"{stack.name} in {stack.region}"
        yield table("", "", rows=list(addresses.items()))
        yield f"Next: {next_step}"

    context.output.show(document, text)
    return ExitCode.OK


def _next_step(stack: Deployment) -> str:
    where = "--local" if stack.local else f"--stack {stack.name}"
    if not has_keys(stack):
        return f"plaid-sync keys set {where}: without Plaid's keys webhooks are answered with 5xx"
    if stack.parameters.get("PlaidEnvironment") == "sandbox":
        return f"plaid-sync smoke {where}: tests the deployment end to end with a bank of Plaid's sandbox"
    return f"plaid-sync link --hosted {where}: links the first bank (docs/api.md is for your application)"


@command(APP, "doctor")
def doctor(context: Context) -> int:
    """Check a deployment: keys, webhooks, clocks, alarms, schedules, versions, tables. It changes nothing.

    Exit code 1 if a check failed; 0 with warnings.

    Example: `plaid-sync doctor --stack plaid-sync`
    """
    found: list[tuple[str, Finding]] = []
    stack = context.deployment
    with context.output.stderr.status("Checking") as status:
        for name, finding in run_checks(stack):
            found.append((name, finding))
            status.update(f"Checking ({len(found)} of {len(CHECKS)})")
    failed = any(finding.result is Result.FAILED for _, finding in found)
    document = {
        "healthy": not failed,
        "checks": [{"check": name, **finding.document()} for name, finding in found],
    }
    context.output.show(document, lambda: _render_findings(found))
    return ExitCode.ACTION_REQUIRED if failed else ExitCode.OK


def _render_findings(found: list[tuple[str, Finding]]) -> Iterator[str]:
    count = {result: sum(finding.result is result for _, finding in found) for result in Result}
    yield f"{count[Result.OK]} ok, {plural(count[Result.WARNING], 'warning')}, {count[Result.FAILED]} failed"
    for name, finding in found:
        yield from _render(finding, name)


def _render(finding: Finding, name: str = "") -> Iterator[str]:
    heading = f"[bold]{escape(name)}[/]: " if name else ""
    yield f"[{_COLORS[finding.result]}]{finding.result.value:8}[/] {heading}{escape(finding.what)}"
    if finding.fix:
        yield f"         [dim]{escape(finding.fix)}[/]"


@command(APP, "retained")
def retained(context: Context) -> int:
    """List what CloudFormation retains when you delete the stack, with the commands that delete it.

    Exit code 1 if Items are linked, or removals are not completed: Plaid keeps billing these Items, and without the
    stack nothing can remove them.

    Example: `plaid-sync retained --stack plaid-sync-dev`
    """
    stack = context.deployment
    indexes = monitoring.item_indexes(stack)
    counts = indexes.counts() | {StateName.REMOVED.value: indexes.removals_incomplete()}
    linked = {state: count for state, count in counts.items() if count}
    commands = list(_delete_commands(stack))
    document = {"linked_items": linked, "delete_commands": commands}
    context.output.show(document, lambda: _render_retained(stack, linked, commands))
    return ExitCode.ACTION_REQUIRED if linked else ExitCode.OK


def _delete_commands(stack: Deployment) -> Iterator[str]:
    """Yield the commands, keys last: the tables are encrypted with them."""
    for output in TABLES:
        name = stack.output(output)
        yield f"aws dynamodb update-table --table-name {name} --no-deletion-protection-enabled"
        yield f"aws dynamodb delete-table --table-name {name}"
    outbound = {"OutboundQueueUrl", "OutboundDeadLetterQueueUrl"} & stack.outputs.keys()
    for output in ("DeadLetterQueueUrl", "FailedEventsQueueUrl", *sorted(outbound)):
        yield f"aws sqs delete-queue --queue-url {stack.output(output)}"
    for kind, key_id in stack.resources():
        if kind == "AWS::KMS::Key":
            yield f"aws kms schedule-key-deletion --key-id {key_id} --pending-window-in-days 30"


def _render_retained(stack: Deployment, linked: dict[str, int], commands: list[str]) -> Iterator[str]:
    if linked:
        counts = ", ".join(f"{count:,} {state}" for state, count in linked.items())
        yield f"[bold red]Remove all Items first[/] ({counts}): without the stack Plaid keeps billing them."
        yield f"  plaid-sync items --stack {stack.name}"
        yield f"  plaid-sync remove ITEM_ID --transactions erase --stack {stack.name}"
        yield ""
    yield f"CloudFormation retains these resources of {stack.name}. The commands delete them, with all data:"
    yield from (f"  {escape(line)}" for line in commands)
