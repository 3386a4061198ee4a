"""The sweep: one Item's failure blocks no other Item, and a run never sends more than there is room for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.item import ItemId, ItemState, StateName
from plaid_sync.sweep import Sweeper, SweepResult

from tests.fakes.clock import NOON, FakeClock
from tests.fakes.items import FakeItems, new_item
from tests.fakes.queue import FakeQueue

if TYPE_CHECKING:
    from collections.abc import Iterable


def due(names: Iterable[str], state: str = StateName.ACTIVE) -> FakeItems:
    items = FakeItems()
    for minutes, name in enumerate(reversed(list(names))):
        items.put(new_item(name, ItemState(state)))
        items.due_at[ItemId(name)] = format_timestamp(NOON - timedelta(minutes=minutes))
    return items


def still_due(items: FakeItems) -> set[str]:
    return {name for name, due_at in items.due_at.items() if due_at <= format_timestamp(NOON)}


def sweep(items: FakeItems, queue: FakeQueue, limit: int = 100, seconds: float = 120.0) -> SweepResult:
    clock = FakeClock()
    return Sweeper(items, queue, queue, clock, limit).sweep(clock.deadline(seconds))


def test_an_item_whose_message_the_queue_rejects_blocks_no_other_item() -> None:
    items, queue = due(["a", "b", "c"]), FakeQueue(refused={"a"})
    result = sweep(items, queue)
    assert queue.take() == [("b", "sweep"), ("c", "sweep")]
    assert still_due(items) == {"a"}
    assert ([item.item_id for item in result.enqueued], result.deferred) == (["b", "c"], 1)
    assert result.failures == ("InvalidParameterValue",)


def test_a_queue_that_accepts_nothing_ends_the_run() -> None:
    names = [f"{number:02}" for number in range(50)]
    items, queue = due(names), FakeQueue(refused=set(names))
    result = sweep(items, queue)
    assert (queue.attempts, result.deferred, still_due(items)) == (10, 50, set(names))


@pytest.mark.parametrize(("waiting", "sent"), [(0, 20), (15, 5), (1_000, 2)])
def test_the_longest_due_are_sent_and_fewer_while_messages_wait(waiting: int, sent: int) -> None:
    names = [f"{number:02}" for number in range(50)]
    queue = FakeQueue(depth=waiting)
    result = sweep(due(names), queue, limit=20)
    assert [name for name, _ in queue.take()] == names[:sent]
    assert (result.waiting, result.deferred) == (waiting, 21 - sent)


def test_a_run_stops_when_time_is_short_and_an_unknown_state_is_never_due() -> None:
    assert sweep(due(["a"]), FakeQueue(), seconds=20).enqueued == ()
    assert sweep(due(["a"], "frozen"), FakeQueue()) == SweepResult((), 0, 0)
