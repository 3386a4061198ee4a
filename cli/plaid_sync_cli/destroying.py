"""The end of a deployment: what stands in its way, the stack, and then what the stack leaves behind on purpose."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from plaid_sync.core.items import ItemStatus

from plaid_sync_cli.deployment import CONFIG
from plaid_sync_cli.errors import CommandError, ExitCode
from plaid_sync_cli.output import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    import boto3

_LOOK_EVERY: Final = 2.0
_STACK_SECONDS: Final = 3600.0
_KEY_DAYS: Final = 30
_GONE: Final = frozenset(
    {"ResourceNotFoundException", "NotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
)
_KINDS: Final = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup", "AWS::KMS::Key")
"""What can be left when a stack is gone, in the order in which it is deleted: keys last, for the others need them."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a deployment must not be destroyed yet.

    Attributes:
        what: is protected.
        lift: how to lift that, a command a line.
    """

    what: str
    lift: tuple[str, ...]


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


def obstacles(remains: Remains) -> Iterator[Obstacle]:
    """Yield all that has to be lifted first."""
    if remains.protected and not remains.gone:
        lift = f"aws cloudformation update-termination-protection --stack-name {remains.name}"
        yield Obstacle(
            f"the stack {remains.name} has termination protection", (f"{lift} --no-enable-termination-protection",)
        )
    yield from _billed_items(remains)
    for table in remains.of("AWS::DynamoDB::Table"):
        described = _described(remains, table)
        if described and described.get("DeletionProtectionEnabled"):
            yield Obstacle(
                f"the table {table} is protected against deletion",
                (f"aws dynamodb update-table --table-name {table} --no-deletion-protection-enabled",),
            )


def _described(remains: Remains, table: str) -> Any:  # noqa: ANN401 - boto3's
    answer = _existing(lambda: remains.client("dynamodb").describe_table(TableName=table))
    return None if answer is None else answer["Table"]


def _billed_items(remains: Remains) -> Iterator[Obstacle]:
    """Items that Plaid goes on serving and billing: only their tokens, in the table, can end that."""
    if _described(remains, remains.id("ItemsTable")) is None:
        return
    linked = {state: _count(remains, "by_status", state) for state in ItemStatus if state is not ItemStatus.REMOVED}
    where = f"--stack {remains.name}"
    for state, count in linked.items():
        if count:
            yield Obstacle(
                f"{plural(count, f'{state} Item')} would go on at Plaid, and be billed",
                (
                    f"plaid-sync items --state {state} {where}",
                    f"plaid-sync remove ID --transactions erase {where}",
                ),
            )
    if unfinished := _count(remains, "by_due", ItemStatus.REMOVED):
        yield Obstacle(
            f"{plural(unfinished, 'removed Item')} not yet let go by Plaid, or not yet erased",
            (f"plaid-sync items --state removed {where}", f"plaid-sync status {where}"),
        )


def _count(remains: Remains, index: str, state: ItemStatus) -> int:
    pages = (
        remains.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=remains.id("ItemsTable"),
            IndexName=index,
            Select="COUNT",
            KeyConditionExpression="#status = :status",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":status": {"S": state.value}},
        )
    )
    return sum(page["Count"] for page in pages)


def delete_stack(remains: Remains, tell: Callable[[str], None]) -> None:
    """Delete the stack and wait until it is gone.

    Raises:
        CommandError: it is still there; what it retains is not touched then.
    """
    formation = remains.client("cloudformation")
    formation.delete_stack(StackName=remains.stack_id)
    deadline = time.monotonic() + _STACK_SECONDS
    while (stack := formation.describe_stacks(StackName=remains.stack_id)["Stacks"][0])["StackStatus"] != (
        "DELETE_COMPLETE"
    ):
        if stack["StackStatus"] == "DELETE_FAILED" or time.monotonic() > deadline:
            raise CommandError(
                f"the stack is {stack['StackStatus']}: {stack.get('StackStatusReason', 'no reason is given')}",
                "What it would have left (tables, queue, keys) is untouched. Repair that, and run this again.",
            )
        tell(f"the stack is {stack['StackStatus']}")
        time.sleep(_LOOK_EVERY)


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a thing that a stack leaves.

    Attributes:
        what: its type and its name.
        until: for a key: when it is deleted, and can be kept until then.
    """

    what: str
    until: datetime | None = None


def delete_rest(remains: Remains) -> Iterator[Ended]:
    """Delete what is left, and yield each when it is done; what is gone already is passed over."""
    for kind in _KINDS:
        for physical_id in remains.of(kind):
            ended = _DELETE[kind](remains, physical_id)
            if ended is not None:
                yield ended


def _delete_table(remains: Remains, name: str) -> Ended | None:
    client = remains.client("dynamodb")
    if _existing(lambda: client.delete_table(TableName=name)) is None:
        return None
    client.get_waiter("table_not_exists").wait(TableName=name)
    return Ended(f"table {name}")


def _delete_queue(remains: Remains, url: str) -> Ended | None:
    client = remains.client("sqs")
    if _existing(lambda: client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])) is None:
        return None
    client.delete_queue(QueueUrl=url)
    return Ended(f"queue {url.rsplit('/', 1)[-1]}")


def _delete_logs(remains: Remains, name: str) -> Ended | None:
    return (
        None if _existing(lambda: remains.client("logs").delete_log_group(logGroupName=name)) is None else Ended(name)
    )


def _schedule_key(remains: Remains, key_id: str) -> Ended | None:
    client = remains.client("kms")
    described = _existing(lambda: client.describe_key(KeyId=key_id))
    if described is None:
        return None
    until = described["KeyMetadata"].get("DeletionDate")
    if until is None:
        until = client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=_KEY_DAYS)["DeletionDate"]
    return Ended(f"key {key_id}", until)


_DELETE: Final[dict[str, Callable[[Remains, str], Ended | None]]] = dict(
    zip(_KINDS, (_delete_table, _delete_queue, _delete_logs, _schedule_key), strict=True)
)


def _existing(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - boto3's
    """Return what a call answers; None where what it is about does not exist."""
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return None
        raise
