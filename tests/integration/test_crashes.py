"""A worker that dies at any call, or wakes too late, changes nothing about the outcome: the table equals Plaid's."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from plaid_sync.sync.planner import MAX_ROWS

from tests.integration.crashes import Crash, asleep_at, delivered_again, killed_at, unreachable
from tests.integration.in_process import strikes_a_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.harness import World


pytestmark = strikes_a_call


def first_sync(world: World) -> str:
    return world.link(transactions=230)


def large_update(world: World) -> str:
    item_id = world.synced(transactions=160)
    world.plaid.evolve(item_id, steps=320)
    world.enqueue(item_id)
    return item_id


def refused_by_plaid(world: World) -> str:
    item_id = world.link(transactions=5)
    world.plaid.inject_fault("/transactions/sync", "INTERNAL_SERVER_ERROR")
    return item_id


def login_required(world: World) -> str:
    item_id = world.link(transactions=5)
    world.plaid.inject_fault("/transactions/sync", "ITEM_LOGIN_REQUIRED")
    return item_id


def account_withdrawn(world: World) -> str:
    """The user withdraws the account with the most rows; only Plaid's webhook reports it."""
    world.plaid.configure(revoked_rows_removed=False)
    item_id = world.synced(transactions=160)
    world.plaid.evolve(item_id, steps=40)
    accounts = Counter(row["account_id"] for row in world.live(item_id).values())
    ((account_id, _),) = accounts.most_common(1)
    world.plaid.revoke_account(item_id, account_id, notify=False)
    webhook = {"webhook_type": "ITEM", "webhook_code": "USER_ACCOUNT_REVOKED", "item_id": item_id}
    body = json.dumps(webhook | {"account_id": account_id}).encode()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    return item_id


def kill_and_retry(world: World, scenario: Callable[[World], str], at: int, *, before: bool, moves_on: bool) -> Crash:
    item_id = scenario(world)
    records, crash = world.receive(), Crash(at, before)
    with killed_at(crash):
        world.handle(records)
    world.plaid.clear_faults()
    if moves_on:
        world.plaid.evolve(item_id, steps=25)
    world.redeliver(records)
    world.sync(item_id)
    world.assert_exact(item_id)
    assert world.waiting() == 0
    return crash


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("scenario", [first_sync, large_update, refused_by_plaid, login_required, account_withdrawn])
def test_a_sync_killed_at_any_call_and_retried_ends_exact(
    world: World, scenario: Callable[[World], str], calls_to_die_at: Iterator[int], *, before: bool
) -> None:
    seen: set[str] = set()
    for at in calls_to_die_at:
        crash = kill_and_retry(world, scenario, at, before=before, moves_on=at % 2 == 1)
        seen.update(crash.calls)
        if not crash.struck:
            break
    expected = {"TransactWriteItems", "UpdateItem", "Decrypt", "/transactions/sync", "GetSecretValue"}
    expected -= {"TransactWriteItems"} if scenario is refused_by_plaid else set()
    expected |= {"DynamoDB_20120810.GetItem"} if scenario is account_withdrawn else set()
    assert not {service for service in expected if not any(service in call for call in seen)}


def test_a_netted_out_change_of_a_dead_attempt_leads_to_a_full_resync(world: World) -> None:
    """The dead attempt wrote a change to an old row; by the next pull Plaid has taken it back and says nothing."""
    world.plaid.configure(hide_reverts=True)
    item_id = world.synced(transactions=130)
    truth = world.plaid.truth(item_id)
    victims = sorted(truth)[:110]
    for transaction_id in victims:
        world.plaid.remove(item_id, transaction_id)
    world.enqueue(item_id)
    records = world.receive()
    with killed_at(Crash(2, before=True, target="TransactWriteItems")):
        world.handle(records)
    assert "writing_since" in world.item(item_id)
    assert len(world.live(item_id)) == 130 - MAX_ROWS
    for transaction_id in victims:
        world.plaid.readd(item_id, transaction_id)
    world.retry(records)
    world.assert_exact(item_id)


