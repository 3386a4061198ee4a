"""The sweep without AWS: what is refused of one Item keeps no other waiting."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items import ItemId, ItemStatus
from plaid_sync.core.lifecycle.sweeping import DueItem, Sweep, Sweeper

if TYPE_CHECKING:
    from plaid_sync.core.triggers import SyncTrigger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(slots=True)
class Due:
    """Active Items that are due, each since its own id; fulfils `SweptItems`."""

    ids: list[str]
    put_off_: set[str] = field(default_factory=set)

    def due(self, status: ItemStatus, now: datetime, limit: int) -> list[DueItem]:  # noqa: ARG002 - the port's
        ids = self.ids if status is ItemStatus.ACTIVE else []
        return [DueItem(one, ItemId(one), status) for one in ids[:limit]]

    def put_off(self, item: DueItem, until: datetime) -> None:
        assert until > NOON
        self.put_off_.add(item.item_id)


@dataclass(slots=True)
class Queue:
    """A queue that takes nothing of some Items; fulfils `SyncQueue`."""

    refused: set[str]
    sent: list[str] = field(default_factory=list)
    asked: int = 0

    def send(self, trigger: SyncTrigger, deduplication_id: str) -> None:  # noqa: ARG002 - the port's
        self.asked += 1
        if trigger.item_id in self.refused:
            raise RetryableError("InvalidParameterValue")
        self.sent.append(trigger.item_id)


def sweep(items: Due, queue: Queue) -> Sweep:
    return Sweeper(items, queue, lambda: 0, lambda: NOON, 100).sweep(lambda: 120.0)


def test_an_item_that_the_queue_never_takes_keeps_none_waiting_behind_it() -> None:
    items, queue = Due(["a", "b", "c"]), Queue({"a"})
    done = sweep(items, queue)
    assert queue.sent == ["b", "c"]
    assert items.put_off_ == {"b", "c"}
    assert ([one.item_id for one in done.enqueued], done.left) == (["b", "c"], 1)
    assert done.refusals == ("InvalidParameterValue",)


def test_a_queue_that_takes_nothing_is_not_asked_for_every_item() -> None:
    ids = [f"{number:02}" for number in range(50)]
    items, queue = Due(ids), Queue(set(ids))
    done = sweep(items, queue)
    assert (queue.asked, done.left, items.put_off_) == (10, 50, set())
