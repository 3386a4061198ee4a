"""`verify-webhook`: why a captured webhook is or isn't Plaid's."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.adapters.aws import utc_now
from plaid_sync.core.plain_text import moment_or_none, moment_text
from rich.markup import escape

from plaid_sync_cli.captured import asks_for, checks, judge, read_capture, read_key
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.output import table
from plaid_sync_cli.plaid import Plaid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.core.webhooks.verification import VerificationKey
    from rich.console import RenderableType

    from plaid_sync_cli.captured import Check

APP: Final = typer.Typer()


@command(APP, "verify-webhook")
def verify_webhook(
    context: Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="{headers, body} or an event of API Gateway, as JSON.")],
    at: Annotated[str | None, typer.Option(help="Judge as of this time (ISO 8601).")] = None,
    key: Annotated[Path | None, typer.Option(help="Plaid's public key as a JWK, instead of asking Plaid.")] = None,
) -> int:
    """Explain why a captured webhook is or isn't valid, check by check, as the webhook function makes them.

    It is judged as of its arrival, where the file says when, else as of now. Exit code 1 if it isn't valid.

    Example: `plaid-sync verify-webhook captured.json --at 2026-03-01T12:00:30Z`
    """
    captured = read_capture(_content("FILE", file))
    now = _moment(at) or captured.arrived_at or utc_now()
    reason = judge(captured, _source(context, key), now)
    made = checks(captured, reason, now)
    leads_to = None if reason else asks_for(captured.body)
    document = {
        "valid": reason is None,
        "reason": reason,
        "judged_at": now,
        "checks": [{"check": one.name, "result": one.result, "explanation": one.explanation} for one in made],
        "leads_to": leads_to,
    }
    context.output.show(document, lambda: _picture(made, reason, leads_to, now))
    return ExitCode.FOUND if reason else ExitCode.FINE


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise usage_error(f"{name} {path}: {error.strerror}", "Give a file that can be read.") from error


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = moment_or_none(text)
    if moment is None:
        raise usage_error(f"--at {text}", f"Give a time like {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}.")
    return moment


def _source(context: Context, path: Path | None) -> Callable[[str], VerificationKey | None]:
    if path is None:
        return partial(_fetch, context)
    key = read_key(_content("--key", path))
    return lambda key_id: key if key.key_id == key_id else None


def _fetch(context: Context, key_id: str) -> VerificationKey | None:
    """Ask Plaid; only then is a deployment needed."""
    return Plaid.of(context.deployment).keys.fetch(key_id)


def _picture(made: list[Check], reason: str | None, leads_to: str | None, now: datetime) -> Iterator[RenderableType]:
    as_of = f"as of {moment_text(now)}"
    if reason is None:
        yield f"[bold green]Valid[/] {as_of}: it is Plaid's. {escape(str(leads_to))}"
    else:
        yield f"[bold red]Not valid[/] {as_of}: {escape(reason)} (answered 401)"
    yield ""
    yield table("check", "result", "why", rows=[(one.name, one.result, one.explanation) for one in made])
