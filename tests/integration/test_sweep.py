"""The sweep: what was lost on the way is made up for, at a bounded rate, and nothing is enqueued without need."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.item import StateName
from plaid_sync.domain.schedule import (
    HISTORY_LOOKS,
    REQUESTED,
    RETRY_DELAYS,
    ROUTINE_INTERVALS,
)

from local.plaid import Phase, SimulatedClock, utc_now
from tests.integration.crashes import Crash, killed_at
from tests.integration.in_process import steps_the_clock, strikes_a_call
from tests.integration.link_flows import content, link_token, take_messages
from tests.integration.link_flows import linked as linked_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.harness import Record, World

A_CYCLE = ROUTINE_INTERVALS[StateName.ACTIVE] * 1.2


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(utc_now())


def step(world: World, delay: timedelta) -> None:
    assert isinstance(world.clock, SimulatedClock)
    world.clock.advance(delay)


def swept(world: World) -> list[str]:
    """Return the Items that the sweep has put on the queue, in their order."""
    return [json.loads(record["body"])["item_id"] for record in everything(world)]


def everything(world: World) -> list[Record]:
    records: list[Record] = []
    while batch := world.receive():
        records += batch
    for record in records:
        body = json.loads(record["body"])
        assert (body["item_id"], body["cause"]) == (record["attributes"]["MessageGroupId"], "sweep")
        assert body.get("call_class") in {None, "retry", "routine"}
        assert record["messageAttributes"]["correlation_id"]["stringValue"] == "request"
        world.delete(record)
    return records


def linked(world: World, number: int) -> list[str]:
    items = [world.link(transactions=6) for _ in range(number)]
    world.drain()
    return items


@steps_the_clock
def test_ten_lost_webhooks_are_made_up_for(world: World) -> None:
    items = linked(world, 10)
    world.plaid.lose_webhooks(10)
    for item_id in items:
        world.plaid.evolve(item_id, steps=5)
    assert world.receive() == []
    assert world.sweep() == {"enqueued": 0, "deferred": 0}
    step(world, A_CYCLE)
    assert world.sweep() == {"enqueued": 10, "deferred": 0}
    world.drain()
    for item_id in items:
        world.assert_exact(item_id)
    world.sweep()  # an Item whose accounts are not all known yet compares them
    world.drain()
    assert world.sweep()["enqueued"] == 0


@steps_the_clock
def test_an_item_whose_first_sync_never_happened_is_synced_within_minutes(world: World) -> None:
    item_id = world.link(transactions=6)
    take_messages(world)
    step(world, REQUESTED * 1.2)
    assert world.sweep()["enqueued"] == 1
    world.drain()
    world.assert_exact(item_id)


@steps_the_clock
def test_a_history_whose_webhook_is_lost_is_found_within_the_hour(world: World) -> None:
    item_id = world.synced(ready=False, transactions=50)
    world.plaid.advance_phase(item_id)
    hours_ago = format_timestamp(world.clock() - timedelta(hours=3))
    world.set_attribute(item_id, "linked_at", {"S": hours_ago})
    world.sync(item_id)
    assert world.plaid.advance_phase(item_id) is Phase.HISTORICAL
    step(world, HISTORY_LOOKS[1] * 1.2)
    assert world.sweep()["enqueued"] == 1
    world.drain()
    world.assert_exact(item_id)


@steps_the_clock
@pytest.mark.parametrize(
    ("code", "state", "interval"),
    [
        ("ITEM_LOGIN_REQUIRED", "needs_user", ROUTINE_INTERVALS[StateName.NEEDS_USER]),
        ("USER_PERMISSION_REVOKED", "revoked", ROUTINE_INTERVALS[StateName.REVOKED]),
        ("INSTITUTION_DOWN", "degraded", RETRY_DELAYS[FailureClass.INSTITUTION_DOWN][0]),
        ("INVALID_API_KEYS", "active", RETRY_DELAYS[FailureClass.CLIENT_ERROR][0]),
    ],
)
def test_an_item_in_trouble_is_attempted_in_its_own_time_and_found_well_again(
    world: World, code: str, state: str, interval: timedelta
) -> None:
    (item_id,) = linked(world, 1)
    world.plaid.inject_fault("/transactions/sync", code)
    world.sync(item_id)
    assert world.item(item_id)["state"] == state
    world.plaid.evolve(item_id, steps=5)
    step(world, interval * 0.8)
    assert world.sweep()["enqueued"] == 0
    step(world, interval * 0.4)
    assert world.sweep()["enqueued"] == 1
    world.drain()
    world.assert_exact(item_id)


@steps_the_clock
def test_an_unfinished_removal_is_finished(world: World) -> None:
    (item_id,) = linked(world, 1)
    assert world.request("DELETE", f"/items/{item_id}", query={"transactions": "erase"})["statusCode"] == 202
    take_messages(world)
    step(world, REQUESTED * 1.2)
    world.sweep()
    world.drain()
    assert world.rows(item_id) == {}
    assert "removal_completed_at" in world.item(item_id)
    step(world, timedelta(days=30))
    assert world.sweep()["enqueued"] == 0


@steps_the_clock
def test_a_resync_whose_message_was_refused_and_that_is_not_requested_again_is_carried_out(world: World) -> None:
    (item_id,) = linked(world, 1)
    assert world.request("POST", f"/items/{item_id}/resync")["statusCode"] == 202
    take_messages(world)
    step(world, REQUESTED * 1.2)
    world.sweep()
    assert swept(world) == [item_id]


@steps_the_clock
def test_an_api_request_whose_message_was_lost_is_carried_out(world: World) -> None:
    repaired, kept, replaced = linked_by(world, "ann"), linked_by(world, "ben"), linked_by(world, "cat", "login")
    while world.plaid.advance_phase(repaired) < Phase.HISTORICAL:
        pass
    world.drain()
    content(world.request("DELETE", f"/items/{kept}"), 202)
    world.drain()
    assert "next_attempt_at" not in world.item(kept)

    token = link_token(world, "ann", item_id=repaired)
    world.plaid.complete_link(token)
    content(world.request("POST", f"/items/{repaired}/sync", {"link_token": token}), 202)
    content(world.request("DELETE", f"/items/{kept}", query={"transactions": "erase"}), 202)
    new = linked_by(world, "cat", "login", {"replace": replaced})
    take_messages(world)
    step(world, REQUESTED * 1.2)
    world.sweep()
    assert sorted(swept(world)) == sorted([repaired, kept, replaced, new])


@steps_the_clock
def test_after_an_outage_the_backlog_is_enqueued_within_the_budgets_the_most_overdue_first(world: World) -> None:
    items = linked(world, 7)
    step(world, timedelta(days=2))
    due = {item_id: world.item(item_id)["next_attempt_at"] for item_id in items}
    budget_of_three = 20
    runs = [(world.sweep(budget_of_three), swept(world)) for _ in range(4)]
    assert [(run["enqueued"], run["deferred"] > 0) for run, _ in runs] == [(3, True), (3, True), (1, False), (0, False)]
    assert [item_id for _, run in runs for item_id in run] == sorted(items, key=due.__getitem__)


@steps_the_clock
def test_a_class_uses_no_budget_of_another(world: World) -> None:
    """Three Items of a bank that is down are due longest: the failing one is first, and the routine one not last."""
    *down, failing, well = linked(world, 5)
    for item_id in down:
        world.plaid.inject_fault("/transactions/sync", "INSTITUTION_DOWN", item_id=item_id)
    world.plaid.inject_fault("/transactions/sync", "INVALID_API_KEYS", item_id=failing)
    for item_id in (*down, failing):
        world.sync(item_id)
    step(world, A_CYCLE)
    budget_of_one = 4
    assert world.sweep(budget_of_one)["enqueued"] == 3
    first, second, third = swept(world)
    assert (first, second) == (failing, well)
    assert third in down


@steps_the_clock
def test_messages_are_sent_only_as_workers_begin_those_before(world: World) -> None:
    """Attempts may be slow: a webhook must never wait behind a minute's worth of messages."""
    items = linked(world, 12)
    for item_id in items:
        world.make_due(item_id)

    def pass_time(seconds: float) -> None:
        step(world, timedelta(seconds=seconds))

    world.pause = pass_time
    assert world.sweep() == {"enqueued": 10, "deferred": 2}
    take_messages(world)
    for item_id in items:
        world.make_due(item_id)

    def work(seconds: float) -> None:
        pass_time(seconds)
        world.drain()

    world.pause = work
    assert world.sweep() == {"enqueued": 12, "deferred": 0}
    for item_id in items:
        world.assert_exact(item_id)


@strikes_a_call
@pytest.mark.filterwarnings("ignore:No application metrics")
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_sweep_that_dies_at_any_call_loses_no_item(
    world: World, calls_to_die_at: Iterator[int], *, before: bool
) -> None:
    items = linked(world, 3)
    for at in calls_to_die_at:
        for item_id in items:
            world.plaid.evolve(item_id, steps=2)
            # Not the clock: the queue's does not go with it, and old messages would seem to be covered.
            world.make_due(item_id)
        crash = Crash(at, before)
        with killed_at(crash):
            world.invoke("sweep", {})
        for item_id in items:
            world.make_due(item_id)  # the leases end
        world.sweep()
        world.drain()
        for item_id in items:
            world.assert_exact(item_id)
        if not crash.struck:
            break
    assert at > 2 * len(items)
