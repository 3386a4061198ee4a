"""`verify-webhook`: explains why a captured webhook is or is not valid."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.domain.clock import format_timestamp, parse_timestamp, utc_now
from rich.markup import escape

from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.output import table
from plaid_sync_cli.plaid import Plaid
from plaid_sync_cli.webhook_verification import checks, describe_effect, parse_capture, parse_jwk, rejection_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.webhook.signature import VerificationKey
    from rich.console import RenderableType

    from plaid_sync_cli.webhook_verification import Check

APP: Final = typer.Typer()


@command(APP, "verify-webhook")
def verify_webhook(
    context: Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="{headers, body} or an API Gateway event, as JSON.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Verify as of this time (ISO 8601); default: its arrival, or now."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Plaid's public key as a JWK, instead of fetching it.")
    ] = None,
) -> int:
    """Explain why a captured webhook is or is not valid, with the checks of the webhook function.

    Exit code 1 if it is not valid.

    Example: `plaid-sync verify-webhook captured.json --at 2026-03-01T12:00:30Z`
    """
    captured = parse_capture(_read("FILE", file))
    now = _parse_time(at) or captured.arrived_at or utc_now()
    reason = rejection_reason(captured, _key_source(context, key), now)
    results = checks(captured, reason, now)
    effect = None if reason else describe_effect(captured.body)
    document = {
        "valid": reason is None,
        "reason": reason,
        "verified_at": now,
        "checks": [
            {"check": check.name, "result": check.result, "explanation": check.explanation} for check in results
        ],
        "effect": effect,
    }
    context.output.show(document, lambda: _render(results, reason, effect, now))
    return ExitCode.ACTION_REQUIRED if reason else ExitCode.OK


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise usage_error(f"{name} {path}: {error.strerror}", "Give a readable file.") from error


def _parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    time = parse_timestamp(text)
    if time is None:
        raise usage_error(f"--at {text}", f"Give a time like {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}.")
    return time


def _key_source(context: Context, path: Path | None) -> Callable[[str], VerificationKey | None]:
    if path is None:
        return partial(_fetch, context)
    key = parse_jwk(_read("--key", path))
    return lambda key_id: key if key.key_id == key_id else None


def _fetch(context: Context, key_id: str) -> VerificationKey | None:
    """Fetch a key from Plaid; only this needs a deployment."""
    return Plaid.of(context.deployment).keys.fetch(key_id)


def _render(results: list[Check], reason: str | None, effect: str | None, now: datetime) -> Iterator[RenderableType]:
    as_of = f"as of {format_timestamp(now)}"
    if reason is None:
        yield f"[bold green]Valid[/] {as_of}: it is Plaid's. {escape(str(effect))}"
    else:
        yield f"[bold red]Not valid[/] {as_of}: {escape(reason)} (rejected with 401)"
    yield ""
    yield table("check", "result", "why", rows=[(check.name, check.result, check.explanation) for check in results])
