"""Command line: look at the locks, the code and the repository from outside."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from tests.supply_chain import build, code, locks, secrets, vulnerabilities
from tests.supply_chain.finding import Finding, State, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

_EPILOG = "exit status: 0 nothing to see to, 1 something is, 2 wrong usage"


def _checks(options: argparse.Namespace) -> dict[str, Callable[[], Finding]]:
    return {
        "locks": locks.check,
        "bandit": code.dangers,
        "dependencies": code.imports,
        "secrets": secrets.check,
        "build": build.check,
        "vulnerabilities": partial(vulnerabilities.check, options.database, must_run=options.must_audit),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the checks side by side; return the exit status."""
    options = _options(arguments)
    checks = {name: check for name, check in _checks(options).items() if not options.only or name in options.only}
    with ThreadPoolExecutor() as pool:
        findings = list(pool.map(_run, checks, checks.values()))
    if options.json:
        json.dump([asdict(finding) for finding in findings], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for finding in findings:
            print(f"{finding.state:<8} {finding.check}: {finding.line}")  # noqa: T201
            for detail in finding.details:
                print(f"         {detail}")  # noqa: T201
    return int(any(finding.state is State.FAILED for finding in findings))


def _run(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except ToolError as error:
        return Finding(name, State.FAILED, str(error))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    names = list(_checks(argparse.Namespace(database="", must_audit=False)))
    parser = argparse.ArgumentParser("python -m tests.supply_chain", description=__doc__, epilog=_EPILOG)
    parser.add_argument("--only", action="append", choices=names, help="this check (may be given again)")
    parser.add_argument(
        "--must-audit", action="store_true", help="fail where the vulnerability database is out of reach"
    )
    parser.add_argument("--database", default=vulnerabilities.OSV, help="another server with OSV's API (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
