"""The Transactions table: read by the sync, the audit and the Items API; written by the sync alone, under the fence.

Key: `item_id` + `transaction_id`. Attributes of a live row: see `TransactionRow`; absent where Plaid has null.
`date_id` (`<date>#<transaction_id>`) puts it into the index `by_account`. Every row: `generation`,
`first_generation` (N). A tombstone has `removed_at` (S) and `expires_at` (N, epoch seconds, TTL) and no `date_id`;
that of a gone account does not expire, and that of an account that the user withdrew has no content.
`annotations` (M) is the application's own and moves with its transaction (`annotations`), `annotations_version` (N)
rises with each of its changes, `posted_transaction_id` (S) is the row that named this one as its pending transaction.
Any other attribute is the application's own and is never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb import transact
from plaid_sync.aws.dynamodb.annotations import ANNOTATIONS, POSTED, VERSION, AnnotationMoves, RowExtra
from plaid_sync.aws.dynamodb.change_log import changes_put
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, number_of, serialize
from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.aws.dynamodb.item_rows import checkpoint_attributes, commit_attributes
from plaid_sync.aws.dynamodb.transact import (
    ITEM,
    MAX_TRIES,
    READ_SECONDS,
    ROW,
    Action,
    ConditionFailedError,
    batch_get,
    query_pages,
    write_fenced,
)
from plaid_sync.domain.changes import change_of
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.errors import TRANSACTION_CANCELED, TransientError
from plaid_sync.domain.pendings import paired
from plaid_sync.domain.transaction import (
    TOMBSTONE_TTL,
    PendingLink,
    RowRemoval,
    RowWrite,
    StoredRow,
    TransactionId,
    TransactionRow,
    stored_remainder,
)
from plaid_sync.sync.ports import Commit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.changes import Change
    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.item import Checkpoint, ItemId

_CONTENT: Final = TransactionRow.ATTRIBUTES[:-1]
_REQUIRED: Final = frozenset(_CONTENT[:5])
_TYPES: Final[dict[str, type]] = {"amount": Decimal, "pending": bool, "plaid": bytes}
"""Python types of the content; everything else is text."""
_FENCE_ATTRIBUTES: Final = (
    *("transaction_id", "account_id", "generation", "first_generation", "removed_at", "expires_at", "date_id"),
    *(POSTED, VERSION),
)
_SCANNED_ATTRIBUTES: Final = (*_FENCE_ATTRIBUTES, "date")
"""Of the content only one attribute, which shows that there is any."""
ALL_ATTRIBUTES: Final = (*_FENCE_ATTRIBUTES, *_CONTENT[1:])
_TOMBSTONE: Final = ("removed_at", "expires_at")
ENGINE_ATTRIBUTES: Final = ("generation", *TransactionRow.ATTRIBUTES)
"""A row with one of these is the engine's, even if it lost the others; any other row is an application's annotation."""
_MAX_ANNOTATED_WRITES: Final = 10
"""Of a transaction that moves annotations: with them, more may be larger than DynamoDB takes."""
_KEYS_PER_READ: Final = 100


@dataclass(frozen=True, slots=True)
class TransactionRows:
    """Reads rows; implements `AuditedRows`."""

    client: DynamoDBClient
    table: str
    clock: Clock

    def rows(
        self, item_id: ItemId, ids: Collection[TransactionId], deadline: Deadline
    ) -> Mapping[TransactionId, StoredRow]:
        """See `TransactionsStore`. Consistent: an older content than the stored one would hide a change."""
        return self._stored(item_id, ids, deadline)

    def _stored(
        self, item_id: ItemId, ids: Collection[TransactionId], deadline: Deadline | None = None
    ) -> dict[TransactionId, StoredRow]:
        read = self._read(item_id, ids, deadline)
        # Without a generation it is an application's annotations, or an attempt overwrites it anyway.
        rows = [stored_row_from(attributes) for attributes in read if "generation" in attributes]
        return {row.transaction_id: row for row in rows}

    def attributes(
        self, item_id: ItemId, ids: Collection[TransactionId], deadline: Deadline
    ) -> Mapping[TransactionId, Mapping[str, object]]:
        """See `AuditedRows`."""
        read = (
            attributes
            for attributes in self._read(item_id, ids, deadline)
            if not attributes.keys().isdisjoint(ENGINE_ATTRIBUTES)
        )
        return {TransactionId(values["transaction_id"]): values for values in map(deserialize, read)}

    def _read(
        self, item_id: ItemId, ids: Collection[TransactionId], deadline: Deadline | None
    ) -> Iterator[dict[str, Any]]:
        ordered = list(ids)
        for start in range(0, len(ordered), _KEYS_PER_READ):
            if deadline is not None:
                deadline.require(READ_SECONDS)
            keys = [
                {"item_id": serialize(item_id), "transaction_id": serialize(transaction_id)}
                for transaction_id in ordered[start : start + _KEYS_PER_READ]
            ]
            yield from self._read_keys(keys)

    def _read_keys(self, keys: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        expression = Expression()
        projection = ", ".join(expression.name(name) for name in ALL_ATTRIBUTES)
        read = {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": projection, **expression.arguments()}
        yield from batch_get(self.client, self.table, read, self.clock)

    def scan_item(self, item_id: ItemId, deadline: Deadline, since: int = 0) -> Iterator[StoredRow]:
        """See `TransactionsStore`."""
        expression = Expression()
        chosen = _since(expression, since) if since else written_by_engine(expression)
        yield from self._scan(item_id, expression, chosen, _SCANNED_ATTRIBUTES, deadline)

    def live_rows(self, item_id: ItemId, deadline: Deadline) -> Iterator[StoredRow]:
        """See `AuditedRows`."""
        expression = Expression()
        rows = self._scan(item_id, expression, written_by_engine(expression), ALL_ATTRIBUTES, deadline)
        # A tombstone that is in the index counts as live: no filter of DynamoDB decides that here a second time.
        yield from (row for row in rows if row.live)

    def _scan(
        self, item_id: ItemId, expression: Expression, chosen: str, attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[StoredRow]:
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": expression.equals("item_id", item_id),
            "FilterExpression": chosen,
            "ProjectionExpression": ", ".join(expression.name(name) for name in attributes),
            **expression.arguments(),
        }
        for page in query_pages(self.client, request, deadline):
            yield from map(stored_row_from, page["Items"])


@dataclass(frozen=True, slots=True)
class TransactionsTable(TransactionRows):
    """Reads and writes rows; implements `TransactionsStore`.

    Attributes:
        logs_changes: whether each write is logged for the feed (`change_log`): what it changes is read before.
    """

    items_table: str
    history_table: str
    logs_changes: bool = False

    def write(
        self,
        item_id: ItemId,
        generation: int,
        writes: Collection[RowWrite],
        *,
        begin: bool,
        end: Commit | Checkpoint | None = None,
    ) -> None:
        """See `TransactionsStore`.

        Where rows have annotations, the write is tried again with what is known of them then; many are written in
        several transactions, of which only the last has the end.
        """
        seen: dict[str, dict[str, Any]] = {}
        for _ in range(MAX_TRIES + len(writes)):
            try:
                self._write(item_id, generation, writes, seen, begin=begin, end=end)
            except ConditionFailedError as failed:
                seen |= {label.partition(" ")[2]: row for label, row in failed.found.items()}
            else:
                return
            pairs = list(paired(writes)) if len(writes) > _MAX_ANNOTATED_WRITES else []
            if half := len(pairs) // 2:
                first, writes = ([write for pair in part for write in pair] for part in (pairs[:half], pairs[half:]))
                self.write(item_id, generation, first, begin=begin or end is not None)
                begin, seen = False, {}
        raise TransientError(TRANSACTION_CANCELED)

    def _write(  # noqa: PLR0913 - those of `write`, and what is known of annotations
        self,
        item_id: ItemId,
        generation: int,
        writes: Collection[RowWrite],
        seen: Mapping[str, dict[str, Any]],
        *,
        begin: bool,
        end: Commit | Checkpoint | None,
    ) -> None:
        changes = self._changes(item_id, writes) if self.logs_changes else []
        now, item_key = self.clock.now(), serialize(item_id)
        moves = AnnotationMoves(self.table, item_key, writes, seen, _expiry(now)).plan()
        actions = [
            self._item_action(item_id, generation, begin=begin, end=end, changes=bool(changes)),
            *self._row_actions(item_id, generation, writes, moves.extras),
            *moves.actions,
            *([entry_put(self.history_table, end.entry)] if isinstance(end, Commit) and end.entry else []),
        ]
        if changes:
            committed_at = end.committed_at if isinstance(end, Commit) else None
            actions.append(changes_put(self.history_table, item_id, generation, changes, committed_at))
        # The condition on the cursor holds no longer once it has moved.
        repeatable = len(actions) == 1 and isinstance(end, Commit) and end.cursor == end.expected_cursor
        write_fenced(self.client, actions, generation, self.clock, repeatable=repeatable)

    def _changes(self, item_id: ItemId, writes: Collection[RowWrite]) -> list[Change]:
        """Return what the writes change. No other writer can change these rows before: the fence is raised."""
        contents = [write for write in writes if not isinstance(write, PendingLink)]
        stored = self._stored(item_id, [write.transaction_id for write in contents])
        changes = (change_of(stored.get(write.transaction_id), write) for write in contents)
        return [change for change in changes if change is not None]

    def _item_action(
        self, item_id: ItemId, generation: int, *, begin: bool, end: Commit | Checkpoint | None, changes: bool
    ) -> Action:
        expression = Expression()
        condition = expression.fenced(generation)
        sets: dict[str, Any] = {}
        if isinstance(end, Commit):
            condition += f" AND {expression.equals('cursor', end.expected_cursor)}"
            sets = commit_attributes(item_id, end)
            # A look that finds nothing has nothing to publish, and no history entry.
            sets |= {"changes_at": generation} if self.logs_changes and (changes or end.entry) else {}
        elif end is not None:
            sets = {"checkpoint": checkpoint_attributes(end), "generation": generation + 1}
        defaults = {"writing_since": generation} if begin else {}
        update = expression.update(sets, defaults) if sets or defaults else ""
        key = {"item_id": item_id}
        if update:
            return transact.update(ITEM, self.items_table, key, expression, update, condition)
        return transact.check(ITEM, self.items_table, key, expression, condition)

    def _row_actions(
        self, item_id: ItemId, generation: int, writes: Collection[RowWrite], extras: Mapping[TransactionId, RowExtra]
    ) -> Iterator[Action]:
        now, item_key = self.clock.now(), serialize(item_id)
        common = {":generation": serialize(generation), ":number": serialize("N")}
        # Not the key: an application may have annotated an id before we write it, or after its tombstone expired. And
        # not only absence: a generation that is no number is no attempt's, and would block the row forever.
        older = "NOT attribute_type(#generation, :number) OR #generation < :generation"
        for write in writes:
            if isinstance(write, PendingLink):
                continue
            extra = extras.get(write.transaction_id, _NO_EXTRA)
            attributes = row_attributes(write, now) | extra.attributes
            removed = tuple(name for name, value in attributes.items() if value is None)
            given = {f":{name}": serialize(value) for name, value in attributes.items() if value is not None}
            if extra.moved is not None:
                given[f":{ANNOTATIONS}"] = extra.moved
            update, names = _row_update(tuple(name[1:] for name in given), removed)
            request = {
                "TableName": self.table,
                "Key": {"item_id": item_key, "transaction_id": serialize(write.transaction_id)},
                "UpdateExpression": update,
                "ConditionExpression": f"({older}) AND {extra.condition}" if extra.condition else older,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                "ExpressionAttributeNames": names | {f"#{name}": name for name in extra.names},
                "ExpressionAttributeValues": common | given | extra.values,
            }
            yield Action(f"{ROW} {write.transaction_id}", {"Update": request})


_NO_EXTRA: Final = RowExtra()


@cache
def _row_update(given: tuple[str, ...], removed: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return the update expression of a row that gets some attributes and loses others, and the names in it.

    Rows are most of what is written, and few combinations of attributes occur.
    """
    sets = ", ".join(f"#{name} = :{name}" for name in given)
    raised = "#generation = :generation, #first_generation = if_not_exists(#first_generation, :generation)"
    removes = f" REMOVE {', '.join(f'#{name}' for name in removed)}" if removed else ""
    names = {f"#{name}": name for name in (*given, *removed, "generation", "first_generation")}
    return f"SET {sets}, {raised}{removes}", names


