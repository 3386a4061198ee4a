"""The last lines of `make build`: what was built, and whether it may be deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.builds.bom import bill_of_materials
from local.builds.budgets import Budgets
from local.builds.components import software
from local.builds.imports import measure
from local.builds.licences import Licences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.builds.artifact import Build
    from local.builds.components import Software
    from local.builds.imports import Loaded

BILL = "sbom.cdx.json"
THIRD_PARTY = "third-party.txt"


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to tell of a build.

    Attributes:
        loaded: What each function loads when it starts; empty for another machine's architecture.
        problems: Why it must not be deployed, each a sentence that says what to do.
    """

    build: Build
    software: list[Software]
    licences: Licences
    loaded: list[Loaded]
    problems: list[str]

    @classmethod
    def of(cls, build: Build, architecture: str, python: Path | None) -> Report:
        """Look at a build.

        Args:
            build: The build.
            architecture: What it was to be built for.
            python: The Python to start its functions on, or None where they can't run.

        Raises:
            BuildError: Something is missing, or a function does not start.
        """
        found, licences, budgets = software(build), Licences.read(), Budgets.read()
        loaded = measure(build, python) if python else []
        problems = [
            *_problems_of_architecture(build, architecture),
            *budgets.problems_of_size(build),
            *budgets.problems_of_imports(loaded),
            *licences.problems(found),
        ]
        return cls(build, found, licences, loaded, problems)

    def write(self) -> None:
        """Write the bill of materials and the list of third-party software into the build."""
        bill = bill_of_materials(self.build, self.software, self.licences)
        (self.build.folder / BILL).write_text(bill)
        (self.build.folder / THIRD_PARTY).write_text("".join(f"{line}\n" for line in self.third_party()))

    def third_party(self) -> Iterator[str]:
        """Yield a line for each third-party software: name, version, licence and what brings it along."""
        for one in self.software:
            licence = self.licences.expression(one) or f"unknown: {one.licence}"
            yield f"{one.name} {one.version}  {licence}{f'  (in {one.within})' if one.within else ''}"

    def lines(self) -> Iterator[str]:
        """Yield the report for people."""
        yield f"{'':20}{'files':>7}{'unpacked':>14}{'zipped':>14}"
        for part in self.build.parts:
            yield f"{part.name:20}{len(part.files):>7,}{part.unpacked:>14,}{part.zipped:>14,}"
        for one in self.loaded:
            yield f"{one.function:20} loads {len(one.modules)} modules, {one.bytecode:,} bytes of bytecode"
        if not self.problems:
            yield f"{len(self.software)} third-party components, all licences known and allowed: {BILL}, {THIRD_PARTY}"
        yield f"{self.build.folder}  {self.build.architecture}  sha256:{self.build.digest}"

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "architecture": self.build.architecture,
            "sha256": self.build.digest,
            "parts": {
                part.name: {"files": len(part.files), "unpacked": part.unpacked, "zipped": part.zipped}
                for part in self.build.parts
            },
            "imports": {one.function: {"modules": len(one.modules), "bytecode": one.bytecode} for one in self.loaded},
            "problems": self.problems,
        }


def _problems_of_architecture(build: Build, architecture: str) -> Iterator[str]:
    if build.architecture != architecture:
        yield f"{build.folder} is for {build.architecture}, not {architecture}: remove .aws-sam and build it again."
