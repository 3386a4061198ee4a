"""The sweep: what was lost on the way is made up for, at a bounded rate, and nothing is enqueued without need."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from plaid_sync.domain.item import StateName
from plaid_sync.domain.schedule import FIRST_SYNC, INCOMPLETE_REMOVAL, SWEEP_INTERVALS

from local.plaid import Phase, SimulatedClock, utc_now
from tests.integration.crashes import Crash, killed_at
from tests.integration.in_process import steps_the_clock, strikes_a_call
from tests.integration.link_flows import content, link_token, take_messages
from tests.integration.link_flows import linked as linked_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.harness import Record, World

A_CYCLE = SWEEP_INTERVALS[StateName.ACTIVE] * 1.2


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(utc_now())


@pytest.fixture(autouse=True)
def _no_other_item_is_due(world: World) -> None:
    """Let no Item of another test be due: they share the table."""
    dynamodb: Any = world.stack.client("dynamodb")
    pages = dynamodb.get_paginator("scan").paginate(TableName=world.stack.items_table, IndexName="by_due")
    for row in (row for page in pages for row in page["Items"]):
        key = {"item_id": row["item_id"]}
        dynamodb.update_item(TableName=world.stack.items_table, Key=key, UpdateExpression="REMOVE due_at")


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
        assert json.loads(record["body"]) == {"item_id": record["attributes"]["MessageGroupId"], "cause": "sweep"}
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
    assert world.sweep() == {"enqueued": 0, "deferred": 0, "waiting": 0}
    step(world, A_CYCLE)
    assert world.sweep() == {"enqueued": 10, "deferred": 0, "waiting": 0}
    world.drain()
    for item_id in items:
        world.assert_exact(item_id)
    assert world.sweep()["enqueued"] == 0


@steps_the_clock
def test_an_item_whose_first_sync_never_happened_is_synced_within_the_half_hour(world: World) -> None:
    item_id = world.link(transactions=6)
    for record in world.receive():
        world.delete(record)
    step(world, FIRST_SYNC * 1.2)
    assert world.sweep()["enqueued"] == 1
    world.drain()
    world.assert_exact(item_id)


@steps_the_clock
@pytest.mark.parametrize(
    ("code", "state"),
    [("ITEM_LOGIN_REQUIRED", "needs_user"), ("USER_PERMISSION_REVOKED", "revoked"), ("INSTITUTION_DOWN", "degraded")],
)
def test_an_item_in_trouble_is_looked_at_in_its_own_time_and_found_well_again(
    world: World, code: str, state: str
) -> None:
    (item_id,) = linked(world, 1)
    world.plaid.inject_fault("/transactions/sync", code)
    world.enqueue(item_id)
    (record,) = world.receive()
    world.handle([record])
    world.delete(record)
    assert world.item(item_id)["state"] == state
    world.plaid.evolve(item_id, steps=5)
    step(world, SWEEP_INTERVALS[StateName(state)] * 0.8)
    assert world.sweep()["enqueued"] == 0
    step(world, SWEEP_INTERVALS[StateName(state)] * 0.4)
    assert world.sweep()["enqueued"] == 1
    world.drain()
    world.assert_exact(item_id)


@steps_the_clock
def test_an_unfinished_removal_is_finished(world: World) -> None:
    (item_id,) = linked(world, 1)
    assert world.request("DELETE", f"/items/{item_id}", query={"transactions": "erase"})["statusCode"] == 202
    for record in world.receive():
        world.delete(record)
    step(world, INCOMPLETE_REMOVAL * 1.2)
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
    for record in world.receive():
        world.delete(record)
    step(world, FIRST_SYNC * 1.2)
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
    assert "due_at" not in world.item(kept)

    token = link_token(world, "ann", item_id=repaired)
    world.plaid.complete_link(token)
    content(world.request("POST", f"/items/{repaired}/sync", {"link_token": token}), 202)
    content(world.request("DELETE", f"/items/{kept}", query={"transactions": "erase"}), 202)
    new = linked_by(world, "cat", "login", {"replace": replaced})
    take_messages(world)
    step(world, INCOMPLETE_REMOVAL * 1.2)
    world.sweep()
    assert sorted(swept(world)) == sorted([repaired, kept, replaced, new])


@steps_the_clock
def test_an_outage_is_caught_up_with_a_limit_at_a_time_the_longest_due_first(world: World) -> None:
    items = linked(world, 7)
    step(world, timedelta(days=2))
    due = {item_id: world.item(item_id)["due_at"] for item_id in items}
    runs = [(world.sweep(limit=3), swept(world)) for _ in range(4)]
    assert [(run["enqueued"], run["deferred"] > 0) for run, _ in runs] == [(3, True), (3, True), (1, False), (0, False)]
    assert [item_id for _, run in runs for item_id in run] == sorted(items, key=due.__getitem__)


@steps_the_clock
def test_items_in_trouble_do_not_wait_behind_those_that_are_well(world: World) -> None:
    ill, *well = linked(world, 4)
    world.plaid.inject_fault("/transactions/sync", "ITEM_LOGIN_REQUIRED")
    world.sync(ill)
    step(world, timedelta(days=1) * 1.2)
    for item_id in well:
        world.enqueue(item_id)
    world.drain()
    step(world, A_CYCLE)
    world.sweep(limit=1)
    assert swept(world) == [ill]


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
            world.set_attribute(item_id, "due_at", {"S": "2026-01-01T00:00:00.000Z"})
        crash = Crash(at, before)
        with killed_at(crash):
            world.sweep()
        world.sweep()
        world.drain()
        for item_id in items:
            world.assert_exact(item_id)
        if not crash.struck:
            break
    assert at > 2 * len(items)


def test_it_may_change_nothing_of_an_item_but_when_it_is_due(world: World) -> None:
    (item_id,) = linked(world, 1)
    dynamodb: Any = world.stack.role_client("sweep", "dynamodb")
    change = {"TableName": world.stack.items_table, "Key": {"item_id": {"S": item_id}}}
    dynamodb.update_item(**change, UpdateExpression="REMOVE due_at")
    with pytest.raises(ClientError, match="AccessDenied"):
        dynamodb.update_item(**change, UpdateExpression="REMOVE access_token")
    with pytest.raises(ClientError, match="AccessDenied"):
        dynamodb.get_item(**change)