def _since(expression: Expression, generation: int) -> str:
    return f"{expression.name('generation')} >= {expression.value(generation)}"


def written_by_engine(expression: Expression) -> str:
    """Return the condition that a row is the engine's, also where it lost some of its attributes."""
    return " OR ".join(f"attribute_exists({expression.name(name)})" for name in ENGINE_ATTRIBUTES)


def live_rows(expression: Expression) -> str:
    """Return the condition that a row is one of the Item's transactions, a damaged one included."""
    return f"{expression.equals('removed_at', None)} AND ({written_by_engine(expression)})"


# ---- the rows


def _expiry(now: datetime) -> int:
    return int((now + TOMBSTONE_TTL).timestamp())


def row_attributes(write: TransactionRow | RowRemoval, now: datetime) -> dict[str, Any]:
    """Return the attributes that a write sets (None: removes); all others of the row stay as they are."""
    if isinstance(write, RowRemoval):
        removal: dict[str, Any] = {
            "date_id": None,
            "removed_at": format_timestamp(now),
            "expires_at": None if write.kept else _expiry(now),
        }
        # What an application wrote about a transaction is the user's data, too.
        erased = dict.fromkeys((*_CONTENT[1:], ANNOTATIONS, VERSION, POSTED)) if write.erase else {}
        return erased | removal | ({"account_id": write.account_id} if write.account_id else {})
    absent = dict.fromkeys((*_CONTENT, *_TOMBSTONE))
    return absent | write.attributes | {"plaid": write.plaid}


