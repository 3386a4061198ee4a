"""Messages that a committed pull already covers cost no call to Plaid; all others lead to a pull of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.clock import MAX_CLOCK_SKEW, format_timestamp

from local.plaid import SimulatedClock, utc_now
from tests.integration.crashes import asleep_at
from tests.integration.in_process import steps_the_clock, strikes_a_call

if TYPE_CHECKING:
    from tests.integration.harness import World


@pytest.fixture
def clock() -> SimulatedClock:
    """The workers' clock; the queue's is the real one."""
    return SimulatedClock(utc_now())


@steps_the_clock
@pytest.mark.parametrize(
    ("ahead", "pulls"),
    [(MAX_CLOCK_SKEW + timedelta(minutes=1), 1), (MAX_CLOCK_SKEW - timedelta(minutes=1), 2), (timedelta(0), 2)],
    ids=["surely before the pull", "within the margin", "about the same time"],
)
def test_a_message_sent_surely_before_a_committed_pull_began_is_covered(
    world: World, clock: SimulatedClock, ahead: timedelta, pulls: int
) -> None:
    item_id = world.link(transactions=3)
    records = world.receive()
    clock.advance(ahead)
    world.enqueue(item_id)  # by the queue's clock it is sent before the pull begins by so much
    world.handle(records)
    world.drain()
    assert world.plaid.calls["/transactions/sync"] == pulls
    assert world.waiting() == 0
    world.assert_exact(item_id)


@steps_the_clock
def test_a_batch_is_as_new_as_its_newest_message(world: World, clock: SimulatedClock) -> None:
    item_id = world.link(transactions=3)
    clock.advance(MAX_CLOCK_SKEW * 2)
    world.drain()
    world.plaid.add(item_id)
    world.enqueue(item_id)
    world.enqueue(item_id)
    old, new = world.receive()
    new["attributes"]["SentTimestamp"] = str(int(clock().timestamp() * 1000))
    assert world.handle([old, new]) == set()
    world.assert_exact(item_id)


@strikes_a_call
def test_the_pull_is_as_old_as_its_first_page(world: World, clock: SimulatedClock) -> None:
    """Time passes while the pages arrive: what was sent meanwhile is not covered."""
    item_id = world.link(transactions=3)
    began = clock()

    def wait() -> None:
        clock.advance(timedelta(minutes=9))

    with asleep_at(1, wait, "/transactions/sync"):
        world.handle(world.receive())
    assert world.item(item_id)["pull_began_at"] == format_timestamp(began)
