"""The scheduled refresh on the stack: one call for an Item whose bank Plaid has not reached, and its rows arrive."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.sync.refresh import SCHEDULED_REFRESH

from local.plaid import SimulatedClock, utc_now
from tests.integration.in_process import steps_the_clock

if TYPE_CHECKING:
    from tests.integration.harness import World

REFRESH = "/transactions/refresh"
HOURS = 24
WEBHOOK_URL = "https://app.example/webhooks/plaid"


@pytest.fixture
def clock() -> SimulatedClock:
    """The queue's clock is ahead of the functions': each message is newer than the last commit."""
    return SimulatedClock(utc_now() - timedelta(days=15))


def attempt_after(world: World, hours: float) -> None:
    """Let time pass, and the routine attempt happen that is due then."""
    assert isinstance(world.clock, SimulatedClock)
    world.clock.advance(timedelta(hours=hours))
    world.sweep()
    world.drain()


def recorded(world: World, item_id: str) -> list[dict[str, Any]]:
    entries = json.loads(world.request("GET", f"/items/{item_id}/history")["body"])["history"]
    return [entry for entry in entries if entry.get("request") == SCHEDULED_REFRESH]


@steps_the_clock
def test_an_item_whose_bank_was_not_reached_for_the_interval_is_refreshed_once_and_its_rows_arrive(
    world: World,
) -> None:
    world.settings = {"REFRESH_AFTER_HOURS": str(HOURS)}
    world.plaid.hold_webhooks()
    item_id, other = (world.synced(webhook_url=WEBHOOK_URL, transactions=20) for _ in range(2))
    before = world.live(item_id)
    attempt_after(world, HOURS - 8)
    assert world.plaid.calls[REFRESH] == 0

    world.plaid.add(other, 1)  # Plaid reaches its bank, and the webhook is not delivered
    attempt_after(world, 16)
    assert world.plaid.calls[REFRESH] == 1
    assert world.plaid.item(item_id).last_success == world.clock()
    world.deliver_webhooks(item_id)
    world.assert_exact(item_id)
    world.assert_exact(other)
    assert len(world.live(item_id)) > len(before)
    (entry,) = recorded(world, item_id)
    assert entry["outcome"] == "requested"
    assert len(entry["plaid_request_ids"]) == 1
    assert recorded(world, other) == []

    attempt_after(world, 14)
    assert (len(recorded(world, item_id)), len(recorded(world, other))) == (1, 1), "the other bank is due now"
    assert world.plaid.calls[REFRESH] == 2


@steps_the_clock
def test_a_product_that_the_client_does_not_have_is_recorded_and_fails_no_sync(world: World) -> None:
    world.settings = {"REFRESH_AFTER_HOURS": str(HOURS)}
    item_id = world.synced(transactions=5)
    world.plaid.inject_fault(REFRESH, "INVALID_PRODUCT", times=10)
    for _ in range(2):
        attempt_after(world, 2 * HOURS)
        world.assert_exact(item_id)
        assert "failing_since" not in world.item(item_id)
    assert [(entry["outcome"], entry["code"]) for entry in recorded(world, item_id)] == [
        ("refused", "INVALID_PRODUCT"),
        ("refused", "INVALID_PRODUCT"),
    ]


@steps_the_clock
def test_without_the_parameter_nothing_is_refreshed(world: World) -> None:
    world.synced(transactions=5)
    attempt_after(world, 10 * HOURS)
    assert (world.plaid.calls[REFRESH], world.plaid.calls["/item/get"]) == (0, 0)
