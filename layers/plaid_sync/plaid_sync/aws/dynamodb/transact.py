"""Transactional writes, all or nothing, whose failed conditions come back by label; and paged reads."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, number_of, serialize
from plaid_sync.aws.dynamodb.prebuilt import transact_write_items
from plaid_sync.domain.clock import RANDOM
from plaid_sync.domain.errors import (
    InvalidRequestError,
    PlaidSyncError,
    RowNewerThanItemError,
    SupersededError,
    TransientError,
)
from plaid_sync.domain.item import StateName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.clock import Clock, Deadline

MAX_TRIES: Final = 5
READ_SECONDS: Final = 15.0
"""What a read takes at worst, with the SDK's retries (aws.clients)."""
ITEM: Final = "item"
"""Label of the Item's action in a fenced transaction."""
ROW: Final = "row"
"""First word of the label of an action on a row that has the transaction's generation."""
_FIRST_PAUSE_SECONDS: Final = 0.05
_NO_REASON: Final = "None"
_CONDITION_FAILED: Final = "ConditionalCheckFailed"
_PERMANENT_REASONS: Final = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})
_MAX_READS: Final = 20
"""A filter can drop every row of many reads: then a page is short, and says where the next one begins."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a transaction.

    Attributes:
        label: names it when its condition fails.
        request: DynamoDB's form, such as `{"Update": {…}}`.
    """

    label: str
    request: dict[str, Any]


class ConditionFailedError(PlaidSyncError):
    """A condition failed: nothing was written.

    Attributes:
        found: by the label of each action whose condition failed, the row as it is (in DynamoDB's form).
    """

    def __init__(self, found: Mapping[str, dict[str, Any]]) -> None:
        super().__init__(f"the conditions of {', '.join(sorted(found))} failed")
        self.found = found


def update(  # noqa: PLR0913, PLR0917 - DynamoDB's own arguments
    label: str, table: str, key: Mapping[str, str], expression: Expression, update_expression: str, condition: str
) -> Action:
    """Return a conditional `Update`."""
    return Action(label, {"Update": _keyed(table, key, expression, condition, UpdateExpression=update_expression)})


def check(label: str, table: str, key: Mapping[str, str], expression: Expression, condition: str) -> Action:
    """Return a `ConditionCheck`."""
    return Action(label, {"ConditionCheck": _keyed(table, key, expression, condition)})


def put(label: str, table: str, row: Mapping[str, object]) -> Action:
    """Return an unconditional `Put`; attributes that are None are omitted."""
    item = {name: serialize(value) for name, value in row.items() if value is not None}
    return Action(label, {"Put": {"TableName": table, "Item": item}})


def _keyed(table: str, key: Mapping[str, str], expression: Expression, condition: str, **parts: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "Key": {name: serialize(value) for name, value in key.items()},
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **parts,
        **expression.arguments(),
    }


def write_together(
    client: DynamoDBClient, actions: Sequence[Action], clock: Clock, *, repeatable: bool = False
) -> None:
    """Write all of the actions together.

    A conflict is a concurrent write to one of the rows (an application annotating it, another attempt): all of it is
    retried with exponential backoff and jitter. When the SDK repeats the call after a lost response, it sends the same
    ClientRequestToken, so that it cannot take its own first success for a failed condition. A single update costs half
    of a transaction, and has no such token.

    Args:
        client: DynamoDB's.
        actions: the actions.
        clock: to wait between tries.
        repeatable: it is one update, whose condition still holds once it is written: no transaction is needed.

    The reasons of a canceled transaction are read together; the first line that fits decides:

    | action `ITEM` | other actions | result |
    |---|---|---|
    | condition failed | any | the conditions that failed: the Item is not as expected, and the rest follows from it |
    | any | one is always rejected, or `ITEM` is | `TransientError` at once |
    | conflict or throttled | any | retried: the Item may be changing, and then no failed condition means anything |
    | none | one conflicted or was throttled | retried: DynamoDB may not have come to the condition of `ITEM` |
    | none | condition failed | the conditions that failed: the Item's held |

    Raises:
        ConditionFailedError: a condition failed: nothing is written.
        TransientError: DynamoDB cannot accept the write now; where it did not respond, the write may have arrived.
    """
    for attempt in range(MAX_TRIES):
        with aws_errors():
            reasons = _reasons_against(client, [action.request for action in actions], repeatable=repeatable)
        if not reasons:
            return
        _raise_final(actions, reasons)
        back_off(clock, attempt)
    raise TransientError("transaction_canceled")


def _reasons_against(client: DynamoDBClient, requests: list[Any], *, repeatable: bool) -> Sequence[Mapping[str, Any]]:
    """Try once; return for each request why nothing was written, and nothing where all was."""
    try:
        if repeatable:
            (request,) = requests
            client.update_item(**request["Update"])
        else:
            transact_write_items(client, requests)
    except client.exceptions.TransactionCanceledException as error:
        canceled: Any = error.response
        return canceled.get("CancellationReasons") or [{}]
    except client.exceptions.ConditionalCheckFailedException as error:
        failed: Any = error.response
        return [{"Code": _CONDITION_FAILED, "Item": failed.get("Item", {})}]
    except client.exceptions.TransactionConflictException:
        return [{"Code": "TransactionConflict"}]
    return ()


