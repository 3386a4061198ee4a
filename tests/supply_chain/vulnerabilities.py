"""Known vulnerabilities of what is locked, with pip-audit against OSV, where that can be reached.

Whether it can is asked with a package that is known to be vulnerable: a proxy that answers everything with nothing
would otherwise look like a clean bill of health.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from http import HTTPStatus
from pathlib import Path
from typing import Final

import urllib3

from local.stack.paths import PROJECT
from tests.supply_chain.finding import Finding, State, ToolError, found, run_tool
from tests.supply_chain.locks import locks

OSV: Final = "https://api.osv.dev/v1/query"
_KNOWN: Final = {"package": {"name": "jinja2", "ecosystem": "PyPI"}, "version": "2.4.1"}
_SECONDS: Final = 10.0


def out_of_reach(url: str) -> str | None:
    """Tell why the database can't be asked, or return None."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    pool = urllib3.ProxyManager(proxy) if proxy and url.startswith("https") else urllib3.PoolManager()
    try:
        answer = pool.request("POST", url, json=_KNOWN, timeout=_SECONDS, retries=False)
        known = answer.status == HTTPStatus.OK and answer.json().get("vulns")
    except (urllib3.exceptions.HTTPError, ValueError, AttributeError) as error:
        return type(error).__name__
    return None if known else f"it answered {answer.status} and nothing about a package that is known to be vulnerable"


def accepted() -> dict[str, str]:
    """Return the vulnerabilities that are accepted for a reason: `[tool.supply-chain.accepted-vulnerabilities]`."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    reasons: dict[str, str] = project["tool"].get("supply-chain", {}).get("accepted-vulnerabilities", {})
    return reasons


def audit(lock: Path, url: str) -> list[str]:
    """Return what is known of a lock's packages.

    Raises:
        ToolError: pip-audit did not answer.
    """
    ignored = [option for name in accepted() for option in ("--ignore-vuln", name)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
        service = ["--vulnerability-service", "osv", "--osv-url", url, "--cache-dir", folder]
        run_tool("pip-audit", *options, *service, *ignored, "--output", report, "--requirement", lock)
        if not report.exists():
            raise ToolError(f"pip-audit wrote no report about {lock.name}")
        packages = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    name = lock.relative_to(PROJECT) if lock.is_relative_to(PROJECT) else lock
    return [
        f"{name}: {package['name']} {package['version']}: "
        f"{vulnerability['id']}, repaired in {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in packages
        for vulnerability in package.get("vulns", ())
    ]


def check(url: str = OSV, paths: list[Path] | None = None, *, must_run: bool = False) -> Finding:
    """Audit the locks.

    Args:
        url: the database.
        paths: which locks; all by default.
        must_run: whether a database that can't be reached is a failure.
    """
    why = out_of_reach(url)
    if why is not None:
        line = f"the vulnerability database {url} can't be reached ({why}): known vulnerabilities were NOT looked up"
        return Finding("vulnerabilities", State.FAILED if must_run else State.NOT_RUN, line)
    looked_at = paths if paths is not None else locks()
    details = [complaint for lock in looked_at for complaint in audit(lock, url)]
    return found("vulnerabilities", f"{len(looked_at)} locks, looked up at {url}", details)
