"""The command line that draws the dashboard."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import EndpointConnectionError

from local.dashboard.definition import DashboardError
from local.dashboard.render import render
from local.stack import Places
from local.stack.deploy import STACK_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Draw the dashboard that is deployed on the local stack, from its definition and its metrics there, as dashboard.html
and dashboard.png. Where no stack runs (`make local`), the demo is played first, and its stack's is drawn."""
EPILOG = "exit status: 0 every widget shows data, 1 some do not (they are named), or it could not be drawn"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    if not Places().env.exists():
        return _play_demo(options.directory, as_json=options.json)
    try:
        rendered = render(_cloudwatch(Places().env), STACK_NAME, options.directory)
    except DashboardError as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 1
    except EndpointConnectionError as error:
        print(f"dashboard: the stack of {Places().env} was killed: remove that file. {error}", file=sys.stderr)
        return 1
    print(rendered.as_json() if options.json else rendered.as_text())
    return 1 if rendered.readings.empty() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m local.dashboard",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--directory", type=Path, default=Places().run, metavar="DIR", help="where to write (default: .local)"
    )
    parser.add_argument("--json", action="store_true", help="print what was drawn, and what has no data, as JSON")
    return parser


def _play_demo(folder: Path, *, as_json: bool) -> int:
    # Not needed, and not loaded, where a stack runs.
    from local.demo.cli import main as play  # noqa: PLC0415

    return play(["--dashboard", str(folder), *(["--json"] if as_json else [])])


def _cloudwatch(env: Path) -> object:
    """Return a client of the running stack's CloudWatch."""
    lines = (line.partition("=") for line in env.read_text(encoding="utf-8").splitlines())
    variables = {name: value for name, _, value in lines}
    return boto3.client(
        "cloudwatch",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
