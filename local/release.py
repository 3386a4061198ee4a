"""Whether a stack can be deployed, and the release that a deployment gives its functions.

A release is a digest of the code, the layers, the template and the values of all parameters. It is written into a copy
of the built template as `AutoPublishCodeSha256`: SAM makes the logical ids of the functions' versions of it, so that
CloudFormation publishes a version of each function when anything of this changes, and none when nothing does, but for
once more after the retry of an update that was rolled back. SAM alone
hashes properties with their references unresolved, and a changed parameter never reaches the alias
(https://github.com/aws/serverless-application-model/issues/3820). It also appends the digest to the functions'
descriptions, so that Lambda sees a change whenever CloudFormation publishes
(https://github.com/aws/serverless-application-model/issues/3281).
"""

from __future__ import annotations

import hashlib
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.builds.artifact import Part
from local.stack.nodes import child, compose, items, local_path, serialize, set_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import yaml

FILE: Final = "release.yaml"
"""The template with the release, beside the built one, whose relative paths it has."""
_DELETE: Final = (
    "Its creation failed, and nothing uses it. Delete it, then deploy again; its empty tables (and DataKey) stay:\n"
    "  aws cloudformation delete-stack --stack-name {name}\n"
    "  aws cloudformation wait stack-delete-complete --stack-name {name}"
)
_WAIT: Final = "Another operation runs. Wait until it ends, then deploy again."
_OBSTACLES: Final = {
    **dict.fromkeys(("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"), _DELETE),
    "DELETE_FAILED": (
        "Find out why, and delete it again; FORCE_DELETE_STACK leaves behind what can't be deleted:\n"
        "  aws cloudformation describe-stack-events --stack-name {name}\n"
        "  aws cloudformation delete-stack --stack-name {name} --deletion-mode FORCE_DELETE_STACK"
    ),
    "UPDATE_ROLLBACK_FAILED": (
        "Find out why, continue the rollback, then deploy again:\n"
        "  aws cloudformation describe-stack-events --stack-name {name}\n"
        "  aws cloudformation continue-update-rollback --stack-name {name}\n"
        "  aws cloudformation wait stack-rollback-complete --stack-name {name}"
    ),
}
"""What to run in states in which CloudFormation refuses every deployment; SAM shows the refusal only."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as CloudFormation describes it; without a status there is none.

    Attributes:
        attempt: when the last update was rolled back; empty if it was not.
    """

    status: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    attempt: str = ""

    @classmethod
    def read(cls, name: str) -> Stack:
        try:
            (found,) = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return cls()
            raise
        return cls.of(found)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Stack:
        status = found["StackStatus"]
        # The version of an update that was rolled back stays (DeletionPolicy), and Lambda publishes nothing if nothing
        # has changed since the last version: a second attempt needs another release.
        attempt = str(found["LastUpdatedTime"]) if status == "UPDATE_ROLLBACK_COMPLETE" else ""
        parameters = {entry["ParameterKey"]: entry["ParameterValue"] for entry in found.get("Parameters", [])}
        return cls(status, parameters, attempt)


def obstacle(name: str, status: str) -> str | None:
    """Return why a stack in a state can't be deployed, and what to run; None if it can."""
    # SAM executes its change set in a stack that another change set has left in review.
    running = status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"
    advice = _WAIT if running else _OBSTACLES.get(status)
    return advice and f"The stack {name} is in {status}. {advice.format(name=name)}"


def effective(template: yaml.Node, stack: Stack, overrides: str) -> dict[str, str]:
    """Return the value of each parameter in a deployment: given, else as before, else the default."""
    parameters = dict(items(child(template, "Parameters")))
    defaults = {name: default.value for name, found in parameters.items() if (default := child(found, "Default"))}
    given = dict(word.split("=", 1) for word in shlex.split(overrides))
    values = {**defaults, **stack.parameters, **given}
    return {name: value for name, value in values.items() if name in parameters}


def digest(template: Path, values: Mapping[str, str], attempt: str) -> str:
    """Return the release.

    It has the whole template and all parameters: no analysis can overlook one that reaches a function through a
    condition, a mapping or a resource that is replaced.
    """
    digests = [f"{name} {Part(name, folder).digest}" for name, folder in _code(template)]
    parameters = [f"{name}={value}" for name, value in sorted(values.items())]
    lines = "\n".join([*digests, *parameters, attempt])
    return hashlib.sha256(template.read_bytes() + lines.encode()).hexdigest()


def _code(template: Path) -> Iterator[tuple[str, Path]]:
    for name, resource in items(child(compose(template), "Resources")):
        for key in ("CodeUri", "ContentUri"):
            if code := local_path(child(resource, "Properties", key)):
                yield name, template.parent / code.value


def stamped(template: yaml.Node, release: str) -> str:
    """Return the template with the release in each function."""
    for _, resource in items(child(template, "Resources")):
        kind = child(resource, "Type")
        if kind is not None and kind.value == "AWS::Serverless::Function":
            set_text(child(resource, "Properties"), "AutoPublishCodeSha256", release)
    return serialize(template)


def main(name: str, path: str = "", overrides: str = "") -> int:
    """Check that a stack can be deployed; with a built template and parameters, write the template with the release."""
    try:
        stack = Stack.read(name)
    except (BotoCoreError, ClientError) as error:
        print(f"The stack {name} can't be read: {error}", file=sys.stderr)
        return 2
    if found := obstacle(name, stack.status):
        print(found, file=sys.stderr)
        return 1
    if path:
        template = Path(path)
        root = compose(template)
        release = digest(template, effective(root, stack, overrides), stack.attempt)
        (template.parent / FILE).write_text(stamped(root, release))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
