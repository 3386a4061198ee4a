"""`destroy`: the end of a deployment, data and all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plaid_sync_cli import deployment, destroying
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import CommandError, ExitCode, usage_error
from plaid_sync_cli.output import plural
from plaid_sync_cli.remains import look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plaid_sync_cli.destroying import Ended, Obstacle
    from plaid_sync_cli.remains import Remains

APP: Final = typer.Typer()


@command(APP, "destroy")
def destroy(
    context: Context, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the stack's name.")] = False
) -> int:
    """Delete a deployment with all its data, for good; refuse while any of it is protected, and say how to lift that.

    The stack goes first, then what it leaves: tables, dead-letter queue, keys. Run again it goes on where it stopped.

    Example: `plaid-sync destroy --stack plaid-sync-dev`
    """
    if context.choice.local:
        raise usage_error("--local", "The stack of `make local` ends with Ctrl-C, and leaves nothing.")
    name = context.choice.stack or os.environ.get("PLAID_SYNC_STACK")
    if not name:
        raise usage_error("--stack is missing", "Give --stack NAME or set PLAID_SYNC_STACK.")
    session, _ = deployment.session_of(context.choice)
    remains = look(name, session)
    if _refused(context, remains):
        return ExitCode.FOUND
    _confirm(context, remains, yes=yes)
    remains = look(name, session)  # meanwhile somebody may have linked an Item
    if _refused(context, remains):
        return ExitCode.FOUND
    ended = _destroy(context, remains)
    document = {
        "destroyed": True,
        "stack": name,
        "deleted": [one.what for one in ended if one.until is None],
        "keys": [{"key": one.what.split()[-1], "deleted_at": one.until} for one in ended if one.until],
    }
    context.output.show(document, lambda: _picture(name, ended))
    return ExitCode.FINE


def _refused(context: Context, remains: Remains) -> bool:
    found = list(destroying.obstacles(remains))
    if found:
        document = {"destroyed": False, "obstacles": [{"what": one.what, "lift": one.lift} for one in found]}
        context.output.show(document, lambda: _refusal(remains.name, found))
    return bool(found)


def _refusal(name: str, found: list[Obstacle]) -> Iterator[str]:
    yield f"{name} is not destroyed, and nothing was changed: {plural(len(found), 'thing')} protected."
    for one in found:
        yield f"  ! {one.what}"
        yield from (f"    {command}" for command in one.lift)
    yield "Lift them, and run this again. docs/deploying.md has it all in order."


def _confirm(context: Context, remains: Remains, *, yes: bool) -> None:
    what = "what is left of it" if remains.gone else "the stack and all that it keeps"
    tables, keys = (len(remains.of(kind)) for kind in ("AWS::DynamoDB::Table", "AWS::KMS::Key"))
    context.output.say(
        f"{remains.name}: {what} will be deleted for good: {plural(tables, 'table')}, queues, logs, "
        f"and in 30 days {plural(keys, 'key')}."
    )
    if yes:
        return
    typed = typer.prompt("Type the stack's name to go on", err=True)
    if typed.strip() != remains.name:
        raise CommandError("that is not the stack's name", "Nothing was changed.", ExitCode.INTERRUPTED)


def _destroy(context: Context, remains: Remains) -> list[Ended]:
    ended: list[Ended] = []
    try:
        if not remains.gone:
            context.output.say("Deleting the stack: some minutes")
            destroying.delete_stack(remains, context.output.say)
        for one in destroying.delete_rest(remains):
            context.output.say(f"deleted: {one.what}" if one.until is None else f"scheduled for deletion: {one.what}")
            ended.append(one)
    except BaseException:
        context.output.say(f"Not finished. Run it again to go on: plaid-sync destroy --stack {remains.name}")
        raise
    return ended


def _picture(name: str, ended: list[Ended]) -> Iterator[str]:
    yield f"{name} is gone, with {plural(len(ended), 'thing')} that it had left."
    for one in ended:
        if one.until is not None:
            keep = f"aws kms cancel-key-deletion --key-id {one.what.split()[-1]}"
            yield f"Until {one.until:%Y-%m-%d %H:%M} UTC you can keep the {one.what}: {keep}"
    yield "Left alone: the code that was uploaded, in the bucket of `sam deploy` (prefix: the stack's name)."
