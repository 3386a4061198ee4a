"""The history of Items in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.dynamodb.history import entry_from_row, entry_put

from tests.fakes.aws import is_storable

if TYPE_CHECKING:
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import ItemId


@dataclass(slots=True)
class FakeHistory:
    """Implements `History` and `HistoryStore`.

    Attributes:
        by_key: the entries by Item and entry id, so that adding one again is idempotent.
    """

    by_key: dict[tuple[ItemId, str], HistoryEntry] = field(default_factory=dict)

    @property
    def entries(self) -> list[HistoryEntry]:
        """All entries, in the order in which they were added."""
        return list(self.by_key.values())

    def of(self, item_id: str) -> list[HistoryEntry]:
        return [entry for entry in self.entries if entry.item_id == item_id]

    def add(self, entry: HistoryEntry) -> None:
        """See `History`. DynamoDB must be able to store the entry."""
        stored = _row(entry)
        assert is_storable(stored), stored
        self.by_key[entry.item_id, stored["entry_id"]["S"]] = entry

    def page(self, item_id: ItemId, limit: int, after: str | None = None) -> tuple[list[HistoryEntry], str | None]:
        """See `HistoryStore`. What the table does not hold, such as a detail that is None, is not in the entries."""
        ids = sorted((key for owner, key in self.by_key if owner == item_id), reverse=True)
        chosen = [key for key in ids if after is None or key < after]
        page = chosen[:limit]
        entries = [entry_from_row(_row(self.by_key[item_id, key])) for key in page]
        return entries, page[-1] if len(chosen) > limit else None


def _row(entry: HistoryEntry) -> dict[str, Any]:
    row: dict[str, Any] = entry_put("history", entry).request["Put"]["Item"]
    return row
