"""A user is erased: Items at Plaid, and every row of every table, whichever call dies; no other user loses anything."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from plaid_sync.aws.dynamodb.history import HistoryTable
from plaid_sync.domain.history import EntryKind, HistoryEntry, partition_without_item

from local.plaid import Phase, SimulatedClock, utc_now
from local.snapshot import plain
from tests.integration.crashes import Crash, asleep_at, killed_at
from tests.integration.in_process import steps_the_clock, strikes_a_call
from tests.integration.link_flows import content, link_token, linked, put_link, refused, went_through_link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.harness import World

pytestmark = steps_the_clock


@pytest.fixture
def clock() -> SimulatedClock:
    """The erasure settles for minutes."""
    return SimulatedClock(utc_now())


def user_of_three_items(world: World, user: str) -> list[str]:
    """Let a user leave something of every kind; return the Items.

    The first has rows, tombstones and a quarantined entry, the second was removed and erased before, and Plaid does not
    remove the third for now.
    """
    items = [linked(world, user, f"{user} {number}") for number in range(3)]
    for item_id in items:
        while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
            pass
    world.plaid.corrupt_row(items[0], next(iter(world.plaid.truth(items[0]))), "amount a text")
    world.drain()
    world.plaid.evolve(items[0], steps=30)
    world.sync(items[0])
    assert world.quarantined(items[0])
    content(world.request("DELETE", f"/items/{items[1]}", query={"transactions": "erase"}), 202)
    world.drain()
    world.plaid.inject_fault("/item/remove", "INTERNAL_SERVER_ERROR", item_id=items[2], times=6)
    link_token(world, user)
    webhook_about(world, user)
    share(world, "request", items[0])
    share(world, "once", f"stale#{items[0]}")
    share(world, "recurring", items[0])
    share(world, "invalidation", items[0])
    share(world, "lease", f"2026-01-01T00:00:00.000Z {items[2]}")
    return items


def webhook_about(world: World, user: str) -> None:
    """Record a webhook of Link that is about no Item, as the webhook function does."""
    details = {"client_user_id": user, "webhook_type": "LINK", "webhook_code": "EVENTS"}
    entry = HistoryEntry(partition_without_item(user), utc_now(), "w", EntryKind.WEBHOOK, "published", details)
    HistoryTable(world.stack.client("dynamodb"), world.stack.history_table).add(entry)


def share(world: World, kind: str, name: str) -> None:
    row = {"kind": {"S": kind}, "name": {"S": name}, "expires_at": {"N": "4102444800"}}
    world.stack.client("dynamodb").put_item(TableName=world.stack.shared_table, Item=row)


def erase(world: World, user: str) -> dict[str, Any]:
    return world.request("DELETE", f"/users/{quote(user)}")


def work(world: World, clock: SimulatedClock, items: list[str]) -> None:
    """Let the workers look at the Items, and two minutes pass."""
    for item_id in items:
        world.enqueue(item_id)
    world.drain()
    clock.advance(timedelta(minutes=2))


def erased(world: World, clock: SimulatedClock, user: str, items: list[str]) -> dict[str, Any]:
    """Request the erasure until it is completed; return the receipt."""
    for _ in range(20):
        answer = erase(world, user)
        if answer["statusCode"] == 200:
            break
        assert content(answer, 202)["item_ids"] == sorted(items)
        work(world, clock, items)
    return content(answer)


def every_row(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    stack = world.stack
    tables = stack.items_table, stack.transactions_table, stack.quarantine_table
    for table in (*tables, stack.history_table, stack.links_table, stack.shared_table):
        for page in stack.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            yield from ((table, plain(row)) for row in page["Items"])


def naming(world: World, *words: str) -> list[str]:
    """Return the rows of all tables that have one of the words in any key or value."""
    rows = sorted(f"{table} {row}" for table, row in every_row(world))
    return [row for row in rows if any(word in row for word in words)]


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_user_is_erased_though_the_request_is_killed_at_any_call(
    world: World, clock: SimulatedClock, user: str, *, before: bool
) -> None:
    """The first request dies at its first call, the second at its second one, and so on, until one comes to its end."""
    neighbor = f"neighbor of {user}"
    others = [linked(world, neighbor, neighbor)]
    link_token(world, neighbor)
    webhook_about(world, neighbor)
    world.drain()
    kept = naming(world, neighbor, *others)
    items = user_of_three_items(world, user)
    deaths, crash, answer = 0, Crash(1, before), dict[str, Any]()
    while True:
        with killed_at(crash):
            answer = erase(world, user)
        if not crash.struck and answer["statusCode"] == 200:
            break
        deaths += crash.struck
        crash = Crash(crash.at + crash.struck, before)
        work(world, clock, items)
    receipt = content(answer)
    assert naming(world, f"'{user}", *items) == []
    assert all(world.plaid.item(item_id).removed for item_id in items)
    assert (receipt["state"], receipt["remaining"], receipt["erased"]["items"]) == ("erased", 0, 3)
    assert deaths > 30
    assert content(erase(world, user)) == receipt
    assert naming(world, neighbor, *others) == kept


def test_no_link_of_a_user_is_stored_during_the_erasure_and_a_later_one_is_erased_again(
    world: World, clock: SimulatedClock, user: str
) -> None:
    item_id = linked(world, user)
    begun = went_through_link(world, user, f"{user} late")
    late = world.plaid.public_tokens[begun["public_token"]].item.item_id

    def begin() -> None:
        content(erase(world, user), 202)

    with asleep_at(1, begin, "/item/public_token/exchange") as sleep:
        answer = world.request("POST", "/items", begun)
    assert sleep.struck
    refused(answer, 503, "link_rolled_back")
    assert world.plaid.item(late).removed
    refused(world.request("POST", "/link-tokens", {"client_user_id": user}), 409, "user_being_erased")
    refused(world.request("POST", "/items", begun), 404, "link_session_unknown")
    first = erased(world, clock, user, [item_id, late])
    assert naming(world, user, item_id, late) == []
    again = linked(world, user)
    assert content(erase(world, user), 202)["item_ids"] == [again]
    second = erased(world, clock, user, [again])
    assert naming(world, user, again) == []
    assert second["erased_at"] > first["erased_at"]


def test_a_claim_that_a_worker_takes_after_its_item_is_erased_is_erased_with_the_rest(
    world: World, clock: SimulatedClock, user: str
) -> None:
    item_id = linked(world, user)
    content(erase(world, user), 202)
    work(world, clock, [item_id])
    assert content(erase(world, user), 202)["state"] == "erasing"
    assert content(erase(world, user), 202)["state"] == "settling"
    put_link(world, "login#late", item_id=item_id, link_id="link", client_user_id=user)
    erased(world, clock, user, [item_id])
    assert naming(world, user, item_id) == []


@pytest.mark.parametrize("reference", ["unknown", "~", "~////", quote("with space"), "x" * 129])
def test_a_user_of_whom_nothing_is_stored_is_not_found_and_nothing_is_written(world: World, reference: str) -> None:
    before = naming(world, "link_key")
    refused(world.request("DELETE", f"/users/{reference}"), 404, "user_not_found")
    assert naming(world, "link_key") == before