def _raise_final(actions: Sequence[Action], reasons: Sequence[Mapping[str, Any]]) -> None:
    """Raise what the reasons of a canceled transaction prove; see `write_together`."""
    codes = {reason.get("Code", _NO_REASON) for reason in reasons}
    failed = {
        action.label: dict(reason.get("Item", {}))
        for action, reason in zip(actions, reasons, strict=False)
        if reason.get("Code") == _CONDITION_FAILED
    }
    if ITEM in failed:
        raise ConditionFailedError(failed)
    if permanent := codes & _PERMANENT_REASONS:
        raise TransientError(min(permanent))
    if failed and codes <= {_NO_REASON, _CONDITION_FAILED}:
        raise ConditionFailedError(failed)


def back_off(clock: Clock, attempt: int) -> None:
    """Wait before the next try: exponential backoff with jitter."""
    clock.sleep(_FIRST_PAUSE_SECONDS * 2**attempt * RANDOM.uniform(0.5, 1.5))


def write_fenced(
    client: DynamoDBClient, actions: Sequence[Action], generation: int, clock: Clock, *, repeatable: bool = False
) -> None:
    """Write a transaction whose action `ITEM` holds only while `generation` is the Item's newest.

    Raises:
        SupersededError: a newer attempt holds the Item, or it is removed.
        RowNewerThanItemError: a row is of a later generation than its Item.
        ConditionFailedError: the Item's condition held, and rows are not as expected in another way.
        TransientError: the cursor is another one, or DynamoDB cannot accept the write now.
    """
    try:
        write_together(client, actions, clock, repeatable=repeatable)
    except ConditionFailedError as failed:
        error = _fence_failure(failed, generation)
        if error is failed:
            raise
        raise error from failed


def _fence_failure(failed: ConditionFailedError, generation: int) -> PlaidSyncError:
    item = failed.found.get(ITEM)
    if item is None:
        # The Item's condition held, and nothing was changing it: a newer row shows that the Items table is older.
        rows = (row for label, row in failed.found.items() if label.startswith(f"{ROW} "))
        newest = max((number_of(deserialize(row), "generation") for row in rows), default=0)
        return failed if newest < generation else RowNewerThanItemError(newest)
    holds = item.get("generation") == serialize(generation)
    if holds and item.get("state") != serialize(StateName.REMOVED.value):
        # The stored cursor is not the one that this attempt started from, and no other attempt covers the update.
        return TransientError("cursor_changed")
    return SupersededError()


# ---- reads


def query_pages(client: DynamoDBClient, request: dict[str, Any], deadline: Deadline | None = None) -> Iterator[Any]:
    """Yield each response of a query, page after page.

    Raises:
        TransientError: DynamoDB cannot be read now, or time is running out.
    """
    start: dict[str, Any] = {}
    while True:
        if deadline is not None:
            deadline.require(READ_SECONDS)
        with aws_errors():
            response = client.query(**request, **start)
        yield response
        if "LastEvaluatedKey" not in response:
            return
        start = {"ExclusiveStartKey": response["LastEvaluatedKey"]}


def batch_get(client: DynamoDBClient, table: str, request: dict[str, Any], clock: Clock) -> Iterator[dict[str, Any]]:
    """Yield the rows that exist of up to 100 keys, in any order.

    Args:
        client: DynamoDB's.
        table: the keys' table.
        request: `Keys`, and how to read them.
        clock: to wait between tries.

    Raises:
        TransientError: DynamoDB cannot be read now.
    """
    left: Any = {table: request}
    empty_responses = 0
    while left:
        with aws_errors():
            response: Any = client.batch_get_item(RequestItems=left)
        rows = response["Responses"].get(table, ())
        yield from rows
        left = response.get("UnprocessedKeys")
        # A response ends at 1 MB of a partition: only one without rows that leaves keys is a failure.
        empty_responses = 0 if rows or not left else empty_responses + 1
        if empty_responses == MAX_TRIES:
            raise TransientError("UnprocessedKeys")
        if empty_responses:
            back_off(clock, empty_responses)


def filtered_pages(
    read: Callable[..., Any], request: dict[str, Any], limit: int, after: dict[str, str] | None
) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any] | None]]:
    """Read up to `limit` rows of a filtered list; yield each read's rows and its last key, None at the end of the list.

    Args:
        read: the client's `query` or `scan`.
        request: its arguments apart from `Limit`.
        limit: rows.
        after: the page token of the caller, which `request` starts at.

    Raises:
        InvalidRequestError: DynamoDB rejects the page token.
        TransientError: DynamoDB cannot be read now.
    """
    count = 0
    for _ in range(_MAX_READS):
        with _page_token_checked(after), aws_errors():
            response = read(Limit=limit - count, **request)
        rows, last = response["Items"], response.get("LastEvaluatedKey")
        yield rows, last
        count += len(rows)
        if last is None or count >= limit:
            return
        request = request | {"ExclusiveStartKey": last}


def page_key(last: dict[str, Any] | None, names: Sequence[str]) -> dict[str, str] | None:
    """Return the parts of a key with these names: where the next page begins."""
    return None if last is None else {name: str(last[name]["S"]) for name in names}


@contextmanager
def _page_token_checked(after: dict[str, str] | None) -> Iterator[None]:
    """Turn DynamoDB's rejection of a start key, which only the caller can have sent, into the caller's error."""
    try:
        yield
    except TransientError as error:
        if after is None or error.code != "ValidationException":
            raise
        raise InvalidRequestError("next", "send the next of the previous page as it is, or leave it out") from error
