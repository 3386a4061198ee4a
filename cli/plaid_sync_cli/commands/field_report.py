"""`field-report`: the evidence of a deployment for the claims that no emulator can confirm."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.domain.clock import utc_now
from rich.markup import escape

from plaid_sync_cli.claims import Verdict
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.field_report import collect
from plaid_sync_cli.observations import Observations
from plaid_sync_cli.output import private_file, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

APP: Final = typer.Typer()
_COLORS: Final = {Verdict.CONFIRMED: "green", Verdict.REFUTED: "red", Verdict.NOT_OBSERVED: "yellow"}


@command(APP, "field-report")
def field_report(
    context: Context,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the report as JSON.")
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=120, metavar="N", help="The last N hours.")] = 48,
) -> int:
    """Show for each claim about AWS and Plaid what was observed: confirmed, refuted, or not observed.

    The report has no secret, token, account, caller or amount. Exit code 1 if a claim is refuted.

    Example: `plaid-sync field-report --stack plaid-sync-dev --output report.json`
    """
    if file is not None and not file.parent.is_dir():
        raise usage_error(f"--output {file}", f"Create the folder {file.parent} first.")
    now = utc_now()
    seen = Observations(context.deployment, now - timedelta(hours=hours), now)
    with context.output.stderr.status("Collecting"):
        report = collect(seen)
    if file is not None:
        with private_file(file) as stream:
            stream.write(to_json(report, indent=2) + "\n")
        context.output.log(f"The report is in {file}.")
    context.output.show(report, lambda: _render(report["claims"]))
    refuted = any(claim["verdict"] == Verdict.REFUTED for claim in report["claims"])
    return ExitCode.ACTION_REQUIRED if refuted else ExitCode.OK


def _render(claims: list[dict[str, Any]]) -> Iterator[str]:
    counts = Counter(claim["verdict"] for claim in claims)
    yield ", ".join(f"{counts[verdict.value]} {verdict.value}" for verdict in Verdict)
    for claim in claims:
        color = _COLORS[Verdict(claim["verdict"])]
        yield f"[{color}]{claim['verdict']:13}[/] [bold]{escape(claim['id'])}[/]: {escape(claim['claim'])}"
        yield f"              [dim]{escape(claim['observed'])}[/]"
