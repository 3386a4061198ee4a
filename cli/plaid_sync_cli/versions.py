"""Compares what the alias `live` points to with the newest version, and with `$LATEST`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync_cli.deployment import ALIAS
from plaid_sync_cli.findings import Finding, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plaid_sync_cli.deployment import Deployment

_COMPARED: Final = (
    *("CodeSha256", "Runtime", "Handler", "Architectures", "Role", "MemorySize", "Timeout"),
    *("EphemeralStorage", "LoggingConfig", "TracingConfig", "SnapStart"),
)
"""What decides how a version behaves, beside layers, network and environment.

`SnapStart` is compared without its status, which `$LATEST` never has.
"""


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a function that the alias points to.

    Attributes:
        live: the version's number.
        newest: the number of the newest version.
        shifting: the alias sends a part of the invocations to another version.
        build: runtime and layers.
        unpublished: what differs in `$LATEST`; of the environment the variables' names.
    """

    function: str
    live: str
    newest: str
    shifting: bool
    build: str
    unpublished: tuple[str, ...]

    @property
    def behind(self) -> bool:
        """Whether not all invocations get the newest version."""
        return self.shifting or self.live != self.newest


def read(deployment: Deployment) -> list[Version]:
    """Read the versions of all functions."""
    client = deployment.client("lambda")
    return [_read(client, name) for name in deployment.functions]


def _read(client: Any, name: str) -> Version:  # noqa: ANN401 - a boto3 client
    alias = client.get_alias(FunctionName=name, Name=ALIAS)
    live = client.get_function_configuration(FunctionName=name, Qualifier=ALIAS)
    latest = client.get_function_configuration(FunctionName=name)
    layers = ", ".join(":".join(arn.split(":")[-2:]) for arn in _layers(live))
    return Version(
        function=name,
        live=alias["FunctionVersion"],
        newest=str(max(_published(client, name), default=0)),
        shifting=bool(alias.get("RoutingConfig", {}).get("AdditionalVersionWeights")),
        build=f"{live['Runtime']} with {layers or 'no layers'}",
        unpublished=tuple(differences(latest, live)),
    )


def differences(latest: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[str]:
    """Yield what decides behavior and differs between two configurations of a function."""
    for name in _COMPARED:
        if _without_status(latest.get(name)) != _without_status(live.get(name)):
            yield name
    if _layers(latest) != _layers(live):
        yield "Layers"
    if _network(latest) != _network(live):
        yield "VpcConfig"
    ours, theirs = (found.get("Environment", {}).get("Variables", {}) for found in (latest, live))
    changed = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if changed:
        yield f"Environment ({', '.join(changed)})"


def _without_status(value: object) -> object:
    if isinstance(value, dict):
        return {name: entry for name, entry in value.items() if name != "OptimizationStatus"}
    return value


def _layers(configuration: Mapping[str, Any]) -> list[str]:
    return [layer["Arn"] for layer in configuration.get("Layers", [])]


def _network(configuration: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return subnets and security groups: both are sets, and absent and empty are the same."""
    network = configuration.get("VpcConfig") or {}
    return set(network.get("SubnetIds", [])), set(network.get("SecurityGroupIds", []))


def _published(client: Any, name: str) -> list[int]:  # noqa: ANN401 - a boto3 client
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    return [int(entry["Version"]) for page in pages for entry in page["Versions"] if entry["Version"].isdigit()]


def check(deployment: Deployment) -> Finding:
    """Each alias points to the newest version, which is as `$LATEST`; all functions have one runtime and its layers."""
    versions = read(deployment)
    builds = sorted({version.build for version in versions})
    behind = [f"{v.function} ({ALIAS}: {v.live}, newest: {v.newest})" for v in versions if v.behind]
    unpublished = [f"{v.function} ({', '.join(v.unpublished)})" for v in versions if v.unpublished]
    running = f"A deployment is in progress ({deployment.status}): check again when it has ended."
    if behind:
        fix = running if deployment.updating else "A deployment shifts traffic, or was rolled back: deploy again."
        return warning(f"not the newest version: {', '.join(behind)}", fix)
    if unpublished:
        by_hand = "Deploy again. If it stays, $LATEST was changed by hand: revert that (CloudFormation detects drift)."
        return warning(
            f"{ALIAS} is not as $LATEST: {', '.join(unpublished)}", running if deployment.updating else by_hand
        )
    if len(builds) > 1:
        return warning(f"the functions differ: {'; '.join(builds)}", "Deploy the template again.")
    return ok(f"{ALIAS} is the newest version everywhere, and as $LATEST: {''.join(builds)}")
