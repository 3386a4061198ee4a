"""The Quarantine table: entries that violate Plaid's schema, kept whole until an operator resolves them.

Key: `item_id` + `entry_part` (`<entry_id>#<number of the part>`). Attributes: `raw` (B, zlib over this part of the
entry's JSON), `parts` (N, how many there are), `source` (S, the list of Plaid's response), `field` (S, what is
invalid), `transaction_id` (S, where it is readable), `quarantined_at` (S) and `generation` (N) of the attempt that kept
it first.
Any other attribute is the operator's own and is never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb import transact
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.aws.dynamodb.transact import ITEM, Action, query_pages, write_fenced
from plaid_sync.domain.clock import Clock, format_timestamp, read_timestamp
from plaid_sync.domain.transaction import TransactionId
from plaid_sync.pull.pages import InvalidEntry
from plaid_sync.sync.quarantine import Part, join_parts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.item import ItemId

_MAX_COUNTED_PAGES: Final = 5
"""Of one megabyte each: usually there is nothing to count, and of a flood it is enough to know that it is one."""


@dataclass(frozen=True, slots=True)
class QuarantinedEntry:
    """An invalid entry as it was kept.

    Attributes:
        entry_id: the id that the log shows.
        quarantined_at: when it was kept first.
        generation: the attempt that kept it first.
    """

    entry: InvalidEntry
    entry_id: str
    quarantined_at: datetime
    generation: int

    @property
    def complete(self) -> bool:
        """Whether all parts are there; not so while its writer writes, or after it died, until the next attempt."""
        return self.entry.entry_id == self.entry_id


@dataclass(frozen=True, slots=True)
class QuarantineTable:
    """Keeps invalid entries, and reads them back; implements `Quarantine`."""

    client: DynamoDBClient
    items_table: str
    quarantine_table: str
    clock: Clock

    def keep(self, item_id: ItemId, generation: int, parts: Collection[Part]) -> None:
        """See `Quarantine`. Fenced, so that no bank data is written for a removed Item."""
        expression = Expression()
        fenced = expression.fenced(generation)
        actions = [
            transact.check(ITEM, self.items_table, {"item_id": item_id}, expression, fenced),
            *(self._part_action(item_id, generation, part) for part in parts),
        ]
        write_fenced(self.client, actions, generation, self.clock)

    def _part_action(self, item_id: ItemId, generation: int, part: Part) -> Action:
        expression, entry = Expression(), part.entry
        content = {
            "raw": part.content,
            "parts": part.parts,
            "source": entry.source,
            "field": entry.field,
            "transaction_id": entry.transaction_id,
        }
        first = {"quarantined_at": format_timestamp(self.clock.now()), "generation": generation}
        entry_part = f"{part.entry_id}#{part.number:06}"
        request = {
            "Update": {
                "TableName": self.quarantine_table,
                "Key": {"item_id": serialize(item_id), "entry_part": serialize(entry_part)},
                "UpdateExpression": expression.update(content, first),
                **expression.arguments(),
            }
        }
        return Action(entry_part, request)

    def entries(self, item_id: ItemId, entry_id: str = "") -> Iterator[QuarantinedEntry]:
        """Iterate over an Item's entries, consistently: all of them, or those whose id has this prefix."""
        for found_id, parts in groupby(self._parts(item_id, entry_id), lambda part: part["entry_part"].split("#")[0]):
            yield _entry_from_parts(found_id, list(parts))

    def _parts(self, item_id: ItemId, prefix: str) -> Iterator[dict[str, Any]]:
        expression = Expression()
        condition = expression.equals("item_id", item_id)
        if prefix:
            condition += f" AND begins_with({expression.name('entry_part')}, {expression.value(prefix)})"
        request: dict[str, Any] = {
            "TableName": self.quarantine_table,
            "ConsistentRead": True,
            "KeyConditionExpression": condition,
            **expression.arguments(),
        }
        for page in query_pages(self.client, request):
            yield from map(deserialize, page["Items"])


def count_rows(client: DynamoDBClient, table: str) -> int:
    """Return how many rows are in quarantine, up to a limit: by an index that has nothing but their keys.

    Raises:
        TransientError: DynamoDB cannot be read now.
    """
    pages = client.get_paginator("scan").paginate(TableName=table, IndexName="by_item", Select="COUNT")
    with aws_errors():
        return sum(page["Count"] for _, page in zip(range(_MAX_COUNTED_PAGES), pages, strict=False))


def _entry_from_parts(entry_id: str, parts: list[dict[str, Any]]) -> QuarantinedEntry:
    first = parts[0]
    transaction_id = first.get("transaction_id")
    return QuarantinedEntry(
        entry=InvalidEntry(
            source=first["source"],
            field=first["field"],
            transaction_id=None if transaction_id is None else TransactionId(transaction_id),
            raw=join_parts(part["raw"] for part in parts),
        ),
        entry_id=entry_id,
        quarantined_at=read_timestamp(first["quarantined_at"]),
        generation=int(first["generation"]),
    )
