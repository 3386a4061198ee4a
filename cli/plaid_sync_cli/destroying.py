"""The end of a deployment: what stands in its way, the stack, and then what the stack leaves behind on purpose."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core.items import ItemStatus

from plaid_sync_cli.errors import CommandError
from plaid_sync_cli.output import plural
from plaid_sync_cli.remains import existing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from plaid_sync_cli.remains import Remains


_LOOK_EVERY: Final = 2.0
_STACK_SECONDS: Final = 3600.0
_KEY_DAYS: Final = 30
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
    answer = existing(lambda: remains.client("dynamodb").describe_table(TableName=table))
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
    if existing(lambda: client.delete_table(TableName=name)) is None:
        return None
    client.get_waiter("table_not_exists").wait(TableName=name)
    return Ended(f"table {name}")


def _delete_queue(remains: Remains, url: str) -> Ended | None:
    client = remains.client("sqs")
    if existing(lambda: client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])) is None:
        return None
    client.delete_queue(QueueUrl=url)
    return Ended(f"queue {url.rsplit('/', 1)[-1]}")


def _delete_logs(remains: Remains, name: str) -> Ended | None:
    return None if existing(lambda: remains.client("logs").delete_log_group(logGroupName=name)) is None else Ended(name)


def _schedule_key(remains: Remains, key_id: str) -> Ended | None:
    client = remains.client("kms")
    described = existing(lambda: client.describe_key(KeyId=key_id))
    if described is None:
        return None
    until = described["KeyMetadata"].get("DeletionDate")
    if until is None:
        until = client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=_KEY_DAYS)["DeletionDate"]
    return Ended(f"key {key_id}", until)


_DELETE: Final[dict[str, Callable[[Remains, str], Ended | None]]] = dict(
    zip(_KINDS, (_delete_table, _delete_queue, _delete_logs, _schedule_key), strict=True)
)
