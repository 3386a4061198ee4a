"""What is built: its licences, sizes and bill of materials, where there is a build."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from local.stack.paths import PROJECT
from tests.supply_chain.finding import Finding, State, found

if TYPE_CHECKING:
    from pathlib import Path

BUILD: Final = PROJECT / ".aws-sam" / "build"


def check(build: Path = BUILD) -> Finding:
    """Hold the last build to its budgets and licences; its bill of materials is written anew."""
    if not (build / "template.yaml").exists():
        return Finding(
            "build", State.NOT_RUN, "nothing is built: `make build`, which looks at licences and sizes as well"
        )
    command = [sys.executable, "-m", "local.builds", "--build", str(build)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    details = done.stderr.strip().splitlines() if done.returncode else []
    return found("build", f"licences, sizes and bill of materials of {build}", details)
