"""The sync function against a real queue, real tables and a Plaid with opinions: the table equals Plaid's truth."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.transaction import plaid_object

from local.plaid import CustomTransaction, Phase
from tests.integration.in_process import waits_long

if TYPE_CHECKING:
    from tests.integration.harness import World

TODAY = date(2026, 11, 2)
FOREIGN_CURSOR = "Y3Vyc29yIG9mIGFub3RoZXIgSXRlbQ=="


def test_a_linked_item_arrives_whole(world: World) -> None:
    item_id = world.link(transactions=620)
    assert world.drain() == 1
    world.assert_exact(item_id)
    assert len(world.live(item_id)) == 620
    item = world.item(item_id)
    assert (item["state"], item["update_status"]) == ("active", "HISTORICAL_UPDATE_COMPLETE")
    assert "writing_since" not in item


@pytest.mark.parametrize("spell_out", [False, True], ids=["netted", "spelled"])
def test_an_evolving_history_stays_exact(world: World, *, spell_out: bool) -> None:
    world.plaid.configure(spell_out=spell_out)
    item_id = world.synced(transactions=150)
    for step in (1, 3, 20, 120, 260):
        world.plaid.evolve(item_id, steps=step)
        world.sync(item_id)
        world.assert_exact(item_id)


def test_other_options_of_the_stack_lead_to_one_full_resync_and_the_audit_uses_them(world: World) -> None:
    item_id = world.synced(transactions=30)
    options: Any = {"INCLUDE_ORIGINAL_DESCRIPTION": "true", "PERSONAL_FINANCE_CATEGORY_VERSION": "v1"}
    assert world.invoke("audit", {"item_id": item_id}, time_left=900.0, **options)["outcome"] == "behind"
    resyncs = []
    for _ in range(2):
        world.enqueue(item_id)
        records = world.receive()
        assert world.invoke("sync", {"Records": records}, **options) == {"batchItemFailures": []}
        for record in records:
            world.delete(record)
        newest = json.loads(world.request("GET", f"/items/{item_id}/history")["body"])["history"][0]
        resyncs.append(newest.get("full_resync"))
    assert resyncs == [True, None]
    rows = list(filter(None, map(plaid_object, world.live(item_id).values())))
    assert len(rows) == 30
    assert all(row["original_description"] for row in rows)
    assert {row["personal_finance_category"]["version"] for row in rows} == {"v1"}
    assert world.item(item_id)["pulled_with"] == "original_description v1"
    assert world.invoke("audit", {"item_id": item_id}, time_left=900.0, **options)["outcome"] == "clean"


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


@waits_long
def test_a_mutation_that_never_ends_is_answered_with_a_full_resync_that_removes_phantoms(world: World) -> None:
    item_id = world.synced(transactions=40)
    gone = world.plaid.remove(item_id)
    world.plaid.force_mutation(item_id, 10_000, anywhere=True)
    world.sync(item_id)
    # It may yet end: that does not cost the whole history.
    assert world.item(item_id)["failure_code"] == "mutation_persists"
    world.attempt_due(item_id)
    assert gone is not None
    assert gone not in world.live(item_id)
    world.assert_exact(item_id)


def test_a_cursor_that_plaid_no_longer_accepts_is_replaced_by_a_full_resync(world: World) -> None:
    item_id = world.synced(transactions=40)
    world.plaid.evolve(item_id, steps=30)
    world.set_attribute(item_id, "cursor", {"S": FOREIGN_CURSOR})
    world.sync(item_id)
    world.assert_exact(item_id)


def test_while_plaid_is_not_ready_nothing_is_committed(world: World) -> None:
    for null in (False, True):
        world.plaid.configure(not_ready_cursor_null=null)
        item_id = world.synced(ready=False, transactions=30)
        item = world.item(item_id)
        assert "cursor" not in item
        assert item["update_status"] == "NOT_READY"
        world.plaid.advance_phase(item_id)
        world.plaid.advance_phase(item_id)
        world.sync(item_id)
        world.assert_exact(item_id)


def test_the_first_sync_initializes_the_webhooks_and_the_requested_history(world: World) -> None:
    item_id = world.link(ready=False, transactions=400, days=730, initialize_at_link=False)
    assert not world.plaid.item(item_id).sync_called
    world.drain()
    assert world.plaid.item(item_id).sync_called
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.sync(item_id)
    assert len(world.live(item_id)) > 300  # 90 days, Plaid's default, would hold about an eighth of the two years
    world.assert_exact(item_id)


def test_a_row_keeps_what_an_application_has_written_on_it(world: World) -> None:
    item_id = world.synced(transactions=10)
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
    world.sync(item_id)
    world.assert_exact(item_id)
    rows = world.rows(item_id)
    assert all(row["note"] == transaction_id[::-1] for transaction_id, row in rows.items())
    assert rows[str(removed)]["removed_at"]
    assert rows[str(removed)]["expires_at"] > 0


def test_removed_rows_leave_the_index_and_live_ones_are_in_it_by_date(world: World) -> None:
    item_id = world.synced(transactions=60)
    for _ in range(5):
        world.plaid.remove(item_id)
    world.plaid.remove_unknown(item_id)
    world.sync(item_id)
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


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"error_code": "INTERNAL_SERVER_ERROR"}, marks=waits_long),
        pytest.param({"error_code": "TRANSACTIONS_SYNC_LIMIT"}, marks=waits_long),
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
def test_a_transient_failure_is_recorded_and_retried_from_the_stored_cursor(
    world: World, fault: dict[str, object], skip: int
) -> None:
    item_id = world.link(transactions=520)
    longer_than_an_invocation = {"times": 10} | fault
    world.plaid.inject_fault("/transactions/sync", skip=skip, **longer_than_an_invocation)  # type: ignore[arg-type] # cases of one table
    assert world.handle(world.receive()) == set()
    assert world.rows(item_id) == {}
    item = world.item(item_id)
    assert "cursor" not in item
    assert {"failing_since", "failure_code", "next_attempt_at"} <= item.keys()
    world.plaid.clear_faults()
    world.attempt_due(item_id)
    world.assert_exact(item_id)
    assert "failing_since" not in world.item(item_id)


@waits_long
def test_what_passes_in_seconds_is_retried_at_once(world: World) -> None:
    item_id = world.link(transactions=520)
    world.plaid.inject_fault("/transactions/sync", "INTERNAL_SERVER_ERROR", skip=1, times=2)
    assert world.handle(world.receive()) == set()
    world.assert_exact(item_id)
    assert "failing_since" not in world.item(item_id)


def test_a_webhook_that_outruns_its_link_loses_nothing(world: World) -> None:
    """The link enqueues its own first sync, which covers it."""
    token = world.plaid.create_public_token(transactions=12)
    item_id = world.plaid.public_tokens[token].item.item_id
    world.enqueue(item_id)
    assert world.handle(world.receive()) == set()
    assert world.waiting() == 0
    assert world.dead_letters() == []
    assert world.post_items({"public_token": token})["statusCode"] == 201
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    assert world.drain() == 1
    assert world.waiting() == 0
    assert len(world.live(item_id)) == 12
    world.assert_exact(item_id)


def test_unprocessable_messages_are_dead_lettered_with_their_reason(world: World) -> None:
    healthy = world.link(transactions=5)
    sqs = world.stack.client("sqs")
    for number, body in enumerate(["not json", '{"item_id":"a"}']):
        sqs.send_message(
            QueueUrl=world.stack.sync_queue_url,
            MessageBody=body,
            MessageGroupId="strangers",
            MessageDeduplicationId=f"{healthy}{number}",
        )
    world.enqueue("never-linked")
    for _ in range(12):
        if not (records := world.receive()):
            break
        world.handle(records)
    world.assert_exact(healthy)
    assert world.waiting() == 0
    dead_lettered = {
        message["Body"]: message["MessageAttributes"]["reason"]["StringValue"]
        for _ in range(3)
        for message in world.dead_letters()
    }
    assert [reason.split(":")[0] for reason in dead_lettered.values()] == ["malformed", "malformed"]


def without_cursor(**fields: object) -> str:
    empty: dict[str, object] = {"accounts": [], "added": [], "modified": [], "removed": [], "has_more": False}
    return json.dumps(empty | {"next_cursor": "", "transactions_update_status": "UNKNOWN", "request_id": "r"} | fields)


@pytest.mark.parametrize(("cursor", "synced_before"), [("", False), (None, False), ("", True)])
def test_a_lost_cursor_is_not_taken_for_not_ready(world: World, cursor: str | None, *, synced_before: bool) -> None:
    """Plaid omits it on the second page, or on the first page of an Item that had one."""
    item_id = world.link(transactions=520)
    if synced_before:
        world.drain()
        world.plaid.add(item_id, 2)
        world.enqueue(item_id)
    skip = 0 if synced_before else 1
    world.plaid.inject_fault("/transactions/sync", skip=skip, status=200, body=without_cursor(next_cursor=cursor))
    assert world.handle(world.receive()) == set()
    assert world.item(item_id).get("failure_code") == (None if synced_before else "missing_next_cursor")
    world.attempt_due(item_id)
    world.assert_exact(item_id)