@pytest.mark.parametrize(
    "wakes_at",
    [pytest.param(at, marks=() if at in {2, 6, 11} else pytest.mark.exhaustive) for at in range(1, 14)],
)
def test_a_zombie_that_wakes_after_its_successor_changes_nothing(world: World, wakes_at: int) -> None:
    """A worker sleeps through its visibility timeout at some call; its successor commits; then it goes on."""
    item_id = world.synced(transactions=160)
    world.plaid.evolve(item_id, steps=250)
    world.enqueue(item_id)
    records = world.receive()

    def successor() -> None:
        world.plaid.evolve(item_id, steps=120)
        world.retry(records)
        world.assert_exact(item_id)

    with asleep_at(wakes_at, successor):
        world.handle(records)
    world.assert_exact(item_id)
    world.sync(item_id)
    world.assert_exact(item_id)


def test_a_zombie_can_not_bring_back_what_plaid_has_taken_back(world: World) -> None:
    """Everything that the zombie pulled came and went, so that its successor writes none of those rows."""
    item_id = world.synced(transactions=10)
    added = world.plaid.add(item_id, 120)
    world.enqueue(item_id)
    records = world.receive()

    def successor() -> None:
        for transaction_id in added:
            world.plaid.remove(item_id, transaction_id)
        world.retry(records)

    with asleep_at(1, successor, "TransactWriteItems") as sleep:
        world.handle(records)
    assert sleep.struck
    assert world.live(item_id).keys() == world.plaid.truth(item_id).keys()
    world.assert_exact(item_id)


def test_a_claim_that_arrives_twice_does_not_supersede_its_own_attempt(world: World) -> None:
    """The claim's answer is lost and the SDK repeats it; then the network delivers the first one once more."""
    item_id = world.link(transactions=5)
    records = world.receive()
    lost = unreachable("UpdateItem", before=False, at=1)
    with lost, delivered_again("UpdateItem", before="TransactWriteItems") as again:
        world.handle(records)
    assert again == [True]
    assert world.waiting() == 0
    world.assert_exact(item_id)


def removed(world: World, transactions: str) -> str:
    item_id = world.synced(transactions=60)
    world.plaid.corrupt_row(item_id, next(iter(world.plaid.truth(item_id))), "amount a text")
    world.plaid.evolve(item_id, steps=30)
    world.sync(item_id)
    answer = world.request("DELETE", f"/items/{item_id}", query={"transactions": transactions})
    assert answer["statusCode"] == 202
    return item_id


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("transactions", ["erase", "keep"])
def test_a_removal_killed_at_any_call_is_completed_and_counts_once(
    world: World, transactions: str, calls_to_die_at: Iterator[int], *, before: bool
) -> None:
    for at in calls_to_die_at:
        item_id = removed(world, transactions)
        rows = world.rows(item_id)
        stored = len(rows) + len(world.quarantined(item_id))
        records, crash = world.receive(), Crash(at, before)
        with killed_at(crash):
            world.handle(records)
        world.retry(records)
        item = world.item(item_id)
        assert world.plaid.item(item_id).removed
        assert "access_token" not in item
        assert "removal_completed_at" in item
        assert world.rows(item_id) == ({} if transactions == "erase" else rows)
        assert item.get("rows_to_erase") == (stored if transactions == "erase" else None)
        if not crash.struck:
            break
    assert at > 5


def test_a_worker_in_flight_brings_no_row_of_a_removed_item_back(world: World) -> None:
    item_id = world.link(transactions=230)
    records = world.receive()

    def remove_and_erase() -> None:
        assert world.request("DELETE", f"/items/{item_id}", query={"transactions": "erase"})["statusCode"] == 202
        world.retry(records)
        assert world.rows(item_id) == {}

    with asleep_at(2, remove_and_erase, "TransactWriteItems") as sleep:  # the first has written rows
        world.handle(records)
    assert sleep.struck
    assert world.rows(item_id) == {}
    world.sync(item_id)
    assert world.rows(item_id) == {}
