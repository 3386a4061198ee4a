"""Counts DynamoDB's units as AWS bills them, from the requests of the functions and the rows before and after them.

The emulator's own figures are no use here: a transaction costs one unit there, and reads of any size one.

- https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.md: a write takes a unit per KB
  of the larger of the old and the new row; an eventually consistent read half a unit per 4 KB; a part of a transaction,
  ConditionCheck included, twice that.
- https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html (throughput considerations): an index takes
  a write where its projected attributes change, and two where its key does. Nothing says that a transaction doubles
  them; they follow it asynchronously, and count once here.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from botocore import xform_name

from tests.integration.crashes import intercepted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from local.stack import LocalStack

    Row = Mapping[str, Any]

_WRITE_BYTES: Final = 1024
_READ_BYTES: Final = 4096
_SINGLE: Final = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}
_TRANSACTIONAL: Final = 2
_NARROWING: Final = frozenset({"ProjectionExpression", "FilterExpression", "Select"})


@dataclass(frozen=True, slots=True)
class _Index:
    keys: tuple[str, ...]
    attributes: frozenset[str] | None
    """The projected ones; None for all."""

    def entry(self, row: Row | None) -> Row | None:
        """Return the index's copy of a row; None where it has none."""
        if row is None or not all(key in row for key in self.keys):
            return None
        return row if self.attributes is None else {name: row[name] for name in self.attributes & row.keys()}

    def units(self, before: Row | None, after: Row | None) -> int:
        old, new = self.entry(before), self.entry(after)
        if old == new:
            return 0
        if old is not None and new is not None and all(old[key] == new[key] for key in self.keys):
            return max(_writes(old), _writes(new))
        return sum(_writes(entry) for entry in (old, new) if entry is not None)


@dataclass(slots=True)
class Units:
    """The units that were consumed."""

    written: Counter[str] = field(default_factory=Counter)
    """Write units, by table; an index is `table/index`."""
    read: Counter[str] = field(default_factory=Counter)
    """Half read units, by table."""

    @property
    def writes(self) -> int:
        return sum(self.written.values())

    @property
    def reads(self) -> float:
        return sum(self.read.values()) / 2


@contextmanager
def measured(stack: LocalStack) -> Iterator[Units]:
    """Count the units of all that the functions do in this block."""
    meter = _Meter(stack)
    with intercepted(meter.handle):
        yield meter.units


