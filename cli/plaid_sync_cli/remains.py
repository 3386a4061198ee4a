"""What a stack consists of, whether it is there or was deleted lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from plaid_sync_cli.deployment import CONFIG
from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import boto3

_GONE: Final = frozenset(
    {"ResourceNotFoundException", "NotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
)


@dataclass(frozen=True, slots=True)
class Remains:
    """A stack, there or deleted, and what it consists of.

    Attributes:
        stack_id: its ARN, which names it after it is gone, too.
        gone: whether it is.
        protected: whether its termination protection is on.
        parts: type and physical id by logical id.
    """

    name: str
    stack_id: str
    gone: bool
    protected: bool
    parts: Mapping[str, tuple[str, str]]
    session: boto3.Session

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients' types at run time
        """Return the client of an AWS service."""
        return self.session.client(service, config=CONFIG)

    def of(self, kind: str) -> list[str]:
        """Return the physical ids of a type."""
        return sorted(physical_id for found, physical_id in self.parts.values() if found == kind)

    def id(self, logical_id: str) -> str:
        """Return a physical id."""
        return self.parts[logical_id][1]


def look(name: str, session: boto3.Session) -> Remains:
    """Find a stack, or what was deleted last under its name.

    Raises:
        CommandError: there is none, or it is not one of plaid-sync-engine.
    """
    formation = session.client("cloudformation", config=CONFIG)
    try:
        (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        stack = _last_deleted(formation, name)
    gone = stack["StackStatus"] == "DELETE_COMPLETE"
    parts = _buried(formation, stack["StackId"]) if gone else _living(formation, stack["StackId"])
    if not {"ItemsTable", "TokenKey", "SyncQueue"} <= parts.keys():
        raise CommandError(
            f"the stack {name} is not a deployment of plaid-sync-engine", "Look at the name.", ExitCode.USAGE
        )
    protected = bool(stack.get("EnableTerminationProtection"))
    return Remains(name, stack["StackId"], gone, protected, parts, session)


def _living(formation: Any, stack_id: str) -> dict[str, tuple[str, str]]:  # noqa: ANN401 - boto3's
    pages = formation.get_paginator("list_stack_resources").paginate(StackName=stack_id)
    found = (one for page in pages for one in page["StackResourceSummaries"])
    return {one["LogicalResourceId"]: (one["ResourceType"], one.get("PhysicalResourceId", "")) for one in found}


def _buried(formation: Any, stack_id: str) -> dict[str, tuple[str, str]]:  # noqa: ANN401 - boto3's
    """Read what a deleted stack consisted of from the events of its deletion, which are kept for 90 days."""
    pages = formation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    found = [one for page in pages for one in page["StackEvents"] if one.get("PhysicalResourceId")]
    return {one["LogicalResourceId"]: (one["ResourceType"], one["PhysicalResourceId"]) for one in reversed(found)}


def _last_deleted(formation: Any, name: str) -> Any:  # noqa: ANN401 - boto3's
    pages = formation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    found = [one for page in pages for one in page["StackSummaries"] if one["StackName"] == name]
    if not found:
        raise CommandError(
            f"there is no stack {name} in {formation.meta.region_name}, and none of this name was deleted lately",
            "Look at the name, --region and --profile: `aws cloudformation list-stacks` shows those that there are.",
            ExitCode.UNREACHABLE,
        )
    return max(found, key=lambda one: one["CreationTime"])  # there is one of a name at a time


def existing(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - boto3's
    """Return what a call answers; None where what it is about does not exist."""
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return None
        raise
