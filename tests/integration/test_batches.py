"""What becomes of each message of a batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.crashes import Crash, asleep_at, killed_at, unreachable
from tests.integration.in_process import strikes_a_call, waits_long
from tests.integration.test_sync import without_cursor

if TYPE_CHECKING:
    from tests.integration.harness import World


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_message_that_can_not_be_dead_lettered_stays_in_the_queue(world: World, *, before: bool) -> None:
    """If only the response is lost, it is dead-lettered twice, and SQS keeps it once."""
    world.stack.client("sqs").send_message(
        QueueUrl=world.stack.sync_queue_url,
        MessageBody="not json",
        MessageGroupId="strangers",
        MessageDeduplicationId=f"{world.plaid.secret}-{before}-{world.server.base_url}",
    )
    records = world.receive()
    with unreachable("SendMessage", before=before):
        assert world.handle(records) == {record["messageId"] for record in records}
    world.retry(records)
    assert [message["Body"] for _ in range(3) for message in world.dead_letters()] == ["not json"]


def test_a_bug_met_by_one_item_does_not_fail_anothers_messages(world: World) -> None:
    broken, healthy = world.link(transactions=5), world.link(transactions=5)
    world.set_attribute(broken, "generation", {"S": "not a number"})
    records = world.receive()
    failed = world.handle(records)
    assert failed == {record["messageId"] for record in records if broken in record["body"]}
    world.assert_exact(healthy)

    # Its record is put right, and it goes on; left as it is, a sample of another test's audit would draw it.
    world.set_attribute(broken, "generation", {"N": "0"})
    world.redeliver([record for record in records if broken in record["body"]])
    world.drain()
    world.assert_exact(broken)


def test_a_pagination_that_does_not_advance_ends_the_attempt(world: World) -> None:
    item_id = world.link(transactions=5)
    stuck = without_cursor(next_cursor="c3R1Y2s=", has_more=True)
    world.plaid.inject_fault("/transactions/sync", status=200, body=stuck, times=50)
    assert world.handle(world.receive()) == set()
    assert world.plaid.calls["/transactions/sync"] == 2
    assert world.item(item_id)["failure_code"] == "cursor_not_advancing"
    world.plaid.clear_faults()
    world.attempt_due(item_id)
    world.assert_exact(item_id)


@strikes_a_call
def test_a_worker_that_wakes_late_and_dies_takes_no_message_with_it(world: World) -> None:
    """The zombie loads and claims after its successor, supersedes it, and dies: its claim set the next attempt."""
    item_id = world.link(transactions=5)
    records = world.receive()

    def zombie() -> None:
        with killed_at(Crash(1, before=True, target="TransactWriteItems")):
            world.invoke("sync", {"Records": records})

    world.redeliver(records)
    again = world.receive()
    with asleep_at(1, zombie, "/transactions/sync"):
        assert world.handle(again) == set()
    assert world.waiting() == 0
    world.attempt_due(item_id)
    world.assert_exact(item_id)


@waits_long
def test_a_throttled_page_is_waited_for_within_the_attempt(world: World) -> None:
    item_id = world.link(transactions=520)
    world.plaid.inject_fault("/transactions/sync", "TRANSACTIONS_SYNC_LIMIT", skip=1, times=3)
    assert world.handle(world.receive()) == set()
    world.assert_exact(item_id)


def post_item_webhook(world: World, item_id: str, code: str, **fields: str) -> None:
    body = json.dumps({"webhook_type": "ITEM", "webhook_code": code, "item_id": item_id} | fields).encode()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200


def test_a_webhook_after_a_banks_failure_is_received_at_once(world: World) -> None:
    """Plaid serves what it has, and reports the bank as down: the Item is retried, and its message group is open."""
    world.plaid.configure(sync_while_login_required=True)
    item_id = world.synced(transactions=5)
    world.plaid.set_item_error(item_id, "INSTITUTION_DOWN", notify=False)
    world.plaid.add(item_id, notify=False)
    post_item_webhook(world, item_id, "ERROR")
    assert world.handle(world.receive()) == set()
    world.assert_exact(item_id, state="degraded")  # the row is there all the same
    assert world.item(item_id)["failure_class"] == "institution_down"
    world.plaid.set_item_error(item_id, None, notify=False)
    post_item_webhook(world, item_id, "LOGIN_REPAIRED")
    assert world.handle(world.receive()) == set()
    world.assert_exact(item_id)
    assert "failing_since" not in world.item(item_id)


@waits_long
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/transactions/sync", "INTERNAL_SERVER_ERROR"),
        ("/transactions/sync", "TRANSACTIONS_SYNC_LIMIT"),
        ("/item/remove", "INTERNAL_SERVER_ERROR"),
        ("/item/remove", "INVALID_API_KEYS"),
    ],
)
def test_an_outage_dead_letters_nothing(world: World, path: str, code: str) -> None:
    item_id = world.synced(transactions=5)
    if removal := path == "/item/remove":
        world.request("DELETE", f"/items/{item_id}")
    else:
        world.plaid.add(item_id)
        world.enqueue(item_id)
    world.plaid.inject_fault(path, code, times=10_000)
    world.drain()
    for _ in range(25):
        assert world.waiting() == 0
        assert world.item(item_id)["failure_code"] == code
        world.attempt_due(item_id)
    assert world.dead_letters() == []
    world.plaid.clear_faults()
    world.attempt_due(item_id)
    assert "failing_since" not in world.item(item_id)
    if removal:
        assert world.plaid.item(item_id).removed
    else:
        world.assert_exact(item_id)
