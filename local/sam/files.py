"""The two files that `sam local` reads: a template with the built code, and every function's environment.

`sam local` passes a variable only if the template declares it, and the caller's credentials to every function. So this
template declares the AWS SDK's variables as well, and the environment file sets them: each function reaches the local
stack, with temporary credentials of its own role. The functions need no change.
"""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from local.stack.nodes import child, compose, items, local_path, serialize, set_text

if TYPE_CHECKING:
    from local.stack.paths import Places
    from local.stack.stack import LocalStack

HOST = "host.docker.internal"
"""This machine's name in a container: Docker Desktop defines it, on Linux add_host in samconfig.toml does."""
CREDENTIAL_SECONDS = 12 * 3600
SDK_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64"}

Environments = dict[str, dict[str, str]]


def template_for_sam(places: Places) -> str:
    """Return the project's template with the code of `make build-local`, for this machine's architecture."""
    root = compose(places.template)
    set_text(child(root, "Parameters", "Architecture"), "Default", architecture())
    for name in SDK_VARIABLES:
        set_text(child(root, "Globals", "Function", "Environment", "Variables"), name, "")
    for logical_id, resource in items(child(root, "Resources")):
        properties = child(resource, "Properties")
        for name in ("CodeUri", "ContentUri"):
            if code := local_path(child(properties, name)):
                code.value = str(places.built / logical_id)
        if location := local_path(child(properties, "Location")):
            location.value = str(places.project / location.value)
    return serialize(root)


def architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), "x86_64")


def environments(stack: LocalStack, functions_endpoint_url: str | None) -> Environments:
    """Return each function's environment as deployed, with its role's credentials, by logical id.

    Loopback addresses are those of this machine: `for_containers` replaces them.
    """
    functions, sts = stack.client("lambda"), stack.client("sts")
    found: Environments = {}
    for logical_id, kind in stack.resources.types.items():
        if kind == "AWS::Lambda::Function":
            configuration = functions.get_function_configuration(FunctionName=stack.resources.ids[logical_id])
            issued = sts.assume_role(
                RoleArn=configuration["Role"], RoleSessionName="sam-local", DurationSeconds=CREDENTIAL_SECONDS
            )["Credentials"]
            found[logical_id] = {
                **configuration["Environment"]["Variables"],
                "AWS_ENDPOINT_URL": functions_endpoint_url or stack.emulator.endpoint_url,
                "AWS_ACCESS_KEY_ID": issued["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": issued["SecretAccessKey"],
                "AWS_SESSION_TOKEN": issued["SessionToken"],
            }
    return found


def loopback_ports(found: Environments) -> set[int]:
    return {port for variables in found.values() for value in variables.values() if (port := _loopback_port(value))}


def for_containers(found: Environments) -> str:
    """Return the environment file, with `HOST` in place of loopback addresses."""
    rewritten = {
        logical_id: {name: _in_container(name, value) for name, value in variables.items()}
        for logical_id, variables in found.items()
    }
    return json.dumps(rewritten, indent=2) + "\n"


def _in_container(name: str, value: str) -> str:
    # Plaid connects to WEBHOOK_URL, not the function.
    port = None if name == "WEBHOOK_URL" else _loopback_port(value)
    return urlsplit(value)._replace(netloc=f"{HOST}:{port}").geturl() if port else value


def _loopback_port(value: str) -> int | None:
    address = urlsplit(value)
    known = address.scheme in {"http", "https"} and address.hostname in _LOOPBACK
    return address.port if known else None
