"""Print a sample event for the running stack, or write `tests/events`."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import local.events
from local.events import FOLDER, WRITTEN_AT, FixedSubject, RunningSubject, Samples
from local.stack.errors import LocalStackError
from local.stack.paths import Places, say
from local.stack.running import RunningStack


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.write:
        _write()
        return 0
    names = Samples(FixedSubject(WRITTEN_AT)).names
    if options.name is None:
        print("\n".join(names))
        return 0
    if options.name not in names:
        print(f"No event {options.name}. Events: {', '.join(names)}", file=sys.stderr)
        return 2
    try:
        event = _samples(Places(run=options.directory), options.item).event(options.name)
    except LocalStackError as error:
        print(f"events: {error}", file=sys.stderr)
        return 1
    print(json.dumps(event, indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.events",
        description=local.events.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="print this event, signed now (default: list the names)")
    parser.add_argument("--item", metavar="ID", help="the Item of the running stack (default: its first)")
    parser.add_argument(
        "--directory", type=Path, default=Places().run, metavar="DIR", help="the folder of make local (default: .local)"
    )
    parser.add_argument("--write", action="store_true", help="write all events to tests/events, for a fixed time")
    return parser


def _samples(places: Places, item_id: str | None) -> Samples:
    stack = RunningStack.find(places)
    if stack is not None:
        return Samples(RunningSubject(stack, say, item_id))
    if item_id is not None:
        raise LocalStackError(f"No stack runs, so there is no Item {item_id}: start one with make local.")
    return Samples(FixedSubject(datetime.now(UTC)))


def _write() -> None:
    samples = Samples(FixedSubject(WRITTEN_AT))
    for name in samples.names:
        (FOLDER / f"{name}.json").write_text(json.dumps(samples.event(name), indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
