"""The application: registers all commands."""

from __future__ import annotations

import typer

from plaid_sync_cli.commands import (
    accounts,
    audit,
    dlq,
    endpoints,
    export,
    feed,
    field_report,
    imports,
    items,
    keys,
    link,
    pause,
    requests,
    restore,
    smoke,
    stack,
    status,
    tokens,
    usage,
    users,
    verify_webhook,
)

app = typer.Typer(
    name="plaid-sync",
    help="Inspect and operate a deployment of plaid-sync-engine. Exit codes: 0 success, 1 action required or partial "
    "failure, 2 wrong usage, 3 unreachable or permission missing, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
for module in (
    status,
    items,
    link,
    imports,
    requests,
    accounts,
    users,
    audit,
    dlq,
    endpoints,
    pause,
    restore,
    export,
    feed,
    smoke,
    stack,
    field_report,
    keys,
    tokens,
    usage,
    verify_webhook,
):
    app.add_typer(module.APP)
