"""The command line of the demo."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from local.demo.options import FEWEST_ITEMS, DemoError, Options
from local.demo.outcome import print_outcome
from local.demo.scenario import play
from local.demo.view import LiveView, PlainView, View
from local.demo.world import world_of
from local.stack import LocalStackError
from local.stack.dotenv import variables_of
from local.stack.signals import Stopped, stopping_in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.stack import LocalStack

INTERRUPTED = 130
_NARROWEST = 110
_DESCRIPTION = """\
Deploy this project's template onto an AWS emulator on this machine, link Items of a simulated Plaid, let everything
happen to them that happens in real life, and compare the table with Plaid, row by row and field by field.
No Docker, no AWS account, no Plaid account."""
_EPILOG = "exit status: 0 all as promised, 1 a difference, a broken promise or no end of it, 130 interrupted"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.items < FEWEST_ITEMS or given.steps < 0:
        parser.error(f"--items must be at least {FEWEST_ITEMS}, and --steps at least 0")
    options = Options(given.seed, given.items, given.steps, given.patience, given.corrupt, given.keep, given.dashboard)
    status = INTERRUPTED
    try:
        with stopping_in_order():
            status = _run(options, as_json=given.json, plain=given.plain)
    except (DemoError, LocalStackError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m local.demo",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Options()
    parser.add_argument("--seed", type=int, default=default.seed, help="what all chance is drawn from (%(default)s)")
    parser.add_argument("--items", type=int, default=default.items, help="Items to link, 5 or more (%(default)s)")
    parser.add_argument(
        "--steps", type=int, default=default.steps, help="random things that happen to each Item (%(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=default.patience,
        metavar="SECONDS",
        help="how long to wait for anything before giving up (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, and the story on stderr")
    parser.add_argument("--plain", action="store_true", help="plain lines, even on a terminal")
    parser.add_argument("--keep", action="store_true", help="keep the stack up after the verdict, until Ctrl-C")
    parser.add_argument(
        "--dashboard",
        type=Path,
        metavar="DIR",
        help="draw the deployed dashboard into this folder; a widget that shows no data is a broken promise",
    )
    parser.add_argument(
        "--corrupt",
        action="store_true",
        help="prove that the comparison notices: change one amount by a cent before it (ends with status 1)",
    )
    return parser


def _run(options: Options, *, as_json: bool, plain: bool) -> int:
    console = Console(width=None if sys.stdout.isatty() else _NARROWEST)
    view = _view(console, plain=plain, as_json=as_json)
    with ExitStack() as life_of_world:
        with view:
            view.chapter("The template is deployed on this machine")
            world = life_of_world.enter_context(world_of(options, view.say))
            outcome = play(world, view)
        if as_json:
            print(outcome.as_json(), flush=True)
        else:
            print_outcome(console, outcome)
        if options.keep:
            _keep(world.stack)
    return 0 if outcome.good else 1


def _view(console: Console, *, plain: bool, as_json: bool) -> View:
    if plain or as_json or not console.is_terminal:
        return PlainView(sys.stderr if as_json else sys.stdout)
    return LiveView(console)


def _keep(stack: LocalStack) -> None:
    """Leave the stack up until the user has seen enough."""
    print("\nThe stack stays up until Ctrl-C. Its environment:", file=sys.stderr)
    for name, value in variables_of(stack).items():
        print(f"export {name}={value}", file=sys.stderr)
    with suppress(Stopped):
        while stack.emulator.running:
            time.sleep(1)
