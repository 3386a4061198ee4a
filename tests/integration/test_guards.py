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


def handle_with(world: World, seconds_after_a_page: int) -> list[dict[str, str]]:
    """Handle what is in the queue; once a page was answered there are only so many seconds left."""
    context = lambda_context()
    context.get_remaining_time_in_millis = lambda: 1000 * (seconds_after_a_page if world.plaid.calls[SYNC] else 300)
    records = world.receive()
    failed: list[dict[str, str]] = wired(world, "sync").lambda_handler({"Records": records}, context)[
        "batchItemFailures"
    ]
    assert {failure["itemIdentifier"] for failure in failed} == ids(records)
    return failed


@wires_it
def test_no_page_is_requested_when_time_is_running_out(world: World) -> None:
    item_id = world.link(transactions=600)
    assert handle_with(world, seconds_after_a_page=75)
    assert world.plaid.calls[SYNC] == 1
    assert world.rows(item_id) == {}
    world.drain()
    world.assert_exact(item_id)


@wires_it
def test_no_transaction_is_begun_when_time_is_running_out(world: World) -> None:
    item_id = world.link(transactions=150)
    broken = min(world.plaid.truth(item_id))
    world.plaid.corrupt_row(item_id, broken, "amount a text")
    assert handle_with(world, seconds_after_a_page=15)
    assert world.rows(item_id) == {}
    assert world.quarantined(item_id) == []
    assert "writing_since" not in world.item(item_id)
    world.drain()
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


@wires_it
def test_a_mutation_that_may_yet_end_does_not_cost_the_whole_history(world: World) -> None:
    item_id = world.synced(transactions=5)
    world.plaid.add(item_id)
    world.plaid.force_mutation(item_id, 10_000, anywhere=True)
    world.enqueue(item_id)
    result = process(world, world.receive())
    assert [failure.code for failure in result.failures] == ["mutation_persists"]
    world.drain()
    world.assert_exact(item_id)


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
def test_of_two_workers_that_claim_at_once_one_retries_later(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()

    with asleep_at(1, lambda: world.retry(records), "UpdateItem") as sleep:
        result = process(world, records)
    assert sleep.struck
    assert [failure.code for failure in result.failures] == ["item_modified_concurrently"]
    assert set(result.failed_message_ids) == ids(records)
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
    assert set(result.failed_message_ids) == ids(records)
    assert world.item(item_id)["state"] == "active"
    world.assert_exact(item_id)


# ---- messages


@strikes_a_call
@pytest.mark.parametrize(
    "operation", ["GetSecretValue", "Decrypt", "DynamoDB_20120810.GetItem", "UpdateItem", "TransactWriteItems"]
)
def test_a_service_that_can_not_be_reached_costs_a_retry_and_nothing_else(world: World, operation: str) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()
    with unreachable(operation, before=True):
        failed = world.handle(records)
    assert failed == ids(records)
    assert world.rows(item_id) == {}
    world.retry(records)
    world.assert_exact(item_id)


def test_all_messages_of_a_failed_item_come_back_together(world: World) -> None:
    item_id = world.link(transactions=5)
    world.enqueue(item_id)
    world.plaid.inject_fault(SYNC, "INTERNAL_SERVER_ERROR")
    records = world.receive()
    assert len(world.handle(records)) == 2
    assert ids(world.receive()) == ids(records)


@strikes_a_call
def test_messages_whose_visibility_can_not_be_changed_still_come_back(world: World) -> None:
    broken, healthy = world.link(transactions=5), world.link(transactions=5)
    world.plaid.inject_fault(SYNC, "INTERNAL_SERVER_ERROR", item_id=broken)
    records = world.receive()
    with unreachable("ChangeMessageVisibilityBatch", before=True):
        failed = world.handle(records)
    assert failed == ids([record for record in records if broken in record["body"]])
    world.assert_exact(healthy)


@reads_the_logs
def test_the_text_of_a_bug_is_not_logged(world: World, output: Callable[[], str]) -> None:
    item_id = world.link(transactions=5)
    world.set_attribute(item_id, "generation", {"S": "the user's business"})
    records = world.receive()
    assert world.handle(records) == ids(records)
    text = output()
    assert "ValueError" in text
    assert "item_rows.py" in text
    assert "business" not in text


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
