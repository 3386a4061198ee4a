"""`link`: links an Item of Plaid's sandbox, or sends a real user through Hosted Link."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from plaid_sync_cli.api import ApiError
from plaid_sync_cli.command import Context, UserOption, command
from plaid_sync_cli.errors import CommandError, ExitCode, usage_error
from plaid_sync_cli.plaid import SANDBOX_BANK, Plaid

if TYPE_CHECKING:
    from plaid_sync_cli.api import ItemApi
    from plaid_sync_cli.output import Output

APP: Final = typer.Typer()
_NOT_FINISHED: Final = "link_session_not_finished"
_POLL_SECONDS: Final = 5


@command(APP, "link")
def link(  # noqa: PLR0913 - each is an option
    context: Context,
    user: UserOption = None,
    institution: Annotated[str, typer.Option(metavar="ID", help="A bank of Plaid's sandbox.")] = SANDBOX_BANK,
    days: Annotated[int, typer.Option(min=1, max=730, metavar="N", help="Days of history.")] = 730,
    *,
    hosted: Annotated[
        bool, typer.Option("--hosted", help="Print a Hosted Link page for a real user, and wait.")
    ] = False,
    timeout: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long --hosted waits.")] = 1_800,
) -> int:
    """Link an Item: of Plaid's sandbox immediately, or with `--hosted` on a page for a real user.

    Example: `plaid-sync link --local`
    """
    if hosted:
        document = _link_hosted(context, user or f"cli-{uuid.uuid4().hex[:12]}", days, timeout)
    else:
        if user is not None:
            raise usage_error("--user", "Give it with --hosted: Plaid's sandbox links without a user.")
        document = _link_sandbox(context, institution, days)
    context.output.show(
        document, lambda: [f"Linked {document['item_id']}. plaid-sync item {document['item_id']} explains it."]
    )
    return ExitCode.OK


def _link_sandbox(context: Context, institution: str, days: int) -> Any:  # noqa: ANN401 - JSON
    if context.deployment.parameters.get("PlaidEnvironment") != "sandbox":
        raise usage_error("link", "This stack uses Plaid's production: give --hosted, for a real user.")
    url = context.deployment.output("WebhookUrl")
    public_token = Plaid.of(context.deployment).create_sandbox_token(institution, url, days)
    return context.api.call("POST", "/items", {"public_token": public_token, "days_requested": days})


def _link_hosted(context: Context, user: str, days: int, timeout: int) -> Any:  # noqa: ANN401 - JSON
    body = {"client_user_id": user, "hosted_link": {}, "days_requested": days}
    session = context.api.call("POST", "/link-tokens", body)
    context.output.log(f"Send the user ({user}) to: {session['hosted_link_url']}")
    request = {"link_token": session["link_token"], "client_user_id": user}
    return _wait_for_link(context.api, context.output, request, timeout)


def _wait_for_link(api: ItemApi, output: Output, request: dict[str, str], timeout: int) -> Any:  # noqa: ANN401 - JSON
    """Poll until the user has finished; Ctrl-C loses nothing, because the session continues."""
    deadline = time.monotonic() + timeout
    with output.stderr.status("Waiting for the user to finish Link (Ctrl-C stops waiting)") as status:
        while True:
            try:
                return api.call("POST", "/items", request)
            except ApiError as error:
                if error.code != _NOT_FINISHED:
                    raise
                left = round(deadline - time.monotonic())
                if left <= 0:
                    raise CommandError(
                        f"the user has not finished Link within {timeout} s", "Run it again, with a longer --timeout."
                    ) from error
                status.update(
                    f"Waiting for the user to finish Link ({left // 60} min {left % 60} s left, Ctrl-C stops waiting)"
                )
                time.sleep(min(error.retry_after or _POLL_SECONDS, left))
