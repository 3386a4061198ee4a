"""Report a build's sizes, imports and hash. Exit status: 0, 1 if it must not be deployed, 2 if there is no build."""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.builds.artifact import Build, BuildError
from local.builds.imports import Imports, measure
from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_IN_BYTES = {"bytecode", "models"}
BUDGETS = PROJECT / "layers" / "budgets.toml"


def read_budgets() -> dict[str, Any]:
    return tomllib.loads(BUDGETS.read_text())


def over_budget(build: Build, measured: Iterable[Imports], budgets: dict[str, Any]) -> Iterator[str]:
    """Yield what is over its budget, each as a sentence that says what to do."""
    for part in build.parts:
        for kind, maximum in budgets["size"].get(part.name, budgets["size"]["functions"]).items():
            if (size := getattr(part, kind)) > maximum:
                yield (
                    f"{part.name} is {size:,} bytes {kind}, its budget is {maximum:,}: find what has grown (the "
                    f"locks, layers/dependencies/kept.toml), or raise size.{part.name} in layers/budgets.toml."
                )
    for imports in measured:
        counts = {
            "modules": len(imports.modules),
            "bytecode": imports.bytecode,
            "clients": len(imports.clients),
            "models": imports.models,
        }
        for kind, maximum in budgets["imports"].get(imports.function, {"modules": 0}).items():
            if counts[kind] > maximum:
                yield (
                    f"{imports.function} loads {counts[kind]:,} {'bytes of ' * (kind in _IN_BYTES)}{kind} when it "
                    f"starts, its budget is {maximum:,}: find the new import or client and make it later if possible, "
                    f"or raise imports.{imports.function} in layers/budgets.toml."
                )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m local.builds", description=__doc__)
    parser.add_argument("--build", type=Path, default=Path(".aws-sam/build"), help="default: %(default)s")
    parser.add_argument("--architecture", choices=["arm64", "x86_64"], help="fail if the build is for the other one")
    parser.add_argument("--python", type=Path, help="start the functions on this Python 3.13, and count their imports")
    parser.add_argument("--digest", action="store_true", help="print the hash alone")
    options = parser.parse_args(arguments)
    try:
        build = Build.read(options.build)
        if options.digest:
            print(build.digest)
            return 0
        measured = measure(build, options.python) if options.python else []
        architecture = build.architecture
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 2
    problems = list(over_budget(build, measured, read_budgets()))
    if options.architecture not in {None, architecture}:
        problems.append(f"{build.folder} is for {architecture}, not {options.architecture}: remove it, then build.")
    _report(build, measured)
    for problem in problems:
        print(f"build: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _report(build: Build, measured: Iterable[Imports]) -> None:
    print(f"{'':20}{'files':>7}{'unpacked':>14}{'zipped':>14}")
    for part in build.parts:
        print(f"{part.name:20}{len(part.files):>7,}{part.unpacked:>14,}{part.zipped:>14,}")
    for imports in measured:
        print(
            f"{imports.function:20} imports {len(imports.modules)} modules, {imports.bytecode:,} bytes of bytecode; "
            f"clients: {', '.join(imports.clients) or 'none'}, {imports.models:,} bytes of models"
        )
    print(f"{build.folder}  {build.architecture}  sha256:{build.digest}")


if __name__ == "__main__":
    sys.exit(main())
