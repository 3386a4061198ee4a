"""The command line of the demo: `python -m local.demo --help`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from local.demo.application import DemoError
from local.demo.report import print_report
from local.demo.run import start_run
from local.demo.steps import play
from local.stack import LocalStackError
from local.stack.signals import stopping_in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
MIN_ITEMS = 5
DESCRIPTION = """\
Deploy this project's template onto an AWS emulator on this machine, link Items at a local Plaid, put everything in
their way that can happen in production, and compare the table with Plaid, row by row and field by field.
No Docker, no AWS account, no Plaid account."""
EPILOG = "exit status: 0 no difference and every expectation met, 1 otherwise, 130 interrupted"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.items < MIN_ITEMS or options.steps < 0:
        parser.error(f"--items must be at least {MIN_ITEMS}, and --steps at least 0")
    status = INTERRUPTED
    try:
        with stopping_in_order():
            status = _run(options)
    except (DemoError, LocalStackError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m local.demo",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seed", type=int, default=7, help="the seed of all random choices (%(default)s)")
    add("--items", type=int, default=6, help=f"Items to link, at least {MIN_ITEMS} (%(default)s)")
    add("--steps", type=int, default=120, help="random changes to each Item (%(default)s)")
    patience = "the limit of every wait; raise it on a slow machine (%(default)s)"
    add("--patience", type=float, default=90.0, metavar="SECONDS", help=patience)
    add("--json", action="store_true", help="print the result as JSON, and the progress on stderr")
    dashboard = "draw the deployed dashboard into this folder; a widget without data fails the run"
    add("--dashboard", type=Path, metavar="DIR", help=dashboard)
    corrupt = "change one amount by a cent before the comparison, which has to notice it (exit status 1)"
    add("--corrupt", action="store_true", help=corrupt)
    return parser


def _run(options: argparse.Namespace) -> int:
    started, stream = time.monotonic(), sys.stderr if options.json else sys.stdout

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {line}", file=stream, flush=True)

    with start_run(options, say) as run:
        report = replace(play(run), seconds=time.monotonic() - started)
    if options.json:
        print(report.as_json())
    else:
        print_report(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