class _Meter:
    def __init__(self, stack: LocalStack) -> None:
        self.units = Units()
        self._dynamodb: Any = stack.client("dynamodb")
        self._looking = threading.local()
        self._describe = cache(lambda table: self._dynamodb.describe_table(TableName=table)["Table"])

    def handle(self, send: Callable[[], Any], call: str, body: Any) -> Any:
        operation = call.rpartition("DynamoDB_20120810.")[2] if "DynamoDB_20120810." in call else ""
        if not operation or getattr(self._looking, "on", False):
            return send()
        request = json.loads(body)
        self._looking.on = True
        try:
            return self._count(send, operation, request)
        finally:
            self._looking.on = False

    def _count(self, send: Callable[[], Any], operation: str, request: dict[str, Any]) -> Any:
        keys = list(self._written(operation, request))
        before = [self._row(table, key) for table, key, _ in keys]
        response = send()
        for (table, key, factor), old in zip(keys, before, strict=True):
            self._count_write(table, factor, old, self._row(table, key))
        if not keys:
            self._count_read(operation, request)
        return response

    def _written(self, operation: str, request: dict[str, Any]) -> Iterator[tuple[str, Row, int]]:
        """Yield table, key and factor of each row that a request writes or, in a transaction, checks."""
        if operation in _SINGLE:
            yield request["TableName"], self._key_of(request["TableName"], request), 1
        for part in request.get("TransactItems", ()):
            (action,) = part.values()
            yield action["TableName"], self._key_of(action["TableName"], action), _TRANSACTIONAL
        if operation == "BatchWriteItem":
            for table, parts in request["RequestItems"].items():
                for part in parts:
                    (action,) = part.values()
                    yield table, self._key_of(table, action), 1

    def _key_of(self, table: str, action: Mapping[str, Any]) -> Row:
        row = action.get("Key") or action["Item"]
        return {key["AttributeName"]: row[key["AttributeName"]] for key in self._describe(table)["KeySchema"]}

    def _row(self, table: str, key: Row) -> Row | None:
        row: Row | None = self._dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        return row

    def _count_write(self, table: str, factor: int, before: Row | None, after: Row | None) -> None:
        self.units.written[table] += factor * max(_writes(before), _writes(after), 1)
        description = self._describe(table)
        for index in description.get("GlobalSecondaryIndexes", ()):
            units = _index_of(description, index).units(before, after)
            if units:
                self.units.written[f"{table}/{index['IndexName']}"] += units

    def _count_read(self, operation: str, request: dict[str, Any]) -> None:
        """Read it again whole and count that: neither a projection nor a filter makes a read cheaper."""
        if operation == "BatchGetItem":
            request["RequestItems"] = {table: _whole(part) for table, part in request["RequestItems"].items()}
            response = self._dynamodb.batch_get_item(**request)
            for table, rows in response["Responses"].items():
                weight = 2 if request["RequestItems"][table].get("ConsistentRead") else 1
                missing = len(request["RequestItems"][table]["Keys"]) - len(rows)
                self.units.read[table] += weight * (sum(_reads(size_of(row)) for row in rows) + missing)
        elif operation in {"GetItem", "Query", "Scan"}:
            weight = 2 if request.get("ConsistentRead") else 1
            response = getattr(self._dynamodb, xform_name(operation))(**_whole(request))
            rows = [response["Item"]] if "Item" in response else response.get("Items", [])
            self.units.read[request["TableName"]] += weight * _reads(sum(map(size_of, rows)))


def _whole(read: Mapping[str, Any]) -> dict[str, Any]:
    """Return a read without its projection and its filter, and without the names and values that only they have."""
    kept = {name: value for name, value in read.items() if name not in _NARROWING}
    used = set(re.findall(r"[#:]\w+", str(kept.get("KeyConditionExpression", ""))))
    for arguments in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        left = {name: value for name, value in kept.pop(arguments, {}).items() if name in used}
        kept |= {arguments: left} if left else {}
    return kept


def size_in_indexes(stack: LocalStack, table: str, row: Row) -> dict[str, int]:
    """Return the bytes that a row takes in each index that has it."""
    description: Mapping[str, Any] = stack.client("dynamodb").describe_table(TableName=table)["Table"]
    entries = {
        index["IndexName"]: _index_of(description, index).entry(row) for index in description["GlobalSecondaryIndexes"]
    }
    return {name: size_of(entry) for name, entry in entries.items() if entry is not None}


def _index_of(table: Mapping[str, Any], index: Mapping[str, Any]) -> _Index:
    keys = tuple(key["AttributeName"] for key in index["KeySchema"])
    projection = index["Projection"]
    if projection["ProjectionType"] == "ALL":
        return _Index(keys, None)
    own = {key["AttributeName"] for key in table["KeySchema"]}
    return _Index(keys, frozenset({*keys, *own, *projection.get("NonKeyAttributes", ())}))


def _writes(row: Row | None) -> int:
    return 0 if row is None else math.ceil(size_of(row) / _WRITE_BYTES)


def _reads(size: int) -> int:
    """Return the half read units of an eventually consistent read."""
    return max(1, math.ceil(size / _READ_BYTES))


def size_of(row: Row) -> int:
    """Return a row's size as DynamoDB counts it: the names and the values of its attributes.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name.encode()) + _size(value) for name, value in row.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return math.ceil(len(content.strip("-").replace(".", "")) / 2) + 1
        case "B":
            return len(content)
        case "L":
            return 3 + sum(1 + _size(each) for each in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(each) for name, each in content.items())
        case _:
            return 1  # BOOL, NULL; no table has a set
