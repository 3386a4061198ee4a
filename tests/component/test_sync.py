"""The sync function against a real queue, real tables and a Plaid with opinions: the table equals Plaid's truth."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from local.plaid import Behavior, CustomTransaction, Phase
from tests.component.inside import waits_long

if TYPE_CHECKING:
    from tests.component.world import World

TODAY = date(2026, 11, 2)
FOREIGN_CURSOR = "Y3Vyc29yIG9mIGFub3RoZXIgSXRlbQ=="


def test_a_linked_item_arrives_whole(world: World) -> None:
    item_id = world.link(transactions=620)
    assert world.drain() == 1
    world.assert_exact(item_id)
    assert len(world.live(item_id)) == 620
    item = world.item(item_id)
    assert (item["status"], item["update_status"]) == ("active", "HISTORICAL_UPDATE_COMPLETE")
    assert "writing_since" not in item


@pytest.mark.parametrize("spell_out", [False, True], ids=["netted", "spelled"])
def test_an_evolving_history_stays_exact(world: World, *, spell_out: bool) -> None:
    world.plaid.configure(spell_out=spell_out)
    item_id = world.link(transactions=150)
    world.drain()
    for step in (1, 3, 20, 120, 260):
        world.plaid.evolve(item_id, steps=step)
        world.trigger(item_id)
        world.drain()
        world.assert_exact(item_id)


def test_amounts_survive_to_the_table_exactly(world: World) -> None:
    item_id = world.link(transactions=0)
    amounts = ["0.1234567", "-98765432109.87", "0.00", "0", "19.99"]
    world.plaid.add_custom_transactions(
        item_id, [CustomTransaction(day=TODAY, amount=Decimal(amount)) for amount in amounts]
    )
    world.drain()
    world.assert_exact(item_id)
    stored = sorted(row["amount"] for row in world.live(item_id).values())
    assert stored == sorted(map(Decimal, amounts))


def test_a_mutation_during_pagination_restarts_from_the_stored_cursor(world: World) -> None:
    item_id = world.link(transactions=900)
    world.plaid.force_mutation(item_id, 3)
    assert world.handle(world.receive()) == set()
    world.assert_exact(item_id)
    assert world.plaid.calls["/transactions/sync"] == 2 * (3 + 1)


@waits_long
def test_a_mutation_that_never_ends_is_answered_with_a_full_resync_that_removes_phantoms(world: World) -> None:
    item_id = world.link(transactions=40)
    world.drain()
    gone = world.plaid.remove(item_id)
    world.plaid.force_mutation(item_id, 10_000, anywhere=True)
    world.trigger(item_id)
    world.drain()
    assert gone is not None
    assert gone not in world.live(item_id)
    world.assert_exact(item_id)


def test_a_cursor_that_plaid_no_longer_accepts_is_replaced_by_a_full_resync(world: World) -> None:
    item_id = world.link(transactions=40)
    world.drain()
    world.plaid.evolve(item_id, steps=30)
    world.set_attribute(item_id, "cursor", {"S": FOREIGN_CURSOR})
    world.trigger(item_id)
    world.drain()
    world.assert_exact(item_id)


def test_while_plaid_is_not_ready_nothing_is_committed(world: World) -> None:
    for null in (False, True):
        world.plaid.configure(not_ready_cursor_null=null)
        item_id = world.link(ready=False, transactions=30)
        world.drain()
        item = world.item(item_id)
        assert "cursor" not in item
        assert item["update_status"] == "NOT_READY"
        world.plaid.advance_phase(item_id)
        world.plaid.advance_phase(item_id)
        world.trigger(item_id)
        world.drain()
        world.assert_exact(item_id)


def test_the_first_sync_arms_the_webhooks_and_asks_for_the_history_that_was_requested(world: World) -> None:
    item_id = world.link(ready=False, transactions=400, days=730, initialize_at_link=False)
    assert not world.plaid.item(item_id).sync_called
    world.drain()
    assert world.plaid.item(item_id).sync_called
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.trigger(item_id)
    world.drain()
    assert len(world.live(item_id)) > 300  # 90 days, Plaid's default, would hold about an eighth of the two years
    world.assert_exact(item_id)


def test_an_unchanged_modified_is_not_written_again(world: World) -> None:
    item_id = world.link(transactions=30)
    world.drain()
    before = world.rows(item_id)
    assert len(before) == 30
    touched = world.plaid.touch(item_id, 5)
    world.trigger(item_id)
    world.drain()
    assert len(touched) == 5
    assert world.rows(item_id) == before


def test_a_row_keeps_what_an_application_has_written_on_it(world: World) -> None:
    item_id = world.link(transactions=10)
    world.drain()
    for transaction_id in world.rows(item_id):
        world.stack.client("dynamodb").update_item(
            TableName=world.stack.transactions_table,
            Key={"item_id": {"S": item_id}, "transaction_id": {"S": transaction_id}},
            UpdateExpression="SET note = :note",
            ExpressionAttributeValues={":note": {"S": transaction_id[::-1]}},
        )
    for _ in range(5):
        world.plaid.modify(item_id)
    removed = world.plaid.remove(item_id)
    world.trigger(item_id)
    world.drain()
    world.assert_exact(item_id)
    rows = world.rows(item_id)
    assert all(row["note"] == transaction_id[::-1] for transaction_id, row in rows.items())
    assert rows[str(removed)]["removed_at"]
    assert rows[str(removed)]["expires_at"] > 0


def test_removed_rows_leave_the_index_and_live_ones_are_in_it_by_date(world: World) -> None:
    item_id = world.link(transactions=60)
    world.drain()
    for _ in range(5):
        world.plaid.remove(item_id)
    world.plaid.remove_unknown(item_id)
    world.trigger(item_id)
    world.drain()
    live = world.live(item_id)
    found: list[str] = []
    for account_id in {row["account_id"] for row in live.values()}:
        pages = (
            world.stack.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=world.stack.transactions_table,
                IndexName="by_account",
                KeyConditionExpression="account_id = :a",
                ExpressionAttributeValues={":a": {"S": account_id}},
            )
        )
        keys = [entry["date_id"]["S"] for page in pages for entry in page["Items"]]
        assert keys == sorted(keys)
        found += keys
    assert sorted(found) == sorted(f"{row['date']}#{key}" for key, row in live.items())


def test_ten_triggers_in_a_batch_lead_to_one_sync(world: World) -> None:
    item_id = world.link(transactions=5)
    for _ in range(9):
        world.trigger(item_id)
    records = world.receive()
    assert len(records) == 10
    assert world.handle(records) == set()
    assert world.plaid.calls["/transactions/sync"] == 1
    world.assert_exact(item_id)


def test_a_trigger_that_arrives_during_a_pull_is_not_absorbed_by_it(world: World) -> None:
    item_id = world.link(transactions=5)
    world.plaid.inject_fault("/transactions/sync", delay=0.5)
    handled = threading.Thread(target=world.handle, args=(world.receive(),))
    handled.start()
    while not world.plaid.calls["/transactions/sync"]:
        time.sleep(0.01)
    world.trigger(item_id)
    handled.join()
    world.drain()
    assert world.plaid.calls["/transactions/sync"] == 2
    world.assert_exact(item_id)


def test_one_items_failure_leaves_the_others_of_its_batch_alone(world: World) -> None:
    broken, healthy = world.link(transactions=5), world.link(transactions=5)
    world.plaid.inject_fault("/transactions/sync", "INTERNAL_SERVER_ERROR", item_id=broken, times=100)
    records = world.receive()
    failed = world.handle(records)
    assert {record["messageId"] for record in records if broken in record["body"]} == failed
    world.assert_exact(healthy)
    assert world.rows(broken) == {}
    world.plaid.clear_faults()
    world.drain()
    world.assert_exact(broken)


@pytest.mark.parametrize(("code", "status"), [("ITEM_LOGIN_REQUIRED", "needs_user"), ("ITEM_NOT_FOUND", "revoked")])
def test_what_no_retry_repairs_is_recorded_and_acknowledged(world: World, code: str, status: str) -> None:
    item_id = world.link(transactions=5)
    world.plaid.inject_fault("/transactions/sync", code)
    assert world.handle(world.receive()) == set()
    assert world.waiting() == 0
    assert (world.item(item_id)["status"], world.item(item_id)["status_code"]) == (status, code)
    world.trigger(item_id)
    world.drain()
    item = world.item(item_id)
    assert item["status"] == "active"
    assert "status_code" not in item
    world.assert_exact(item_id)


@pytest.mark.parametrize(
    "fault",
    [
        {"error_code": "INTERNAL_SERVER_ERROR"},
        pytest.param({"error_code": "TRANSACTIONS_SYNC_LIMIT", "times": 5}, marks=waits_long),
        {"error_code": "INSTITUTION_DOWN"},
        {"error_code": "INVALID_API_KEYS"},
        {"error_code": "SOMETHING_NEW", "status": 400},
        {"status": 502, "body": "<html>Bad Gateway</html>"},
        {"status": 200, "body": "{}"},
        {"status": 200, "body": "not JSON"},
        {"drop": "before"},
        {"drop": "after"},
    ],
    ids=str,
)
@pytest.mark.parametrize("skip", [0, 1], ids=["first page", "second page"])
def test_what_passes_is_retried_from_the_stored_cursor(world: World, fault: dict[str, object], skip: int) -> None:
    item_id = world.link(transactions=520)
    world.plaid.inject_fault("/transactions/sync", skip=skip, **fault)  # type: ignore[arg-type] # cases of one table
    assert len(world.handle(world.receive())) == 1
    assert world.rows(item_id) == {}
    assert "cursor" not in world.item(item_id)
    world.drain()
    world.assert_exact(item_id)


def test_a_webhook_that_outruns_its_link_waits_and_loses_nothing(world: World) -> None:
    token = world.plaid.create_public_token(transactions=12)
    item_id = world.plaid.public_tokens[token].item.item_id
    world.trigger(item_id)
    assert len(world.handle(world.receive())) == 1
    assert world.waiting() == 1
    assert world.dead_letters() == []
    assert world.post_items({"public_token": token})["statusCode"] == 201
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    assert world.drain() == 1
    assert world.waiting() == 0
    assert len(world.live(item_id)) == 12
    world.assert_exact(item_id)


def test_messages_that_nobody_can_work_on_are_parked_with_their_reason(world: World) -> None:
    healthy = world.link(transactions=5)
    sqs = world.stack.client("sqs")
    for number, body in enumerate(["not json", '{"item_id":"a"}']):
        sqs.send_message(
            QueueUrl=world.stack.sync_queue_url,
            MessageBody=body,
            MessageGroupId="strangers",
            MessageDeduplicationId=f"{healthy}{number}",
        )
    world.trigger("never-linked")
    for _ in range(12):
        if not (records := world.receive()):
            break
        world.handle(records)
    world.assert_exact(healthy)
    assert world.waiting() == 0
    parked = {
        message["Body"]: message["MessageAttributes"]["reason"]["StringValue"]
        for _ in range(3)
        for message in world.dead_letters()
    }
    reasons = sorted(reason.split(":")[0] for reason in parked.values())
    assert reasons == ["malformed", "malformed", "unregistered"]


def test_behaviors_of_plaid_that_are_not_documented_change_nothing(world: World) -> None:
    world.plaid.behavior = replace(world.plaid.behavior, spell_out=True, beta_fields=True)
    assert isinstance(world.plaid.behavior, Behavior)
    item_id = world.link(transactions=50)
    world.drain()
    for _ in range(4):
        world.plaid.flash(item_id)
        world.plaid.churn(item_id)
        world.plaid.readd(item_id)
        world.plaid.remove_unknown(item_id)
        world.plaid.add(item_id, 2, pending=True)
        world.plaid.post_pending(item_id)
        world.trigger(item_id)
        world.drain()
        world.assert_exact(item_id)


def test_all_messages_of_a_failed_item_stay_in_the_queue(world: World) -> None:
    item_id = world.link(transactions=5)
    world.trigger(item_id)
    world.plaid.inject_fault("/transactions/sync", "INTERNAL_SERVER_ERROR")
    records = world.receive()
    assert len(records) == 2
    assert world.handle(records) == {record["messageId"] for record in records}
    world.drain()
    world.assert_exact(item_id)


def without_cursor(**fields: object) -> str:
    empty: dict[str, object] = {"accounts": [], "added": [], "modified": [], "removed": [], "has_more": False}
    return json.dumps(empty | {"next_cursor": "", "transactions_update_status": "UNKNOWN", "request_id": "r"} | fields)


@pytest.mark.parametrize("cursor", ["", None])
def test_a_cursor_lost_on_the_second_page_is_not_taken_for_not_ready(world: World, cursor: str | None) -> None:
    item_id = world.link(transactions=520)
    world.plaid.inject_fault("/transactions/sync", skip=1, status=200, body=without_cursor(next_cursor=cursor))
    assert len(world.handle(world.receive())) == 1
    world.drain()
    world.assert_exact(item_id)


def test_a_cursor_lost_by_an_item_that_had_one_is_not_taken_for_not_ready(world: World) -> None:
    item_id = world.link(transactions=20)
    world.drain()
    world.plaid.add(item_id, 2)
    world.trigger(item_id)
    world.plaid.inject_fault("/transactions/sync", status=200, body=without_cursor())
    assert len(world.handle(world.receive())) == 1
    world.drain()
    world.assert_exact(item_id)


def test_a_full_resync_tombstones_nothing_before_the_history_is_complete(world: World) -> None:
    item_id = world.link(ready=False, transactions=300)
    world.drain()
    world.plaid.advance_phase(item_id)
    world.trigger(item_id)
    world.drain()
    gone = next(iter(world.plaid.truth(item_id)))
    world.plaid.remove(item_id, gone)
    world.set_attribute(item_id, "cursor", {"S": FOREIGN_CURSOR})
    world.trigger(item_id)
    world.drain()
    assert world.item(item_id)["reconcile"] is True
    assert gone in world.live(item_id)
    world.plaid.advance_phase(item_id)
    world.trigger(item_id)
    world.drain()
    assert gone not in world.live(item_id)
    world.assert_exact(item_id)
