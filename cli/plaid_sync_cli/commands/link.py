"""`link`: a bank of Plaid's sandbox in one command, or a page for a real user."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from plaid_sync_cli.api import ApiError
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import CommandError, ExitCode, usage_error
from plaid_sync_cli.output import plural
from plaid_sync_cli.plaid import Plaid

if TYPE_CHECKING:
    from plaid_sync_cli.api import ItemApi
    from plaid_sync_cli.output import Output

APP: Final = typer.Typer()
_PRODUCTS: Final = ("transactions",)
_BANK: Final = "ins_109508"
"""Plaid's First Platypus Bank (https://plaid.com/docs/sandbox/institutions/)."""
_UNDONE: Final = "link_session_not_finished"
_RETRY_SECONDS: Final = 5
_SLEEP: Final = 1


@command(APP, "link")
def link(  # noqa: PLR0913 - each is an option
    context: Context,
    user: Annotated[str | None, typer.Option(help="Your reference of the user (client_user_id).")] = None,
    institution: Annotated[str, typer.Option(help="A bank of Plaid's sandbox.")] = _BANK,
    days: Annotated[int, typer.Option(min=1, max=730, help="How much history.")] = 730,
    *,
    hosted: Annotated[bool, typer.Option("--hosted", help="Print a page for a real user, and wait.")] = False,
    wait: Annotated[int, typer.Option(min=1, help="With --hosted: minutes to wait.")] = 30,
) -> int:
    """Link an Item: of Plaid's sandbox at once, or with `--hosted` through a page that a real user opens.

    Example: `plaid-sync link --local`
    """
    if hosted:
        answer = _link_hosted(context, user or f"cli-{uuid.uuid4().hex[:12]}", days, wait)
    else:
        if user is not None:
            raise usage_error("--user", "Give it with --hosted: Plaid's sandbox links without a user's session.")
        answer = _link_sandbox(context, institution, days)
    context.output.show(
        answer, lambda: [f"Linked {answer['item_id']}. plaid-sync item {answer['item_id']} explains it."]
    )
    return ExitCode.FINE


def _link_sandbox(context: Context, institution: str, days: int) -> Any:  # noqa: ANN401 - JSON
    if context.deployment.parameters.get("PlaidEnvironment") != "sandbox":
        raise usage_error("link", "This stack is Plaid's production: use --hosted, for a real user.")
    created = Plaid.of(context.deployment).call(
        "/sandbox/public_token/create",
        institution_id=institution,
        initial_products=list(_PRODUCTS),
        options={"webhook": context.deployment.output("WebhookUrl"), "transactions": {"days_requested": days}},
    )
    return context.api.call("POST", "/items", {"public_token": created["public_token"], "days_requested": days})


def _link_hosted(context: Context, user: str, days: int, minutes: int) -> Any:  # noqa: ANN401 - JSON
    asked = {"client_user_id": user, "hosted_link": True, "days_requested": days}
    session = context.api.call("POST", "/link-tokens", asked)
    context.output.say(f"Send the user ({user}) to: {session['hosted_link_url']}")
    request = {"link_token": session["link_token"], "client_user_id": user}
    return _await_link(context.api, context.output, request, minutes)


def _await_link(api: ItemApi, output: Output, request: dict[str, str], minutes: int) -> Any:  # noqa: ANN401 - JSON
    """Ask until the user has finished; Ctrl-C loses nothing, for the session stays."""
    deadline = time.monotonic() + minutes * 60
    with output.notes.status("Waiting for the user to finish Link (Ctrl-C stops waiting)") as status:
        while True:
            try:
                return api.call("POST", "/items", request)
            except ApiError as error:
                if error.code != _UNDONE:
                    raise
                left = round(deadline - time.monotonic())
                if left <= 0:
                    raise CommandError(
                        f"the user has not finished within {plural(minutes, 'minute')}",
                        "Run it again, with a longer --wait.",
                    ) from error
                status.update(
                    f"Waiting for the user to finish Link ({left // 60} min {left % 60} s left, Ctrl-C stops)"
                )
                time.sleep(min(error.retry_after or _RETRY_SECONDS, max(left, _SLEEP)))
