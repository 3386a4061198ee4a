"""What the engine takes care of beside the protocol's own story: time, siblings, bugs, and what others do meanwhile."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.core.error_codes import FailureClass
from plaid_sync.core.sync.sync_job import Outcome

from local.plaid import Phase
from tests.component.crashes import asleep_at, unreachable
from tests.component.functions import lambda_context, wired
from tests.component.inside import function, reads_the_logs, strikes_a_call, wires_it
from tests.component.test_sync import FOREIGN_CURSOR

if TYPE_CHECKING:
    from plaid_sync.core.sync.batch_result import BatchResult

    from tests.component.world import Record, World

SYNC = "/transactions/sync"


def process(world: World, records: list[Record]) -> BatchResult:
    """Work through a batch and return what became of it, of which Lambda is told only a part."""
    result: BatchResult = wired(world, "sync").processor.process(records, lambda: 300.0)
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
    assert {one["itemIdentifier"] for one in failed} == ids(records)
    return failed


@wires_it
def test_no_page_is_asked_for_when_time_is_running_out(world: World) -> None:
    item_id = world.link(transactions=600)
    assert handle_with(world, seconds_after_a_page=75)
    assert world.plaid.calls[SYNC] == 1
    assert world.rows(item_id) == {}
    world.drain()
    world.assert_exact(item_id)


@wires_it
def test_no_transaction_is_begun_when_time_is_running_out(world: World) -> None:
    item_id = world.link(transactions=150)
    assert handle_with(world, seconds_after_a_page=15)
    assert world.rows(item_id) == {}
    assert "writing_since" not in world.item(item_id)
    world.drain()
    world.assert_exact(item_id)


@wires_it
def test_nothing_is_kept_when_time_is_running_out(world: World) -> None:
    item_id = world.link(transactions=5)
    world.plaid.corrupt_row(item_id, min(world.plaid.truth(item_id)), "amount a text")
    assert handle_with(world, seconds_after_a_page=15)
    assert world.quarantined(item_id) == []
    world.drain()
    assert len(world.quarantined(item_id)) == 1


# ---- pulls that are not needed, and one that is


def test_a_full_resync_rewrites_no_row_that_did_not_change(world: World) -> None:
    item_id = world.link(transactions=40)
    world.drain()
    before = world.rows(item_id)
    changed = min(before)
    world.plaid.modify(item_id, changed, name="changed")
    world.set_attribute(item_id, "cursor", {"S": FOREIGN_CURSOR})
    world.trigger(item_id)
    world.drain()
    world.assert_exact(item_id)
    after = world.rows(item_id)
    assert {key for key in after if after[key] != before[key]} == {changed}


def test_a_failure_that_passes_does_not_cost_the_whole_history(world: World) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    world.plaid.reset_calls()
    world.plaid.inject_fault(SYNC, "INTERNAL_SERVER_ERROR")
    world.trigger(item_id)
    assert len(world.handle(world.receive())) == 1
    assert world.plaid.calls[SYNC] == 1


@wires_it
def test_a_mutation_that_may_yet_end_does_not_cost_the_whole_history(world: World) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    world.plaid.add(item_id)
    world.plaid.force_mutation(item_id, 10_000, anywhere=True)
    world.trigger(item_id)
    result = process(world, world.receive())
    assert [failure.code for failure in result.failures] == ["mutation_persists"]
    world.drain()
    world.assert_exact(item_id)


@strikes_a_call
def test_what_a_void_pagination_held_is_forgotten(world: World) -> None:
    """A row of the first page is gone before the pagination starts again, and nobody says so any more."""
    item_id = world.link(transactions=5)
    world.drain()
    added = world.plaid.add(item_id, 600)
    world.trigger(item_id)
    records = world.receive()

    def mutate() -> None:
        for transaction_id in added[:20]:
            world.plaid.remove(item_id, transaction_id)
        world.plaid.force_mutation(item_id)

    with asleep_at(2, mutate, SYNC) as sleep:
        assert world.handle(records) == set()
    assert sleep.struck
    world.assert_exact(item_id)


def test_the_first_sync_asks_for_two_years_where_plaid_would_give_three_months(world: World) -> None:
    item_id = world.link(ready=False, initialize_at_link=False, transactions=400, days=730)
    world.drain()
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.trigger(item_id)
    world.drain()
    assert len(world.live(item_id)) > 300  # in three months there are about fifty
    world.assert_exact(item_id)


# ---- two workers


@strikes_a_call
def test_of_two_workers_that_claim_at_once_one_gives_up(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()

    def other() -> None:
        world.redeliver(records)
        world.drain()

    with asleep_at(1, other, "UpdateItem") as sleep:
        result = process(world, records)
    assert sleep.struck
    assert [failure.code for failure in result.failures] == ["item_changed_while_claiming"]
    assert set(result.failed_message_ids) == ids(records)
    world.assert_exact(item_id)


@strikes_a_call
def test_a_superseded_attempt_is_told_from_a_bug(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()

    def successor() -> None:
        world.redeliver(records)
        world.drain()

    with asleep_at(1, successor, "TransactWriteItems") as sleep:
        result = process(world, records)
    assert sleep.struck
    assert [report.outcome for report in result.reports.values()] == [Outcome.SUPERSEDED]
    assert set(result.failed_message_ids) == ids(records)
    assert [(failure.failure_class, failure.bug) for failure in result.failures] == [(FailureClass.RETRY, None)]
    world.assert_exact(item_id)


@strikes_a_call
def test_trouble_met_by_a_superseded_attempt_is_nobodys(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()
    world.plaid.inject_fault(SYNC, "ITEM_LOGIN_REQUIRED")

    def successor() -> None:
        world.redeliver(records)
        world.drain()

    with asleep_at(1, successor, "TransactWriteItems") as sleep:
        result = process(world, records)
    assert sleep.struck
    assert [report.outcome for report in result.reports.values()] == [Outcome.SUPERSEDED]
    assert set(result.failed_message_ids) == ids(records)
    assert world.item(item_id)["status"] == "active"
    world.assert_exact(item_id)


# ---- messages


@wires_it
def test_what_passes_by_itself_is_no_bug(world: World) -> None:
    world.link(transactions=5)
    world.plaid.inject_fault(SYNC, drop="before")
    result = process(world, world.receive())
    assert [(failure.failure_class, failure.bug) for failure in result.failures] == [(FailureClass.RETRY, None)]


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
    world.redeliver(records)
    world.drain()
    world.assert_exact(item_id)


def test_all_messages_of_a_failed_item_come_back_together(world: World) -> None:
    item_id = world.link(transactions=5)
    world.trigger(item_id)
    world.plaid.inject_fault(SYNC, "INTERNAL_SERVER_ERROR")
    records = world.receive()
    assert len(world.handle(records)) == 2
    assert ids(world.receive()) == ids(records)


@strikes_a_call
def test_messages_that_can_not_be_postponed_still_come_back(world: World) -> None:
    broken, healthy = world.link(transactions=5), world.link(transactions=5)
    world.plaid.inject_fault(SYNC, "INTERNAL_SERVER_ERROR", item_id=broken)
    records = world.receive()
    with unreachable("ChangeMessageVisibilityBatch", before=True):
        failed = world.handle(records)
    assert failed == ids([record for record in records if broken in record["body"]])
    world.assert_exact(healthy)


def test_a_message_that_nobody_can_read_fails_no_other(world: World) -> None:
    send_nonsense(world)
    healthy = world.link(transactions=5)
    records = world.receive()
    assert len(records) == 2
    assert world.handle(records) == set()
    world.assert_exact(healthy)
    assert len(world.dead_letters()) == 1


@strikes_a_call
def test_a_message_that_is_parked_twice_is_parked_once(world: World) -> None:
    send_nonsense(world)
    records = world.receive()
    with unreachable("SendMessage", before=False):
        assert world.handle(records) == ids(records)
    world.redeliver(records)
    world.drain()
    assert [message["Body"] for _ in range(3) for message in world.dead_letters()] == ["not json"]


def send_nonsense(world: World) -> None:
    world.stack.client("sqs").send_message(
        QueueUrl=world.stack.sync_queue_url,
        MessageBody="not json",
        MessageGroupId="strangers",
        MessageDeduplicationId=f"{world.plaid.secret}-{world.server.base_url}",
    )


@reads_the_logs
def test_the_text_of_a_bug_is_not_logged(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (handler,) = function("sync").logger.handlers
    monkeypatch.setattr(handler, "stream", sys.stdout)  # it holds the one of the test that imported it
    item_id = world.link(transactions=5)
    world.set_attribute(item_id, "generation", {"S": "Nobody's business"})
    records = world.receive()
    assert world.handle(records) == ids(records)
    output = capsys.readouterr().out
    assert "ValueError" in output
    assert "item_format.py" in output
    assert "business" not in output


def test_of_a_webhook_that_nests_deeply_only_the_codes_are_queued(world: World) -> None:
    codes = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE"}
    document = json.dumps(codes | {"item_id": "item-1", "nested": None})
    body = document.replace("null", "[" * 400 + "]" * 400).encode()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    (record,) = world.receive()
    assert json.loads(record["body"])["webhook"] == codes


# ---- linking


def problem_code(answer: dict[str, Any]) -> str:
    code: str = json.loads(answer["body"])["code"]
    return code


@strikes_a_call
def test_an_item_of_which_nothing_can_be_found_out_is_removed(world: World) -> None:
    token = world.plaid.create_public_token()
    item_id = world.plaid.public_tokens[token].item.item_id
    with unreachable("TransactWriteItems", before=True):
        answer = world.post_items({"public_token": token})
    assert problem_code(answer) == "link_undone"
    assert world.plaid.item(item_id).removed


@strikes_a_call
def test_an_item_that_was_undone_since_it_was_found_is_not_brought_back(world: World) -> None:
    token = world.plaid.create_public_token()
    item_id = json.loads(world.post_items({"public_token": token})["body"])["item_id"]

    def undo() -> None:
        world.stack.client("dynamodb").delete_item(TableName=world.stack.items_table, Key={"item_id": {"S": item_id}})

    with asleep_at(1, undo, "GetItem") as sleep:
        answer = world.post_items({"public_token": token})
    assert sleep.struck
    assert problem_code(answer) == "INVALID_PUBLIC_TOKEN"
    assert world.item(item_id) == {}
