"""What is stored of users, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from plaid_sync.domain.history import partition_without_item
from plaid_sync.items_api.ports import ERASED_KINDS, Erasure

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Item, ItemId

    from tests.fakes.tables import Tables

_NEW = Erasure(
    in_progress=False,
    item_ids=frozenset(),
    requested_at=None,
    settles_at=None,
    erased_at=None,
    counts=dict.fromkeys(ERASED_KINDS, 0),
)


@dataclass(slots=True)
class FakeUsers:
    """Implements `UserRecords`."""

    tables: Tables
    users: dict[str, Erasure] = field(default_factory=dict)

    def load(self, client_user_id: str) -> Erasure | None:
        return self.users.get(client_user_id)

    def begin(self, client_user_id: str) -> None:
        known = self.users.get(client_user_id, _NEW).item_ids
        self.users[client_user_id] = replace(
            _NEW, in_progress=True, item_ids=known, requested_at=self.tables.clock.now()
        )

    def _change(self, client_user_id: str, **fields: object) -> None:
        self.users[client_user_id] = replace(self.users[client_user_id], **fields)  # type: ignore[arg-type] # its own

    def add_items(self, client_user_id: str, item_ids: Collection[ItemId]) -> None:
        self._change(client_user_id, item_ids=self.users[client_user_id].item_ids | set(item_ids))

    def settle(self, client_user_id: str, until: datetime) -> None:
        self._change(client_user_id, settles_at=self.users[client_user_id].settles_at or until)

    def complete(self, client_user_id: str) -> None:
        now = self.tables.clock.now()
        self._change(client_user_id, in_progress=False, item_ids=frozenset(), settles_at=None, erased_at=now)

    def item_ids(self, client_user_id: str) -> frozenset[ItemId]:
        stored = self.tables.items.stored.items()
        return frozenset(item_id for item_id, item in stored if item.client_user_id == client_user_id)

    def _sessions(self, client_user_id: str) -> list[str]:
        sessions = self.tables.links.sessions.items()
        return [key for key, session in sessions if session.client_user_id == client_user_id]

    def exists(self, client_user_id: str) -> bool:
        webhooks = self.tables.history.of(partition_without_item(client_user_id))
        return bool(self.item_ids(client_user_id) or self._sessions(client_user_id) or webhooks)

    def is_exchanged(self, item_id: ItemId) -> bool:
        return item_id in self.tables.items.exchanged

    def rows_left(self, item_id: ItemId) -> int:
        return sum(1 for owner, *_ in self.tables.quarantine.parts if owner == item_id)

    def erase_links(self, client_user_id: str, item_ids: Collection[ItemId], deadline: Deadline) -> int:  # noqa: ARG002
        sessions = self._sessions(client_user_id)
        for key in sessions:
            del self.tables.links.sessions[key]
        return self._counted(client_user_id, "links", len(sessions))

    def erase_history(self, client_user_id: str, item_ids: Collection[ItemId], deadline: Deadline) -> int:  # noqa: ARG002
        partitions = {partition_without_item(client_user_id), *item_ids}
        found = [key for key in self.tables.history.by_key if key[0] in partitions]
        for key in found:
            del self.tables.history.by_key[key]
        return self._counted(client_user_id, "history", len(found))

    def erase_shared(self, item_ids: Collection[ItemId], deadline: Deadline) -> int:  # noqa: ARG002
        return 0

    def erase_item(self, client_user_id: str, item_id: ItemId, item: Item | None) -> int:  # noqa: ARG002
        stored = self.tables.items.stored.pop(item_id, None)
        return self._counted(client_user_id, "items", 0 if stored is None else 1)

    def _counted(self, client_user_id: str, kind: str, count: int) -> int:
        counts = self.users[client_user_id].counts
        self._change(client_user_id, counts={**counts, kind: counts[kind] + count})
        return count
