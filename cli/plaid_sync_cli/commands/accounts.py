"""`accounts`: compares the accounts of an Item with Plaid's list, and erases and restores one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from plaid_sync.domain.accounts import AccountState
from plaid_sync.domain.clock import utc_now

from plaid_sync_cli.api import account_path, item_path
from plaid_sync_cli.command import Context, ItemArgument, YesOption, command
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.item_report import account_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

APP: Final = typer.Typer()
ACCOUNTS: Final = typer.Typer(no_args_is_help=True, help="Compare the accounts of an Item; erase and restore one.")
APP.add_typer(ACCOUNTS, name="accounts")
AccountArgument = Annotated[str, typer.Argument(metavar="ACCOUNT_ID", help="An account of the Item.")]


@command(ACCOUNTS, "compare")
def compare(context: Context, item_id: ItemArgument) -> int:
    """Show the accounts that Plaid lists now, and request that they are compared with the known ones.

    Example: `plaid-sync accounts compare eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6`
    """
    document = context.api.call("POST", item_path(item_id, "accounts"))

    def text() -> Iterator[RenderableType]:
        yield account_table(document["accounts"], utc_now())
        yield f"A comparison is requested; plaid-sync item {item_id} shows when it is done."

    context.output.show(document, text)
    return ExitCode.OK


@command(ACCOUNTS, "erase")
def erase(context: Context, item_id: ItemArgument, account_id: AccountArgument, *, yes: YesOption = False) -> int:
    """Erase the transactions of an account, and accept none of it until it is restored.

    Example: `plaid-sync accounts erase eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6 BxBXxLj1m4HMXBm9WZZmCWVbPjX16EHwv99vp`
    """
    context.output.confirm(f"Erase the transactions of account {account_id} of {item_id}?", yes=yes)
    document = context.api.call("DELETE", account_path(item_id, account_id))
    context.output.show(document, lambda: [f"{account_id} is {document['state']}. plaid-sync item {item_id} shows it."])
    return ExitCode.OK


@command(ACCOUNTS, "restore")
def restore(context: Context, item_id: ItemArgument, account_id: AccountArgument) -> int:
    """Accept the transactions of an erased account again; a full resync brings those that Plaid has.

    Example: `plaid-sync accounts restore eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6 BxBXxLj1m4HMXBm9WZZmCWVbPjX16EHwv99vp`
    """
    document = context.api.call("POST", account_path(item_id, account_id, "restore"))
    resynced = " A full resync is requested." if document["state"] == AccountState.LISTED else ""
    context.output.show(document, lambda: [f"{account_id} is {document['state']}.{resynced}"])
    return ExitCode.OK
