"""Stored responses of Plaid's, in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.item import ItemId
    from plaid_sync.items_api.ports import CachedResponse


@dataclass(slots=True)
class FakeResponseCache:
    """Implements `ResponseCache`."""

    invalidations: Counter[ItemId] = field(default_factory=Counter)
    entries: dict[ItemId, CachedResponse] = field(default_factory=dict)

    def look_up(self, item_id: ItemId) -> tuple[int, CachedResponse | None]:
        return self.invalidations[item_id], self.entries.get(item_id)

    def store(self, item_id: ItemId, entry: CachedResponse, until: datetime) -> None:  # noqa: ARG002 - nothing expires here
        self.entries[item_id] = entry
