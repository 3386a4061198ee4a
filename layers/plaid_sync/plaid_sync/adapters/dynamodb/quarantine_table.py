"""The Quarantine table: entries that break Plaid's contract, kept whole until somebody resolves them.

Key: `item_id` + `entry_part` (`<entry_id>#<number of the part>`). Attributes: `raw` (B, zlib over this part of the
entry's JSON), `parts` (N, how many there are), `source` (S, the list of Plaid's answer), `field` (S, what broke),
`transaction_id` (S, where it can be read), `quarantined_at` (S) and `generation` (N) of the attempt that kept it first.
Any other attribute is the operator's own and is never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import from_text, to_text
from plaid_sync.adapters.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.adapters.dynamodb.fenced import on_item, transact
from plaid_sync.adapters.dynamodb.queries import query_pages
from plaid_sync.core.sync.quarantine import BrokenEntry, join
from plaid_sync.core.sync.transactions import TransactionId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.sync.quarantine import Part
    from plaid_sync.ports.common import Clock


@dataclass(frozen=True, slots=True)
class QuarantinedEntry:
    """A broken entry as it was kept.

    Attributes:
        entry_id: the one that the log names.
        quarantined_at: when it was kept first.
        generation: the attempt that did.
        whole: whether all of it is there; not so while its writer is at it, or has died, until the next attempt.
    """

    entry: BrokenEntry
    entry_id: str
    quarantined_at: datetime
    generation: int

    @property
    def whole(self) -> bool:
        """Compare content and address."""
        return self.entry.entry_id == self.entry_id


@dataclass(frozen=True, slots=True)
class QuarantineTable:
    """Keeps broken entries, and reads them back; fulfils `Quarantine`.

    Attributes:
        pause: waits so many seconds.
    """

    client: DynamoDBClient
    items_table: str
    quarantine_table: str
    clock: Clock
    pause: Callable[[float], None]

    def keep(self, item_id: ItemId, generation: int, parts: Collection[Part]) -> None:
        """See `ports.sync.Quarantine`. Fenced, so that no bank data are written for an Item that is removed."""
        expression = Expression()
        condition = expression.fenced(generation)
        actions = [
            on_item(self.items_table, item_id, expression, condition),
            *(self._part_action(item_id, generation, part) for part in parts),
        ]
        transact(self.client, actions, generation, self.pause)

    def _part_action(self, item_id: ItemId, generation: int, part: Part) -> dict[str, Any]:
        expression, entry = Expression(), part.entry
        content = {
            "raw": part.content,
            "parts": part.parts,
            "source": entry.source,
            "field": entry.field,
            "transaction_id": entry.transaction_id,
        }
        first = {"quarantined_at": to_text(self.clock()), "generation": generation}
        return {
            "Update": {
                "TableName": self.quarantine_table,
                "Key": {"item_id": serialize(item_id), "entry_part": serialize(f"{part.entry_id}#{part.number:06}")},
                "UpdateExpression": expression.update(content, first),
                **expression.arguments(),
            }
        }

    def entries(self, item_id: ItemId, entry_id: str = "") -> Iterator[QuarantinedEntry]:
        """Iterate over what is kept of an Item, consistently: of all entries, or of those whose id begins so."""
        for found, parts in groupby(self._parts(item_id, entry_id), lambda part: part["entry_part"].split("#")[0]):
            yield _joined(found, list(parts))

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


def _joined(entry_id: str, parts: list[dict[str, Any]]) -> QuarantinedEntry:
    first = parts[0]
    transaction_id = first.get("transaction_id")
    return QuarantinedEntry(
        entry=BrokenEntry(
            source=first["source"],
            field=first["field"],
            transaction_id=None if transaction_id is None else TransactionId(transaction_id),
            raw=join(part["raw"] for part in parts),
        ),
        entry_id=entry_id,
        quarantined_at=from_text(first["quarantined_at"]),
        generation=int(first["generation"]),
    )
