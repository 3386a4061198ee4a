"""What tools say of our own code: bandit of its dangers, deptry of its imports."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final

from tests.supply_chain.finding import Finding, ToolError, found, run_tool

LOOKED_AT: Final = ("functions", "layers", "cli", "local")


def dangers(*paths: Path | str) -> Finding:
    """Run bandit."""
    options = ["--quiet", "--configfile", "pyproject.toml", "--format", "json", "--recursive"]
    report = json.loads(run_tool("bandit", *options, *paths or LOOKED_AT))
    if report["errors"]:
        raise ToolError(f"bandit could not read {report['errors']}")
    details = [
        f"{one['filename']}:{one['line_number']}: {one['test_id']} ({one['issue_severity']}) {one['issue_text']}"
        for one in report["results"]
    ]
    lines = report["metrics"]["_totals"]["loc"]
    return found("bandit", f"{lines:,} lines of {', '.join(map(str, paths or LOOKED_AT))}", details)


def imports() -> Finding:
    """Run deptry on what is deployed or installed: nothing is imported undeclared, nothing declared for nothing."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        run_tool("deptry", "functions", "layers/plaid_sync", "cli", "--json-output", report)
        complaints = json.loads(report.read_text(encoding="utf-8"))
    details = [
        f"{one['location']['file']}: {one['error']['code']} {one['error']['message']} ({one['module']})"
        for one in complaints
    ]
    return found("dependencies", "what is imported is declared, what is declared is imported", details)
