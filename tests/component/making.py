"""Runs the project's own make targets, as a developer would from a shell of their own."""

from __future__ import annotations

import os
import subprocess

from local.stack.paths import PROJECT

# The last is what the tests themselves were started with: `make test ARGS=…` exports it.
_NOT_OURS = ("AWS_", "MAKE", "PLAID_", "ARGS")


def make(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a target, without a terminal and without this shell's settings of AWS, of make and of the project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    return subprocess.run(
        ["make", *arguments],  # noqa: S607 - the one on PATH
        cwd=PROJECT,
        env={**kept, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
