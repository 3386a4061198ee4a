"""The program: all commands under one name."""

from __future__ import annotations

import typer

from plaid_sync_cli.commands import (
    about,
    audit,
    cost,
    destroy,
    dlq,
    doctor,
    export,
    items,
    keys,
    link,
    pausing,
    requests,
    smoke,
    status,
    upgrade,
    verify_webhook,
    watch,
)

app = typer.Typer(
    name="plaid-sync",
    help="Ask a deployment of plaid-sync-engine how it is, and operate it. Exit codes: 0 fine, 1 found something that "
    "needs somebody, 2 wrong usage, 3 can't reach it or not allowed, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
for module in (
    status,
    items,
    link,
    requests,
    audit,
    dlq,
    pausing,
    watch,
    export,
    doctor,
    smoke,
    about,
    keys,
    upgrade,
    destroy,
    cost,
    verify_webhook,
):
    app.add_typer(module.APP)
