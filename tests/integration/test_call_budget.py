"""The call budget on the stack: with Plaid's limit used up, attempts are deferred and requests answered 429."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.budget import SLICE, slice_of
from plaid_sync.domain.schedule import DEFERRED

from local.plaid import SimulatedClock, utc_now
from tests.integration.in_process import reads_the_logs, steps_the_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.harness import World

SYNC, REFRESH, BALANCE = "/transactions/sync", "/transactions/refresh", "/accounts/balance/get"
WEBHOOK_URL = "https://app.example/webhooks/plaid"


@pytest.fixture
def clock() -> SimulatedClock:
    """The queue's clock is ahead of the functions': each message is newer than the last commit."""
    return SimulatedClock(utc_now() - timedelta(days=15))


def step(world: World, delay: timedelta) -> None:
    assert isinstance(world.clock, SimulatedClock)
    world.clock.advance(delay)


def count_calls(world: World, endpoint: str, at: datetime, total: int) -> None:
    """Count calls as other processes do."""
    world.stack.client("dynamodb").put_item(
        TableName=world.stack.shared_table,
        Item={
            "kind": {"S": "calls"},
            "name": {"S": f"{endpoint} {int(slice_of(at).timestamp())}"},
            "total": {"N": str(total)},
        },
    )


def counted(world: World, endpoint: str) -> list[dict[str, Any]]:
    response = world.stack.client("dynamodb").query(
        TableName=world.stack.shared_table,
        KeyConditionExpression="kind = :kind AND begins_with(#name, :endpoint)",
        ExpressionAttributeNames={"#name": "name"},
        ExpressionAttributeValues={":kind": {"S": "calls"}, ":endpoint": {"S": f"{endpoint} "}},
    )
    return list(response["Items"])


@steps_the_clock
@reads_the_logs
def test_attempts_beyond_plaids_limit_are_deferred_and_every_row_arrives(
    world: World, output: Callable[[], str]
) -> None:
    world.plaid.hold_webhooks()
    items = [world.synced(webhook_url=WEBHOOK_URL, transactions=5) for _ in range(8)]
    step(world, timedelta(minutes=10))
    world.settings = {"PLAID_CALLS_PER_MINUTE": "26"}
    for item_id in items:
        world.plaid.add(item_id, 1)
    before = world.plaid.calls[SYNC]
    output()
    for item_id in items:
        world.deliver_webhooks(item_id)
    assert world.plaid.calls[SYNC] - before == 2, "a slice has two calls"
    assert output().count('"message":"sync deferred"') == 6
    for item_id in items:
        item = world.item(item_id)
        assert "failing_since" not in item
        assert item["next_attempt_at"] > world.clock().isoformat()

    for _ in range(40):
        step(world, DEFERRED / 4)
        world.sweep()
        world.drain()
    for item_id in items:
        world.assert_exact(item_id)
    assert all(int(row["total"]["N"]) <= 2 for row in counted(world, SYNC))
    assert "TRANSACTIONS_SYNC_LIMIT" not in output()


def request_beyond_the_limit(world: World, endpoint: str, path: str) -> dict[str, Any]:
    """Send a request while the minute has all calls that Plaid allows; return the refusal, for which none was made."""
    step(world, timedelta(minutes=10))
    count_calls(world, endpoint, world.clock() - SLICE, 100)
    answer = world.request("POST", path)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (429, "call_budget")
    assert world.plaid.calls[endpoint] == 0
    return answer


@steps_the_clock
def test_a_request_beyond_plaids_limit_is_answered_with_the_time_to_wait(world: World) -> None:
    item_id = world.synced(transactions=5)
    answer = request_beyond_the_limit(world, REFRESH, f"/items/{item_id}/refresh")
    assert 1 <= int(answer["headers"]["retry-after"]) <= SLICE.total_seconds()
    step(world, timedelta(minutes=1))
    assert world.request("POST", f"/items/{item_id}/refresh")["statusCode"] == 202
    (row,) = [row for row in counted(world, REFRESH) if "interactive" in row]
    assert row["total"] == row["interactive"] == {"N": "1"}


@steps_the_clock
def test_a_call_of_another_product_takes_part_and_is_recorded(world: World) -> None:
    item_id = world.synced(transactions=5)
    request_beyond_the_limit(world, BALANCE, f"/items/{item_id}/plaid{BALANCE}")
    history = json.loads(world.request("GET", f"/items/{item_id}/history")["body"])["history"]
    assert [(entry["outcome"], entry["code"]) for entry in history if entry.get("endpoint") == BALANCE] == [
        ("failed", "call_budget")
    ]
    step(world, timedelta(minutes=2))
    assert world.request("POST", f"/items/{item_id}/plaid{BALANCE}")["statusCode"] == 200


@steps_the_clock
@reads_the_logs
def test_calls_without_the_counts_are_logged_once_in_a_slice(world: World, output: Callable[[], str]) -> None:
    item_id = world.synced(transactions=5)
    step(world, timedelta(minutes=10))
    world.settings = {"SHARED_TABLE": "absent", "PLAID_CALLS_PER_MINUTE": "26"}
    output()
    world.sync(item_id)
    logged = [json.loads(line) for line in output().splitlines() if '"calls not counted"' in line]
    assert [(line["level"], line["endpoint"]) for line in logged] == [("WARNING", SYNC)]
    assert logged[0]["code"]


def test_without_the_counts_calls_are_made(world: World) -> None:
    world.settings = {"SHARED_TABLE": "absent", "PLAID_CALLS_PER_MINUTE": "1"}
    item_id = world.synced(transactions=5)
    world.plaid.add(item_id, 1)
    world.sync(item_id)
    world.assert_exact(item_id)
    assert world.audit({"item_id": item_id})["outcome"] == "clean"
