"""Remove from the installed packages what no function can reach: `python prune.py FOLDER`, beside kept.toml.

The build of the layer runs it, with Python's standard library alone.
"""

from __future__ import annotations

import ast
import gzip
import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREACHABLE: Final = (
    "bin",  # command-line programs, which also name this machine's Python
    "botocore/data/*/*/examples-1.json*",
    "*/tests",
    "**/*.pyi",
    "**/py.typed",
    "**/*.h",
)
KEPT_OF_DIST_INFO: Final = ("METADATA", "LICENSE*", "LICENCE*", "NOTICE*", "COPYING*", "AUTHORS*", "licenses", "sboms")
"""What licenses require, and what the SBOM is made from. RECORD and the like differ by machine."""


def main(site: Path) -> None:
    """Prune the packages in `site`.

    Raises:
        SystemExit: Something that kept.toml names is not there.
    """
    kept = tomllib.loads(Path(__file__).with_name("kept.toml").read_text())
    for pattern in UNREACHABLE:
        for path in sorted(site.glob(pattern)):
            _remove(path)
    _keep_services(site / "botocore" / "data", set(kept["services"]))
    shrink_models(site / "botocore" / "data", set(kept["services"]))
    _keep_modules(site, "plaid", reachable(site, kept["plaid"]))
    for folder in site.glob("*.dist-info"):
        needed = {path for pattern in KEPT_OF_DIST_INFO for path in folder.glob(pattern)}
        for path in sorted(set(folder.iterdir()) - needed):
            _remove(path)


def reachable(site: Path, roots: list[str]) -> set[str]:
    """Return `roots` and the modules of their package that they import, at the top or within a function.

    Raises:
        SystemExit: There is no such root.
    """
    if missing := [root for root in roots if _source(site, root) is None]:
        raise SystemExit(f"kept.toml names {', '.join(missing)}, which the package does not have.")
    found: set[str] = set()
    pending = list(roots)
    while pending:
        parts = pending.pop().split(".")
        for module in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
            source = _source(site, module)
            if source is not None and module not in found:
                found.add(module)
                pending += [name for name in imported(source.read_text()) if name.split(".")[0] == parts[0]]
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


def shrink_models(data: Path, services: set[str]) -> None:
    """Cut what each cold start would parse for nothing: the endpoints of other services, and prose.

    botocore parses `endpoints.json` (1.2 MB) for the first client of a process, and a service's model for each.
    """
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: kept for name, kept in partition["services"].items() if name in services}
    _write(data / "endpoints.json", endpoints)
    for path in sorted(data.glob("*/*/*.json.gz")):
        _write(path.with_suffix(""), _without_prose(json.loads(gzip.decompress(path.read_bytes()))))
        path.unlink()


def _without_prose(model: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a model with empty documentation; botocore reads the key of some, and a member may have its name."""
    if isinstance(model, list):
        return [_without_prose(value) for value in model]
    if not isinstance(model, dict):
        return model
    return {
        key: "" if key == "documentation" and isinstance(value, str) else _without_prose(value)
        for key, value in model.items()
    }


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, separators=(",", ":")))


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
    main(Path(sys.argv[1]))
