"""`python -m local.builds`: report on a build, and fail where it must not be deployed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from local.builds.artifact import Build, BuildError
from local.builds.report import Report

DESCRIPTION = """\
Report on a build: sizes, imports and licences against layers/budgets.toml and layers/licences.toml, and its hash, which
is the same for every build of a commit. Writes the bill of materials (CycloneDX) and the list of third-party software
into the build. Exit status: 0, 1 if something is over its budget or not allowed, 2 if there is no such build."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        build = Build.read(options.build)
        if options.digest:
            print(build.digest)
            return 0
        report = Report.of(build, options.architecture or build.architecture, options.python)
        if not report.problems:
            report.write()
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 2
    _print(report, options)
    for problem in report.problems:
        print(f"build: {problem}", file=sys.stderr)
    return 1 if report.problems else 0


def _print(report: Report, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(report.as_json(), indent=2))
    elif options.third_party:
        print(*report.third_party(), sep="\n")
    else:
        print(*report.lines(), sep="\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m local.builds", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, default=Path(".aws-sam/build"), help="the build (default: %(default)s)")
    parser.add_argument("--architecture", choices=["arm64", "x86_64"], help="fail if it was built for the other one")
    parser.add_argument("--python", type=Path, help="a Python 3.13 to start the functions on, from the build alone")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the report as JSON")
    shown.add_argument("--digest", action="store_true", help="print the hash alone")
    shown.add_argument("--third-party", action="store_true", help="print the third-party software with its licences")
    return parser
