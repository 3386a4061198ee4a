"""What the engine takes care of beside the protocol's own story: time, siblings, bugs, and what others do meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.clock import Deadline
from plaid_sync.sync.job import Outcome

from tests.integration.crashes import asleep_at, unreachable
from tests.integration.functions import lambda_context, wired
from tests.integration.in_process import reads_the_logs, strikes_a_call, wires_it
from tests.integration.test_sync import FOREIGN_CURSOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.sync.batch import BatchResult

    from tests.integration.harness import Record, World

SYNC = "/transactions/sync"


def process(world: World, records: list[Record]) -> BatchResult:
    """Process a batch and return its result, of which Lambda gets only a part."""
    result: BatchResult = wired(world, "sync").processor.process(records, Deadline(lambda: 300.0))
    return result


def ids(records: list[Record]) -> set[str]:
    return {record["messageId"] for record in records}


# ---- time


def handle_with(world: World, seconds_after_a_page: int) -> None:
    """Handle what is in the queue; once a page was answered there are only so many seconds left."""
    context = lambda_context()
    context.get_remaining_time_in_millis = lambda: 1000 * (seconds_after_a_page if world.plaid.calls[SYNC] else 300)
    records = world.receive()
    assert wired(world, "sync").lambda_handler({"Records": records}, context) == {"batchItemFailures": []}
    for record in records:
        world.delete(record)


@wires_it
def test_a_pull_that_time_runs_out_for_continues_where_it_was(world: World) -> None:
    item_id = world.link(transactions=600)
    handle_with(world, seconds_after_a_page=75)
    assert world.plaid.calls[SYNC] == 1
    assert {"checkpoint", "writing_since"} <= world.item(item_id).keys()
    assert "failing_since" not in world.item(item_id)
    world.attempt_due(item_id)
    assert world.plaid.calls[SYNC] == 2
    world.assert_exact(item_id)
    assert {"checkpoint", "writing_since"}.isdisjoint(world.item(item_id))


@wires_it
def test_no_transaction_is_begun_when_time_is_running_out(world: World) -> None:
    item_id = world.link(transactions=150)
    broken = min(world.plaid.truth(item_id))
    world.plaid.corrupt_row(item_id, broken, "amount a text")
    handle_with(world, seconds_after_a_page=15)
    assert world.rows(item_id) == {}
    assert world.quarantined(item_id) == []
    assert "writing_since" not in world.item(item_id)
    assert world.item(item_id)["failure_code"] == "out_of_time"
    world.attempt_due(item_id)
    world.assert_exact(item_id, except_for=[broken])
    assert len(world.quarantined(item_id)) == 1


# ---- pulls that are not needed, and one that is


def test_a_full_resync_rewrites_no_row_that_did_not_change(world: World) -> None:
    item_id = world.synced(transactions=40)
    before = world.rows(item_id)
    changed = min(before)
    world.plaid.modify(item_id, changed, name="changed")
    world.set_attribute(item_id, "cursor", {"S": FOREIGN_CURSOR})
    world.sync(item_id)
    world.assert_exact(item_id)
    after = world.rows(item_id)
    assert {key for key in after if after[key] != before[key]} == {changed}


@strikes_a_call
def test_rows_of_a_restarted_pagination_are_discarded(world: World) -> None:
    """A row of the first page is gone before the pagination starts again, and no later page says so."""
    item_id = world.synced(transactions=5)
    added = world.plaid.add(item_id, 600)
    world.enqueue(item_id)
    records = world.receive()

    def mutate() -> None:
        for transaction_id in added[:20]:
            world.plaid.remove(item_id, transaction_id)
        world.plaid.force_mutation(item_id)

    with asleep_at(2, mutate, SYNC) as sleep:
        assert world.handle(records) == set()
    assert sleep.struck
    world.assert_exact(item_id)


# ---- two workers


@strikes_a_call
def test_of_two_workers_that_claim_at_once_one_claims_again(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()

    with asleep_at(1, lambda: world.retry(records), "UpdateItem") as sleep:
        result = process(world, records)
    assert sleep.struck
    assert [report.outcome for report in result.reports.values()] == [Outcome.COMMITTED]
    assert world.item(item_id)["generation"] == 2
    world.assert_exact(item_id)


@strikes_a_call
def test_a_failure_of_a_superseded_attempt_is_ignored(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()
    world.plaid.inject_fault(SYNC, "ITEM_LOGIN_REQUIRED")

    with asleep_at(1, lambda: world.retry(records), "TransactWriteItems") as sleep:
        result = process(world, records)
    assert sleep.struck
    assert [report.outcome for report in result.reports.values()] == [Outcome.SUPERSEDED]
    assert result.failed_message_ids == []
    assert world.item(item_id)["state"] == "active"
    world.assert_exact(item_id)


# ---- messages


@strikes_a_call
@pytest.mark.parametrize("operation", ["GetSecretValue", "Decrypt"])
def test_a_service_that_can_not_be_reached_is_a_failure_of_the_item(world: World, operation: str) -> None:
    item_id = world.link(transactions=5)
    with unreachable(operation, before=True):
        assert world.handle(world.receive()) == set()
    assert "failing_since" in world.item(item_id)
    world.attempt_due(item_id)
    world.assert_exact(item_id)


@strikes_a_call
@pytest.mark.parametrize(
    ("operation", "cause"),
    [("DynamoDB_20120810.GetItem", "accounts"), ("UpdateItem", "request"), ("TransactWriteItems", "request")],
)
def test_messages_return_where_nothing_can_be_recorded(world: World, operation: str, cause: str) -> None:
    item_id = world.link(transactions=5)
    world.enqueue(item_id, cause)
    records = world.receive()
    with unreachable(operation, before=True):
        failed = world.handle(records)
    assert failed == ids(records)
    assert world.rows(item_id) == {}
    world.drain()
    world.assert_exact(item_id)


@strikes_a_call
def test_a_visibility_that_can_not_be_changed_fails_nothing(world: World) -> None:
    item_id = world.link(transactions=5)
    with unreachable("ChangeMessageVisibilityBatch", before=True):
        assert world.handle(world.receive()) == set()
    assert world.waiting() == 0
    world.assert_exact(item_id)


@reads_the_logs
def test_the_text_of_a_bug_is_not_logged(world: World, output: Callable[[], str]) -> None:
    item_id = world.link(transactions=5)
    world.set_attribute(item_id, "generation", {"S": "the user's business"})
    records = world.receive()
    assert world.handle(records) == ids(records)
    text = output()
    assert "UnreadableItemError" in text
    assert "item_rows.py" in text
    assert "business" not in text
    world.set_attribute(item_id, "generation", {"N": "0"})


# ---- linking


@strikes_a_call
def test_an_item_that_was_undone_since_it_was_found_is_not_brought_back(world: World) -> None:
    token = world.plaid.create_public_token()
    item_id = json.loads(world.post_items({"public_token": token})["body"])["item_id"]

    def undo() -> None:
        world.stack.client("dynamodb").delete_item(TableName=world.stack.items_table, Key={"item_id": {"S": item_id}})

    with asleep_at(1, undo, "GetItem") as sleep:
        answer = world.post_items({"public_token": token})
    assert sleep.struck
    assert json.loads(answer["body"])["code"] == "INVALID_PUBLIC_TOKEN"
    assert world.item(item_id) == {}
