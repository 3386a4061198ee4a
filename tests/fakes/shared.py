"""What the processes of the webhook function share, in memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plaid_sync.webhook.ports import SharedStateError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from plaid_sync.domain.item import ItemId
    from plaid_sync.webhook.ports import KeyRecord


@dataclass(slots=True)
class FakeSharedState:
    """Implements `SharedState`.

    Attributes:
        failing: every call fails.
        failing_writes: every call that writes fails.
        calls: how many calls there were.
    """

    failing: bool = False
    failing_writes: bool = False
    calls: int = 0
    records: dict[str, KeyRecord] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    invalidations: Counter[ItemId] = field(default_factory=Counter)
    taken_until: dict[str, float] = field(default_factory=dict)

    def key_record(self, key_id: str) -> KeyRecord | None:
        self._call(writes=False)
        return self.records.get(key_id)

    def save_key_record(self, key_id: str, record: KeyRecord) -> None:
        self._call()
        self.records[key_id] = record

    def count(self, name: str, expires_at: datetime) -> int:  # noqa: ARG002 - nothing is deleted here
        self._call()
        self.numbers[name] = self.numbers.get(name, 0) + 1
        return self.numbers[name]

    def invalidate_recurring(self, item_id: ItemId, now: datetime) -> None:  # noqa: ARG002 - nothing is deleted here
        self._call()
        self.invalidations[item_id] += 1

    def once(self, name: str, period: timedelta, now: datetime) -> bool:
        self._call()
        if self.taken_until.get(name, 0) > int(now.timestamp()):
            return False
        self.taken_until[name] = math.ceil((now + period).timestamp())
        return True

    def _call(self, *, writes: bool = True) -> None:
        self.calls += 1
        if self.failing or (writes and self.failing_writes):
            raise SharedStateError("unreachable")
