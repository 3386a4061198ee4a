"""Entries that break Plaid's contract are kept whole and told of, and everything else of the Item goes on."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from plaid_sync.core import exact_json

from local.plaid import CORRUPTIONS, Phase
from tests.component.crashes import Crash, asleep_at, killed_at
from tests.component.inside import function, reads_the_logs, strikes_a_call
from tests.component.test_sync import FOREIGN_CURSOR

if TYPE_CHECKING:
    from tests.component.world import World

UNREADABLE = ("no transaction_id", "transaction_id a number", "transaction_id endless", "a list", "a text", "null")
"""Breakages that leave no id."""


def some(world: World, item_id: str, number: int = 1) -> list[str]:
    """Return ids of rows that are live at Plaid."""
    return sorted(world.plaid.truth(item_id))[:number]


def kept(world: World, item_id: str) -> list[tuple[str, str | None, Any]]:
    """Return source, id and content of what is kept of an Item, all of it whole."""
    found = world.quarantined(item_id)
    assert all(one.whole for one in found)
    contents = [(one.entry.source, one.entry.transaction_id, exact_json.loads(one.entry.raw)) for one in found]
    return sorted(contents, key=str)


def sync(world: World, item_id: str) -> None:
    """Sync once; what is broken must not make the message come back."""
    world.trigger(item_id)
    records = world.receive()
    assert world.handle(records) == set()
    assert world.waiting() == 0


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_a_broken_entry_is_kept_exactly_and_the_rest_goes_on(world: World, how: str) -> None:
    item_id = world.link(transactions=30)
    world.drain()
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


def test_a_first_history_arrives_but_for_what_is_broken(world: World) -> None:
    item_id = world.link(transactions=620)
    broken = some(world, item_id, len(CORRUPTIONS))
    for transaction_id, how in zip(broken, CORRUPTIONS, strict=True):
        world.plaid.corrupt_row(item_id, transaction_id, how)
    assert world.drain() == 1
    world.assert_exact(item_id, except_for=broken)
    assert len(world.live(item_id)) == 620 - len(CORRUPTIONS)
    assert len(kept(world, item_id)) == len(CORRUPTIONS)


def test_unknown_fields_and_words_are_kept_on_the_row(world: World) -> None:
    item_id = world.link(transactions=5)
    world.drain()
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


def test_an_entry_that_comes_again_and_again_is_kept_once(world: World) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    (transaction_id,) = some(world, item_id)
    world.plaid.corrupt_row(item_id, transaction_id, "amount a text")
    amount = world.plaid.truth(item_id)[transaction_id]["amount"]
    seen = []
    for _ in range(3):
        world.plaid.modify(item_id, transaction_id, amount=amount)
        sync(world, item_id)
        seen.append(world.quarantined(item_id))
    assert len(seen[0]) == 1
    assert seen[0] == seen[1] == seen[2]


def test_a_row_that_plaid_mends_lives_again(world: World) -> None:
    item_id = world.link(transactions=5)
    broken = some(world, item_id, 3)
    for transaction_id, how in zip(broken, ("amount a text", "no transaction_id", "name of 2 MB"), strict=True):
        world.plaid.corrupt_row(item_id, transaction_id, how)
    world.drain()
    assert not broken & world.live(item_id).keys()
    before = kept(world, item_id)
    for transaction_id in broken:
        world.plaid.restore_row(item_id, transaction_id)
    sync(world, item_id)
    world.assert_exact(item_id)
    assert kept(world, item_id) == before


def test_a_row_that_plaid_mends_without_a_word_comes_back_by_a_full_resync(world: World) -> None:
    item_id = world.link(transactions=5)
    (transaction_id,) = some(world, item_id)
    world.plaid.corrupt_row(item_id, transaction_id, "amount a text")
    world.drain()
    world.plaid.item(item_id).corruptions.clear()
    world.set_attribute(item_id, "reconcile", {"BOOL": True})  # DynamoDB's form
    sync(world, item_id)
    world.assert_exact(item_id)


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_removal_of_nobody_knows_what_leads_to_a_full_resync_in_the_same_sync(world: World, how: str) -> None:
    item_id = world.link(transactions=40)
    world.drain()
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


@pytest.mark.parametrize("how", ["account_id a number", "account_id endless"])
def test_a_removal_whose_id_can_be_read_is_applied_and_kept(world: World, how: str) -> None:
    item_id = world.link(transactions=10)
    world.drain()
    gone = some(world, item_id)[0]
    world.plaid.corrupt_row(item_id, gone, how)
    world.plaid.remove(item_id, gone)
    unknown = world.plaid.remove_unknown(item_id)
    world.plaid.corrupt_row(item_id, unknown, how)
    world.plaid.reset_calls()
    sync(world, item_id)
    assert world.plaid.calls["/transactions/sync"] == 1
    world.assert_exact(item_id)
    assert {gone, unknown}.isdisjoint(world.live(item_id))
    assert {transaction_id for _, transaction_id, _ in kept(world, item_id)} == {gone, unknown}


def test_what_two_pulls_of_one_sync_could_not_read_is_kept_of_both(world: World) -> None:
    item_id = world.link(transactions=10)
    world.drain()
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
    item_id = world.link(transactions=20)
    world.drain()
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
    world.redeliver(records)
    world.drain()
    assert (written in world.live(item_id)) is lives
    world.assert_exact(item_id, except_for=[written])
    assert len(kept(world, item_id)) == 1


def test_while_a_history_is_incomplete_an_unknown_removal_is_owed_a_full_resync(world: World) -> None:
    item_id = world.link(ready=False, transactions=300)
    world.drain()
    world.plaid.advance_phase(item_id)
    sync(world, item_id)
    gone = some(world, item_id)[0]
    world.plaid.corrupt_row(item_id, gone, "no transaction_id")
    world.plaid.remove(item_id, gone)
    sync(world, item_id)
    assert world.item(item_id)["reconcile"] is True
    assert world.plaid.advance_phase(item_id) is Phase.HISTORICAL
    sync(world, item_id)
    world.assert_exact(item_id)


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_sync_killed_at_any_call_never_passes_an_entry_that_is_not_kept(world: World, *, before: bool) -> None:
    for at in count(1):
        item_id = world.link(transactions=120)
        broken = some(world, item_id, 3)
        for transaction_id, how in zip(broken, ("name of 2 MB", "name of 2 MB", "a list"), strict=True):
            world.plaid.corrupt_row(item_id, transaction_id, how)
        records, crash = world.receive(), Crash(at, before)
        with killed_at(crash):
            world.handle(records)
        if world.live(item_id):
            assert len(kept(world, item_id)) == 3
        world.redeliver(records)
        world.drain()
        world.assert_exact(item_id, except_for=broken)
        assert len(kept(world, item_id)) == 3
        assert world.waiting() == 0
        if not crash.struck:
            break
    assert sum("TransactWriteItems" in call for call in crash.calls) == 2 + 2


@strikes_a_call
def test_nothing_is_kept_of_an_item_that_is_removed_during_its_sync(world: World) -> None:
    item_id = world.link(transactions=5)
    world.plaid.corrupt_row(item_id, some(world, item_id)[0], "amount a text")
    records = world.receive()

    def remove() -> None:
        world.set_attribute(item_id, "status", {"S": "removed"})

    with asleep_at(1, remove, "TransactWriteItems") as sleep:
        world.handle(records)
    assert sleep.struck
    assert world.quarantined(item_id) == []
    assert world.rows(item_id) == {}


@reads_the_logs
def test_each_entry_is_told_of_without_what_it_holds_and_counted_where_the_alarm_looks(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (handler,) = function("sync").logger.handlers
    monkeypatch.setattr(handler, "stream", sys.stdout)  # it holds the one of the test that imported it
    item_id = world.link(transactions=5)
    first, second = some(world, item_id, 2)
    world.plaid.modify(item_id, first, name="Nobody's business")
    world.plaid.corrupt_row(item_id, first, "amount a text")
    world.plaid.corrupt_row(item_id, second, "no transaction_id")
    capsys.readouterr()
    sync(world, item_id)
    output = capsys.readouterr().out
    records = [json.loads(line) for line in output.splitlines()]
    told = {
        (record["level"], record["item_id"], record["source"], record["field"], record.get("transaction_id")): record
        for record in records
        if record.get("message") == "entry quarantined"
    }
    assert told.keys() == {
        ("ERROR", item_id, "added", "amount", first),
        ("ERROR", item_id, "added", "transaction_id", None),
    }
    ids = {record["entry_id"] for record in told.values()}
    assert ids == {one.entry_id for one in world.quarantined(item_id)}
    assert "business" not in output
    alarms = world.stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (alarm,) = [one for one in alarms if one["MetricName"] == "RowsQuarantined"]
    assert [
        record["RowsQuarantined"]
        for record in records
        for metrics in record.get("_aws", {}).get("CloudWatchMetrics", [])
        if metrics["Namespace"] == alarm["Namespace"]
        and "RowsQuarantined" in {metric["Name"] for metric in metrics["Metrics"]}
        and [[one["Name"] for one in alarm["Dimensions"]]] == metrics["Dimensions"]
        and all(record[one["Name"]] == one["Value"] for one in alarm["Dimensions"])
    ] == [[2.0]]


@pytest.mark.parametrize("call", ["get_item", "delete_item"])
@pytest.mark.parametrize("name", ["sync", "items", "webhook"])
def test_no_function_reads_or_deletes_what_is_kept(world: World, name: str, call: str) -> None:
    key = {"item_id": {"S": "an Item"}, "entry_part": {"S": "an entry#000000"}}
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(world.stack.role_client(name, "dynamodb"), call)(TableName=world.stack.quarantine_table, Key=key)
