"""The bill of materials of a build, in CycloneDX 1.6, the same bytes for the same build."""

from __future__ import annotations

import json
import tomllib
import uuid
from typing import TYPE_CHECKING, Any, Final

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from local.builds.artifact import Build
    from local.builds.components import Software
    from local.builds.licences import Licences

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/plaid-sync-engine")


def bill_of_materials(build: Build, software: list[Software], licences: Licences) -> str:
    """Return the bill as JSON.

    Raises:
        BuildError: A licence is not known.
    """
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, build.digest))
    bom.metadata.component = Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        bom_ref=project["name"],
        description=project["description"],
    )
    components = {one: _component(one, licences) for one in software}
    for component in components.values():
        bom.components.add(component)
    packages = {one.purl: component for one, component in components.items() if one.within is None}
    bom.register_dependency(bom.metadata.component, packages.values())
    for purl, package in packages.items():
        bom.register_dependency(package, [made for one, made in components.items() if one.within == purl])
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # The time of a build would make two builds of one commit differ.
    del document["metadata"]["timestamp"]
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _component(software: Software, licences: Licences) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=software.name,
        version=software.version,
        purl=PackageURL.from_string(software.purl),
        bom_ref=software.purl if software.within is None else f"{software.within}#{software.purl}",
        licenses=[LicenseExpression(licences.known(software))],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=software.sha256)] if software.sha256 else [],
    )
