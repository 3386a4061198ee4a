"""`doctor`: whether a deployment is as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer
from rich.markup import escape

from plaid_sync_cli import checks_aws, checks_plaid
from plaid_sync_cli.checking import Finding, Result, run
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

APP: Final = typer.Typer()
_COLOURS: Final = {Result.OK: "green", Result.WARNING: "yellow", Result.FAILED: "red"}


@command(APP, "doctor")
def doctor(context: Context) -> int:
    """Check a deployment: keys, webhooks, clocks, alarms, schedules, versions, tables. It changes nothing.

    Exit code 1 if a check failed; warnings are none.

    Example: `plaid-sync doctor --stack plaid-sync`
    """
    found: list[tuple[str, Finding]] = []
    checks = (*checks_plaid.CHECKS, *checks_aws.CHECKS)
    deployment = context.deployment
    with context.output.notes.status("Checking") as status:
        for name, finding in run(checks, deployment):
            found.append((name, finding))
            status.update(f"Checking ({len(found)} of {len(checks)})")
    bad = [finding for _, finding in found if finding.result is Result.FAILED]
    document = {
        "healthy": not bad,
        "checks": [
            {"check": name, "result": one.result.value, "what": one.what, "fix": one.fix or None} for name, one in found
        ],
    }
    context.output.show(document, lambda: _picture(found))
    return ExitCode.FOUND if bad else ExitCode.FINE


def _picture(found: list[tuple[str, Finding]]) -> Iterator[str]:
    counts = {result: sum(one.result is result for _, one in found) for result in Result}
    yield f"{counts[Result.OK]} ok, {plural(counts[Result.WARNING], 'warning')}, {counts[Result.FAILED]} failed"
    for name, one in found:
        yield f"[{_COLOURS[one.result]}]{one.result.value:8}[/] [bold]{escape(name)}[/]: {escape(one.what)}"
        if one.fix:
            yield f"         [dim]{escape(one.fix)}[/]"
