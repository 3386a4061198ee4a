"""Remove from the installed packages what no function can reach: `python prune.py FOLDER REPORT`, beside kept.toml.

It is part of the build of a layer, which has Python's standard library alone.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREACHABLE: Final = (
    "bin",  # command-line programs, which also name this machine's Python
    "boto3/data",  # models of boto3.resource, which nothing calls
    "boto3/examples",
    "botocore/data/*/*/examples-1.json*",
    "*/tests",
    "**/*.pyi",
    "**/py.typed",
    "**/*.h",
)
KEPT_OF_DIST_INFO: Final = ("METADATA", "LICENSE*", "LICENCE*", "NOTICE*", "COPYING*", "AUTHORS*", "licenses", "sboms")
"""What a licence asks to hand on, and what the bill of materials is made of. RECORD and the like differ by machine."""


def main(site: Path, report: Path) -> None:
    """Prune the packages in `site`, which pip installed with `report`.

    Raises:
        SystemExit: Something that kept.toml names is not there.
    """
    kept = tomllib.loads(Path(__file__).with_name("kept.toml").read_text())
    for pattern in UNREACHABLE:
        for path in sorted(site.glob(pattern)):
            _remove(path)
    _keep_services(site / "botocore" / "data", set(kept["services"]))
    _keep_modules(site, "plaid", reachable(site, kept["plaid"]))
    for folder in site.glob("*.dist-info"):
        needed = {path for pattern in KEPT_OF_DIST_INFO for path in folder.glob(pattern)}
        for path in sorted(set(folder.iterdir()) - needed):
            _remove(path)
    for name, digest in archives(json.loads(report.read_text())):
        site.joinpath(name, "ARCHIVE.sha256").write_text(f"{digest}\n")


def archives(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each package's dist-info folder and the SHA-256 of the archive that it came in: one of the lock's."""
    for package in report["install"]:
        name = re.sub(r"[-_.]+", "_", package["metadata"]["name"]).lower()
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        yield f"{name}-{package['metadata']['version']}.dist-info", digest


def reachable(site: Path, roots: list[str]) -> set[str]:
    """Return the modules that `roots` are and import of their own package, at the top or within a function.

    Raises:
        SystemExit: There is no such root.
    """
    if missing := [root for root in roots if _source(site, root) is None]:
        raise SystemExit(f"kept.toml names {', '.join(missing)}, which the package does not have.")
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        parts = waiting.pop().split(".")
        for module in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
            source = _source(site, module)
            if source is not None and module not in found:
                found.add(module)
                waiting += [name for name in imported(source.read_text()) if name.split(".")[0] == parts[0]]
    return found


def imported(source: str) -> Iterator[str]:
    """Yield every name that the source imports absolutely, as `module` and as `module.name`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _source(site: Path, module: str) -> Path | None:
    base = site.joinpath(*module.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


def _keep_services(data: Path, services: set[str]) -> None:
    if missing := sorted(services - {path.name for path in data.iterdir()}):
        raise SystemExit(f"kept.toml names {', '.join(missing)}, which botocore does not have.")
    for path in sorted(data.iterdir()):
        if path.is_dir() and path.name not in services:
            _remove(path)


def _keep_modules(site: Path, package: str, modules: set[str]) -> None:
    kept = {_source(site, module) for module in modules}
    for path in sorted((site / package).rglob("*.py")):
        if path not in kept:
            path.unlink()
    for folder in sorted((path for path in (site / package).rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
