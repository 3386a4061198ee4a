"""What keeps the way open for the next message, and what an ordinary sync costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from plaid_sync.plaid import items as plaid_items
from plaid_sync.sync import planner

from tests.integration.crashes import Crash, asleep_at, killed_at
from tests.integration.in_process import strikes_a_call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.harness import World

SYNC = "/transactions/sync"


def post_webhook(world: World, item_id: str) -> None:
    body = json.dumps(world.plaid.draft_webhook(item_id, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"), indent=2).encode()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200


def calls_of_a_sync(world: World) -> dict[str, int]:
    """Handle a batch; return how often each service was called. Plaid's keys are read once in a process's life."""
    records = world.receive()
    with asleep_at(10**6, lambda: None) as observed:
        assert world.invoke("sync", {"Records": records}) == {"batchItemFailures": []}
    targets = {"DynamoDB": "DynamoDB", "KMS": "TrentService", "SQS": "AmazonSQS", "Plaid": SYNC}
    return {name: sum(target in call for call in observed.calls) for name, target in targets.items()}


@strikes_a_call
def test_an_ordinary_sync_makes_no_more_calls_than_it_needs(world: World) -> None:
    item_id = world.synced(transactions=30)
    world.plaid.add(item_id, 3, notify=False)
    world.plaid.remove(item_id, notify=False)
    post_webhook(world, item_id)
    assert calls_of_a_sync(world) == {"Plaid": 1, "DynamoDB": 2, "KMS": 1, "SQS": 1}
    world.assert_exact(item_id)


@strikes_a_call
@pytest.mark.parametrize("registered", [True, False])
def test_a_message_that_needs_no_sync_reaches_neither_plaid_nor_kms(world: World, *, registered: bool) -> None:
    """A later pull covers it; or there is no such Item, which a conditional write makes sure of: a link may be left."""
    item_id = "never-linked"
    if registered:
        item_id = world.synced(transactions=5)
        world.set_attribute(item_id, "pull_began_at", {"S": "2099-01-01T00:00:00.000Z"})
    world.enqueue(item_id)
    assert calls_of_a_sync(world) == {"Plaid": 0, "DynamoDB": 1 if registered else 2, "KMS": 0, "SQS": 1}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a pull has two pages of ten entries."""
    monkeypatch.setattr(plaid_items, "PAGE_SIZE", 10)
    monkeypatch.setattr(planner, "PART_ENTRIES", 20)


@strikes_a_call
@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_pull_in_parts_that_is_killed_at_any_call_continues_from_its_checkpoint(
    world: World, calls_to_die_at: Iterator[int], *, before: bool
) -> None:
    continued = 0
    for at in calls_to_die_at:
        item_id = world.link(transactions=95)
        records, crash = world.receive(), Crash(at, before)
        with killed_at(crash):
            world.handle(records)
        continued += "checkpoint" in world.item(item_id)
        world.plaid.evolve(item_id, steps=5)
        world.redeliver(records)
        world.sync(item_id)
        world.assert_exact(item_id)
        assert {"checkpoint", "writing_since", "failing_since"}.isdisjoint(world.item(item_id))
        if not crash.struck:
            break
    assert continued > 0


@strikes_a_call
@pytest.mark.usefixtures("parts")
def test_data_that_changes_between_two_parts_leaves_no_row_that_plaid_dropped(world: World) -> None:
    item_id = world.synced(transactions=5)
    added = world.plaid.add(item_id, 60, notify=False)
    world.enqueue(item_id)

    def mutate() -> None:
        for transaction_id in added[:5]:
            world.plaid.remove(item_id, transaction_id, notify=False)
        world.plaid.force_mutation(item_id)

    with asleep_at(5, mutate, SYNC) as sleep:
        assert world.handle(world.receive()) == set()
    assert sleep.struck
    world.attempt_due(item_id)
    world.assert_exact(item_id)
