"""What all commands share: the options that choose a deployment, `--json`, and how failures end.

A command is a function of a `Context` and its own options, made one with `@command`, which adds the common options
behind them. What it returns is the exit code; None is 0.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from plaid_sync_cli import deployment
from plaid_sync_cli.api import ItemApi
from plaid_sync_cli.deployment import Choice, Deployment
from plaid_sync_cli.errors import CommandError, ExitCode, expected_failures
from plaid_sync_cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable

_PANEL: Final = "Deployment and output"
_COMMON: Final[dict[str, tuple[Any, Any]]] = {
    "stack": (
        Annotated[
            str | None,
            typer.Option(metavar="NAME", help="The stack; by default PLAID_SYNC_STACK.", rich_help_panel=_PANEL),
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


@dataclass(frozen=True)
class Context:
    """What a command works with.

    Attributes:
        choice: which deployment the options name.
        output: where to write.
    """

    choice: Choice
    output: Output

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment, looked up when it is first needed.

        Raises:
            CommandError: it can't be found.
        """
        return deployment.find(self.choice)

    @cached_property
    def api(self) -> ItemApi:
        """The deployment's Item API."""
        return ItemApi.of(self.deployment)


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """Register a function as a command.

    Args:
        app: where.
        name: what it is called by.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., None]:
        @wraps(function)
        def run(**options: Any) -> None:  # noqa: ANN401 - whatever its options are
            common = {option: options.pop(option) for option in _COMMON}
            output = Output(common.pop("as_json"))
            raise typer.Exit(_run(function, Context(Choice(**common), output), options))

        _describe(run, function)
        app.command(name, help=inspect.getdoc(function))(run)
        return run

    return register


def _describe(run: Any, function: Callable[..., int | None]) -> None:  # noqa: ANN401 - a function, to set attributes of
    """Give the command the function's options and the common ones, for typer to read."""
    hints = get_type_hints(function, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=keyword) for parameter in parameters]
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
            return function(context, **options) or ExitCode.FINE
    except CommandError as error:
        context.output.fail(error)
        return error.exit_code
    except typer.Abort:
        context.output.say("Nothing was changed: nobody has answered (--yes does it without being asked).")
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        context.output.say("Interrupted.")
        return ExitCode.INTERRUPTED
