"""Requests for attempts and leases, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.schedule import AttemptClass, DueItem, Lease

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from plaid_sync.domain.item import ItemId


@dataclass(slots=True)
class FakeAttempts:
    """Implements `AttemptRequests`, `AttemptAnswers` and `Attempts`."""

    requests: dict[ItemId, str] = field(default_factory=dict)
    stored: dict[tuple[str, ItemId], Lease] = field(default_factory=dict)

    def request_attempt(self, item_id: ItemId, now: datetime) -> None:
        self.requests[item_id] = format_timestamp(now)

    def requested(self) -> Iterator[DueItem]:
        for item_id, at in sorted(self.requests.items()):
            yield DueItem(at, item_id, AttemptClass.FIRST_SYNC, requested=True)

    def is_requested(self, item: DueItem) -> bool:
        return self.requests.get(item.item_id) == item.next_attempt_at

    def answer(self, item_id: ItemId) -> None:
        self.requests.pop(item_id, None)

    def leases(self, items: Sequence[DueItem]) -> list[Lease]:
        return [self._last(Lease(item)) for item in items]

    def take(self, before: Lease, lease: Lease) -> bool:
        if self._last(lease).until != before.until:
            return False
        self.stored[lease.item.next_attempt_at, lease.item.item_id] = lease
        return True

    def release(self, lease: Lease) -> None:
        if self._last(lease) == lease:
            del self.stored[lease.item.next_attempt_at, lease.item.item_id]

    def _last(self, lease: Lease) -> Lease:
        last = self.stored.get((lease.item.next_attempt_at, lease.item.item_id))
        return Lease(lease.item) if last is None else last
