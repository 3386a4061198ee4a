"""Entries that break Plaid's contract are kept whole and logged, and the rest of the Item is synced."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from plaid_sync.domain import exact_json

from local.plaid import CORRUPTIONS, Phase
from tests.integration.crashes import Crash, killed_at
from tests.integration.harness import LONG_AGO
from tests.integration.in_process import reads_the_logs, strikes_a_call
from tests.integration.test_sync import FOREIGN_CURSOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.harness import World

UNREADABLE = ("no transaction_id", "transaction_id a number", "transaction_id endless", "a list", "a text", "null")
"""Breakages that leave no id."""


def some(world: World, item_id: str, number: int = 1) -> list[str]:
    """Return ids of rows that are live at Plaid."""
    return sorted(world.plaid.truth(item_id))[:number]


def kept(world: World, item_id: str) -> list[tuple[str, str | None, Any]]:
    """Return source, id and content of what is kept of an Item, all of it whole."""
    found = world.quarantined(item_id)
    assert all(entry.complete for entry in found)
    contents = [(entry.entry.source, entry.entry.transaction_id, exact_json.loads(entry.entry.raw)) for entry in found]
    return sorted(contents, key=str)


def sync(world: World, item_id: str) -> None:
    """Sync once; what is broken must not make the message come back."""
    world.enqueue(item_id)
    records = world.receive()
    assert world.handle(records) == set()
    assert world.waiting() == 0


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_a_broken_entry_is_kept_exactly_and_the_rest_goes_on(world: World, how: str) -> None:
    item_id = world.synced(transactions=30)
    before = world.live(item_id)
    (old,) = some(world, item_id)
    world.plaid.modify(item_id, old, name="changed")
    new, *_ = world.plaid.add(item_id, 3)
    broken = {old, new}
    for transaction_id in broken:
        world.plaid.corrupt_row(item_id, transaction_id, how)
    sync(world, item_id)
    world.assert_exact(item_id, except_for=broken)
    assert world.live(item_id)[old] == before[old]
    assert new not in world.rows(item_id)
    truth = world.plaid.truth(item_id)
    readable = how not in UNREADABLE
    assert kept(world, item_id) == sorted(
        [
            ("modified", old if readable else None, CORRUPTIONS[how](truth[old])),
            ("added", new if readable else None, CORRUPTIONS[how](truth[new])),
        ],
        key=str,
    )


def test_an_entry_that_is_no_json_is_kept_as_its_own_text_and_the_rest_goes_on(world: World) -> None:
    item_id = world.synced(transactions=30)
    before = world.live(item_id)
    (broken,) = some(world, item_id)
    world.plaid.modify(item_id, broken, name="changed")
    world.plaid.add(item_id, 3)
    world.plaid.items[item_id].corruptions[broken] = lambda entry: entry | {"amount": Decimal("NaN")}
    sync(world, item_id)
    world.assert_exact(item_id, except_for=[broken])
    assert world.live(item_id)[broken] == before[broken]
    (found,) = world.quarantined(item_id)
    assert (found.complete, found.entry.transaction_id) == (True, broken)
    assert b"NaN" in found.entry.raw


def test_unknown_fields_and_words_are_kept_on_the_row(world: World) -> None:
    item_id = world.synced(transactions=5)
    (transaction_id,) = some(world, item_id)
    new: dict[str, Any] = {
        "payment_channel": "carrier pigeon",
        "transaction_type": "barter",
        "personal_finance_category": {"primary": "SPACE_TRAVEL", "detailed": "SPACE_TRAVEL_MOON"},
        "shoe_size": {"eu": Decimal("42.50"), "wide": None},
    }
    world.plaid.modify(item_id, transaction_id, **new)
    sync(world, item_id)
    world.assert_exact(item_id)
    row = world.live(item_id)[transaction_id]
    assert (row["payment_channel"], row["category"]) == ("carrier pigeon", "SPACE_TRAVEL")
    assert kept(world, item_id) == []


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_removal_that_names_no_row_leads_to_a_full_resync_in_the_same_sync(world: World, how: str) -> None:
    item_id = world.synced(transactions=40)
    gone, changed = some(world, item_id, 2)
    account_id = world.plaid.truth(item_id)[gone]["account_id"]
    world.plaid.corrupt_row(item_id, gone, how)
    world.plaid.remove(item_id, gone)
    world.plaid.modify(item_id, changed, name="changed")
    world.plaid.reset_calls()
    sync(world, item_id)
    assert world.plaid.calls["/transactions/sync"] == 2
    world.assert_exact(item_id)
    assert "removed_at" in world.rows(item_id)[gone]
    entry = CORRUPTIONS[how]({"account_id": account_id, "transaction_id": gone})
    assert kept(world, item_id) == [("removed", None, entry)]
    sync(world, item_id)
    assert world.plaid.calls["/transactions/sync"] == 3


def test_invalid_entries_of_both_pulls_of_one_sync_are_kept(world: World) -> None:
    item_id = world.synced(transactions=10)
    gone, changed = some(world, item_id, 2)
    for transaction_id in (gone, changed):
        world.plaid.corrupt_row(item_id, transaction_id, "a list")
    world.plaid.remove(item_id, gone)
    world.plaid.modify(item_id, changed, name="changed")
    sync(world, item_id)
    assert [source for source, _, _ in kept(world, item_id)] == ["added", "modified", "removed"]
    world.assert_exact(item_id, except_for=[changed])


def test_a_full_resync_leaves_a_broken_row_live_if_it_is_mentioned_and_removes_one_without_a_name(
    world: World,
) -> None:
    item_id = world.synced(transactions=20)
    before = world.live(item_id)
    mentioned, nameless, gone = some(world, item_id, 3)
    world.plaid.modify(item_id, mentioned, name="changed")
    world.plaid.corrupt_row(item_id, mentioned, "amount a text")
    world.plaid.corrupt_row(item_id, nameless, "no transaction_id")
    world.plaid.remove(item_id, gone)
    world.set_attribute(item_id, "cursor", {"S": FOREIGN_CURSOR})
    sync(world, item_id)
    live = world.live(item_id)
    assert live[mentioned] == before[mentioned]
    assert {nameless, gone}.isdisjoint(live)
    world.assert_exact(item_id, except_for=[mentioned, nameless])
    for transaction_id in (mentioned, nameless):
        world.plaid.restore_row(item_id, transaction_id)
    sync(world, item_id)
    world.assert_exact(item_id)


@strikes_a_call
@pytest.mark.parametrize(("how", "lives"), [("amount a text", True), ("no transaction_id", False)])
def test_a_row_of_a_dead_attempt_is_kept_alive_by_a_broken_word_on_it_but_not_by_a_nameless_one(
    world: World, how: str, *, lives: bool
) -> None:
    item_id = world.link(transactions=130)
    records = world.receive()
    with killed_at(Crash(2, before=True, target="TransactWriteItems")):
        world.handle(records)
    written = next(iter(world.live(item_id)))
    world.plaid.corrupt_row(item_id, written, how)
    world.retry(records)
    assert (written in world.live(item_id)) is lives
    world.assert_exact(item_id, except_for=[written])
    assert len(kept(world, item_id)) == 1


def test_an_unknown_removal_during_an_incomplete_history_leads_to_a_full_resync_later(world: World) -> None:
    item_id = world.synced(ready=False, transactions=300)
    world.plaid.advance_phase(item_id)
    sync(world, item_id)
    gone = some(world, item_id)[0]
    world.plaid.corrupt_row(item_id, gone, "no transaction_id")
    world.plaid.remove(item_id, gone)
    sync(world, item_id)
    assert world.item(item_id)["reconcile"] is True
    assert world.plaid.advance_phase(item_id) is Phase.HISTORICAL
    world.set_attribute(item_id, "reconcile_after", {"S": LONG_AGO})  # an hour later
    sync(world, item_id)
    world.assert_exact(item_id)


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_sync_killed_at_any_call_never_passes_an_entry_that_is_not_kept(
    world: World, calls_to_die_at: Iterator[int], *, before: bool
) -> None:
    for at in calls_to_die_at:
        item_id = world.link(transactions=120)
        broken = some(world, item_id, 3)
        for transaction_id, how in zip(broken, ("name of 2 MB", "name of 2 MB", "a list"), strict=True):
            world.plaid.corrupt_row(item_id, transaction_id, how)
        records, crash = world.receive(), Crash(at, before)
        with killed_at(crash):
            world.handle(records)
        if world.live(item_id):
            assert len(kept(world, item_id)) == 3
        world.retry(records)
        world.assert_exact(item_id, except_for=broken)
        assert len(kept(world, item_id)) == 3
        assert world.waiting() == 0
        if not crash.struck:
            break
    assert sum("TransactWriteItems" in call for call in crash.calls) == 2 + 2


@reads_the_logs
def test_each_entry_is_logged_without_its_content_and_counted(world: World, output: Callable[[], str]) -> None:
    item_id = world.link(transactions=5)
    first, second = some(world, item_id, 2)
    world.plaid.modify(item_id, first, name="the user's business")
    world.plaid.corrupt_row(item_id, first, "amount a text")
    world.plaid.corrupt_row(item_id, second, "no transaction_id")
    output()
    sync(world, item_id)
    text = output()
    records = [json.loads(line) for line in text.splitlines()]
    logged = {
        (record["level"], record["item_id"], record["source"], record["field"], record.get("transaction_id")): record
        for record in records
        if record.get("message") == "entry quarantined"
    }
    assert logged.keys() == {
        ("ERROR", item_id, "added", "amount", first),
        ("ERROR", item_id, "added", "transaction_id", None),
    }
    ids = {record["entry_id"] for record in logged.values()}
    assert ids == {entry.entry_id for entry in world.quarantined(item_id)}
    assert "business" not in text
    assert [record["RowsQuarantined"] for record in records if "_aws" in record] == [[2.0]]


@pytest.mark.parametrize("call", ["get_item", "delete_item"])
@pytest.mark.parametrize("name", ["sync", "items", "webhook"])
def test_no_function_reads_or_deletes_quarantined_entries(world: World, name: str, call: str) -> None:
    key = {"item_id": {"S": "an Item"}, "entry_part": {"S": "an entry#000000"}}
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(world.stack.role_client(name, "dynamodb"), call)(TableName=world.stack.quarantine_table, Key=key)
