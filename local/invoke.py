"""Invoke a function of the local stack with an event, and print its answer and its log.

Uses the stack that `make local` runs, or starts one for the call. EVENT is a sample (for an Item of that stack, signed
now; `python -m local.events` lists them), a JSON file, or - for standard input.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.events import WRITTEN_AT, FixedSubject, RunningSubject, Samples, function_of
from local.stack.dotenv import variables_of
from local.stack.errors import LocalStackError
from local.stack.paths import Places, say
from local.stack.running import Invocation, RunningStack
from local.stack.serving import bundled_plaid_server
from local.stack.signals import stopping_in_order
from local.stack.stack import LocalStack
from local.stack.venv import check_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDIN = "-"
SUCCEEDED, FAILED, USAGE = 0, 1, 2


class UsageError(Exception):
    """The arguments are invalid; the text lists the valid ones."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0 if the function succeeded, 1 if it or the stack failed, 2 for invalid arguments."""
    options = _parser().parse_args(arguments)
    status = FAILED
    try:
        make = event_maker(options.function, options.event, options.item)
        check_python()
        with stopping_in_order(), _stack(Places(run=options.directory)) as stack:
            invocation = stack.invoke(options.function, make(stack))
            print(_as_json(invocation) if options.json else _as_text(invocation))
            status = FAILED if invocation.failed else SUCCEEDED
    except UsageError as error:
        print(f"invoke: {error}", file=sys.stderr)
        return USAGE
    except LocalStackError as error:
        print(f"invoke: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.invoke",
        description=__doc__,
        epilog="exit status: 0 the function succeeded, 1 it or the stack failed, 2 invalid arguments",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("function", help="the name of its folder: webhook, sync, ...")
    parser.add_argument("event", help="the name of a sample, a file, or -")
    parser.add_argument("--item", metavar="ID", help="the Item of a sample (default: the stack's first)")
    parser.add_argument("--json", action="store_true", help="print answer, failed and log as one line of JSON")
    parser.add_argument(
        "--directory", type=Path, default=Places().run, metavar="DIR", help="the folder of make local (default: .local)"
    )
    return parser


def event_maker(function: str, event: str, item_id: str | None) -> Callable[[RunningStack], Any]:
    """Return a function that creates the event for a stack."""
    functions = sorted(path.parent.name for path in Places().project.glob("functions/*/app.py"))
    if function not in functions:
        raise UsageError(f"No function {function!r}. Functions: {', '.join(functions)}.")
    names = Samples(FixedSubject(WRITTEN_AT)).names
    if event not in names:
        if item_id is not None:
            raise UsageError(f"--item needs a sample, which {event} is not.")
        parsed = _own_event(event, [name for name in names if function_of(name) == function])
        return lambda _stack: parsed
    if function_of(event) != function:
        raise UsageError(f"The event {event} is for the function {function_of(event)}, not for {function}.")
    return lambda stack: Samples(RunningSubject(stack, say, item_id)).event(event)


def _own_event(source: str, samples: list[str]) -> Any:  # noqa: ANN401 - any JSON
    if source != STDIN and not Path(source).is_file():
        raise UsageError(f"No event or file {source!r}. Events: {', '.join(samples)}.")
    try:
        return json.loads(sys.stdin.read() if source == STDIN else Path(source).read_text())
    except ValueError as error:
        raise UsageError(f"{'Standard input' if source == STDIN else source} is not JSON: {error}") from error


@contextmanager
def _stack(places: Places) -> Iterator[RunningStack]:
    running = RunningStack.find(places)
    if running is not None:
        yield running
        return
    say("no stack runs (make local runs one): starting one for this call")
    with bundled_plaid_server() as plaid_base_url, LocalStack.start(plaid_base_url, places=places) as stack:
        yield RunningStack(variables_of(stack))


def _as_json(invocation: Invocation) -> str:
    return json.dumps({"answer": invocation.answer, "failed": invocation.failed, "log": invocation.log})


def _as_text(invocation: Invocation) -> str:
    for line in invocation.log:
        print(line.rstrip("\n"), file=sys.stderr)
    return json.dumps(invocation.answer, indent=2)


if __name__ == "__main__":
    sys.exit(main())
