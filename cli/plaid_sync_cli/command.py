"""What all commands share: options, `--json`, and the handling of failures.

A command is a function of a `Context` and its own options. `@command` adds the common options and the exit code: the
function returns it; None is 0.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from plaid_sync_cli import deployment
from plaid_sync_cli.api import ItemApi
from plaid_sync_cli.deployment import Deployment, Target
from plaid_sync_cli.errors import CommandError, ExitCode, expected_failures
from plaid_sync_cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable

_PANEL: Final = "Deployment and output"
_COMMON: Final[dict[str, tuple[Any, Any]]] = {
    "stack": (
        Annotated[
            str | None,
            typer.Option(metavar="NAME", help="The stack; default: PLAID_SYNC_STACK.", rich_help_panel=_PANEL),
        ],
        None,
    ),
    "region": (Annotated[str | None, typer.Option(help="AWS region.", rich_help_panel=_PANEL)], None),
    "profile": (Annotated[str | None, typer.Option(help="AWS profile.", rich_help_panel=_PANEL)], None),
    "local": (
        Annotated[bool, typer.Option("--local", help="The stack of `make local`.", rich_help_panel=_PANEL)],
        False,
    ),
    "as_json": (
        Annotated[bool, typer.Option("--json", help="One JSON document instead of text.", rich_help_panel=_PANEL)],
        False,
    ),
}

ItemArgument = Annotated[str, typer.Argument(metavar="ITEM_ID", help="An Item.")]
OptionalItemArgument = Annotated[str | None, typer.Argument(metavar="[ITEM_ID]", help="Only this Item.")]
ItemsArgument = Annotated[list[str], typer.Argument(metavar="ITEM_ID...", help="One or more Items.")]
OptionalItemsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ITEM_ID...]", help="These Items.")]
AllOption = Annotated[bool, typer.Option("--all", help="All Items.")]
UserOption = Annotated[
    str | None, typer.Option("--user", metavar="CLIENT_USER_ID", help="The Items of this user of yours.")
]
RateOption = Annotated[str, typer.Option("--rate", metavar="RATE", help="Items per unit of time: 2/s, 30/min, 100/h.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")]


@dataclass(frozen=True)
class Context:
    """What a command works with.

    Attributes:
        target: the deployment that the options name.
        output: where to write.
    """

    target: Target
    output: Output

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment, looked up on first use.

        Raises:
            CommandError: it is not found.
        """
        return deployment.find(self.target)

    @cached_property
    def api(self) -> ItemApi:
        """The deployment's Items API."""
        return ItemApi.of(self.deployment)


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """Register a function as a command of this name."""

    def register(function: Callable[..., int | None]) -> Callable[..., None]:
        @wraps(function)
        def run(**options: Any) -> None:  # noqa: ANN401 - options have any type
            common = {option: options.pop(option) for option in _COMMON}
            output = Output(common.pop("as_json"))
            raise typer.Exit(_run(function, Context(Target(**common), output), options))

        _describe(run, function)
        app.command(name, help=inspect.getdoc(function))(run)
        return run

    return register


def _describe(run: Any, function: Callable[..., int | None]) -> None:  # noqa: ANN401 - a function with attributes to set
    """Give the command a signature that typer reads: the function's options, then the common ones."""
    hints = get_type_hints(function, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(annotation=hints[parameter.name], kind=keyword) for parameter in own]
    parameters += [
        inspect.Parameter(option, keyword, annotation=kind, default=default)
        for option, (kind, default) in _COMMON.items()
    ]
    run.__signature__ = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__


def _run(function: Callable[..., int | None], context: Context, options: dict[str, Any]) -> int:
    try:
        with expected_failures():
            return function(context, **options) or ExitCode.OK
    except CommandError as error:
        context.output.fail(error)
        return error.exit_code
    except typer.Abort:
        context.output.log("Aborted; nothing was changed (--yes skips the prompt).")
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        context.output.log("Interrupted.")
        return ExitCode.INTERRUPTED
