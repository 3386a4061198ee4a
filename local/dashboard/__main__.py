"""The command line of the dashboard: `python -m local.dashboard --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import EndpointConnectionError

from local.dashboard.definition import DashboardError
from local.dashboard.render import render
from local.stack import Places
from local.stack.deploy import DASHBOARD_NAME
from local.stack.running import RunningStack

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Draw the dashboard that is deployed on the local stack, with its metrics there, as dashboard.png.
Without a running stack (`make local`), run the demo first and draw the dashboard of its stack."""
EPILOG = "exit status: 0 drawn (widgets without data are named), 1 not drawn, or an alarm of it is not deployed"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    stack = RunningStack.find(Places())
    if stack is None:
        print("dashboard: no stack is running (make local), so the demo runs first", file=sys.stderr)
        from local.demo.__main__ import main as run_demo  # noqa: PLC0415 - not loaded where a stack runs

        return run_demo(["--dashboard", str(options.directory), *(["--json"] if options.json else [])])
    try:
        rendered = render(stack.client("cloudwatch"), DASHBOARD_NAME, options.directory)
    except DashboardError as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 1
    except EndpointConnectionError as error:
        print(f"dashboard: the stack of {Places().env} was killed: remove that file. {error}", file=sys.stderr)
        return 1
    print(rendered.as_json() if options.json else rendered.as_text())
    return 1 if rendered.readings.missing_alarms() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m local.dashboard",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    directory = "where to write (default: .local)"
    parser.add_argument("--directory", type=Path, default=Places().run, metavar="DIR", help=directory)
    parser.add_argument("--json", action="store_true", help="print what was drawn, and what has no data, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