def stored_row_from(attributes: dict[str, Any]) -> StoredRow:
    """Parse a row, with its content where that was requested.

    A corrupted row parses, too: a number of a wrong type counts as 0, content that the engine would write differently
    as missing. A row that is in the index counts as live, because its readers see it.
    """
    values = deserialize(attributes)
    live = "removed_at" not in values or "date_id" in values
    stays = not live and "expires_at" not in values
    return StoredRow(
        transaction_id=TransactionId(values["transaction_id"]),
        account_id=_text(values, "account_id"),
        live=live,
        generation=number_of(values, "generation"),
        first_generation=number_of(values, "first_generation"),
        row=_content(values) if live else None,
        erased=not live and "date" not in values,
        kept=stays and VERSION not in values,
        annotated=stays and VERSION in values,
        posted_transaction_id=_text(values, POSTED),
    )


def _content(values: dict[str, Any]) -> TransactionRow | None:
    """Return the content of a live row; None where the engine would write that content differently."""
    found = {name: values[name] for name in _CONTENT if name in values}
    if not found.keys() >= _REQUIRED or any(type(found[name]) is not _TYPES.get(name, str) for name in found):
        return None
    del found["plaid"]
    remainder = stored_remainder(values)
    if remainder is None:
        return None
    row = TransactionRow(transaction_id=TransactionId(values["transaction_id"]), remainder=remainder, **found)
    marked = isinstance(values.get("generation"), Decimal) and "first_generation" in values
    return row if marked and values.get("date_id") == row.date_id and values.keys().isdisjoint(_TOMBSTONE) else None


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None
