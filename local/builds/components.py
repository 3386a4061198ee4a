"""The third-party software in a build: the installed packages, and what these bring along in their libraries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING, Any

from local.builds.artifact import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.builds.artifact import Build


@dataclass(frozen=True, slots=True, order=True)
class Software:
    """A package, or a part of one that says so itself (PEP 770), such as the OpenSSL in cryptography.

    Attributes:
        purl: Its package URL, which identifies it.
        licence: Its licence in its own words, which may be an SPDX expression; empty where it says nothing.
        sha256: Of the archive that it came in: one of the lock's.
        within: The package that brings it along, or None.
    """

    purl: str
    name: str
    version: str
    licence: str
    sha256: str | None = None
    within: str | None = None


def software(build: Build) -> list[Software]:
    """Return all third-party software of a build, in order.

    Raises:
        BuildError: A package came from nowhere known.
    """
    found: list[Software] = []
    for layer in build.layers:
        for folder in sorted((layer.folder / "python").glob("*.dist-info")):
            package = _package(folder)
            found += [package, *_brought_along(folder, package.purl)]
    return sorted(found, key=lambda one: (one.purl, one.within or ""))


def _package(folder: Path) -> Software:
    metadata = PathDistribution(folder).metadata
    name, version = metadata["Name"].lower().replace("_", "-"), metadata["Version"]
    archive = folder / "ARCHIVE.sha256"
    if not archive.is_file():
        raise BuildError(f"{folder.name} does not say which archive it came in: build it again.")
    return Software(f"pkg:pypi/{name}@{version}", name, version, _words(metadata), archive.read_text().strip())


def _words(metadata: Any) -> str:  # noqa: ANN401 - importlib's message, whose class depends on Python's version
    for field in ("License-Expression", "License"):
        if said := metadata.get(field):
            return str(said).strip()
    return "; ".join(line for line in metadata.get_all("Classifier") or () if line.startswith("License ::"))


def _brought_along(folder: Path, within: str) -> Iterator[Software]:
    for path in sorted((folder / "sboms").glob("*.json")):
        for component in json.loads(path.read_text()).get("components", []):
            # Excluded is what only the package's own build has used.
            if component.get("scope") != "excluded":
                yield Software(
                    component["purl"],
                    component["name"],
                    component["version"],
                    " AND ".join(map(_licence, component.get("licenses") or ())),
                    next((one["content"] for one in component.get("hashes", ()) if one["alg"] == "SHA-256"), None),
                    within,
                )


def _licence(choice: dict[str, Any]) -> str:
    stated = choice.get("license", {})
    return str(choice.get("expression") or stated.get("id") or stated.get("name", ""))
