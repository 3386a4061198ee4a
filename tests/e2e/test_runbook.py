"""The runbook, rehearsed: each fault is provoked on the deployed stack, its alarm rings, the steps help, and it clears.

Where an alarm waits for several periods, the test records what would be measured by then. Everything else is real.
"""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.clock import format_timestamp

from local.plaid import Phase, utc_now
from local.stack import LocalStackError
from local.stack.deploy import STACK_NAME
from tests.e2e.rehearsal import A_PERIOD, Rehearsal, rehearsal
from tests.integration.harness import LONG_AGO

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = ("webhook", "sync", "items", "changes", "sweep", "audit", "outbound")
THROTTLED = ("webhook", "sync", "items")
REQUIRED = {"SYNC_QUEUE_URL", "ITEMS_TABLE", "EVENT_BUS_NAME", "OUTBOUND_QUEUE_URL"}
HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    with rehearsal(tmp_path_factory.mktemp("rehearsal")) as stage:
        yield stage


@pytest.fixture(scope="module")
def item(stage: Rehearsal) -> str:
    return stage.link()


def update(item_id: str) -> bytes:
    webhook = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": item_id}
    return json.dumps(webhook, indent=2).encode()


def deliver(stage: Rehearsal, item_id: str) -> int:
    body = update(item_id)
    return stage.application.post_webhook(body, stage.plaid.sign(body)).status


# ---- the data


def test_a_stale_item_is_named_and_synced(stage: Rehearsal, item: str) -> None:
    stage.store(item, fresh_at={"S": LONG_AGO})
    stage.sweep()
    stage.await_alarm("items-stale")
    status = stage.cli.json("status", code=1)
    assert status["stalest"][0]["item_id"] == item
    stage.cli.json("sync", item)
    stage.wait_until(lambda: _fresh(stage, item))
    assert stage.clears_with_the_next_sweep("items-stale")


def _fresh(stage: Rehearsal, item_id: str) -> bool:
    answer = stage.stack.client("dynamodb").get_item(TableName=stage.stack.items_table, Key={"item_id": {"S": item_id}})
    return bool(answer["Item"]["fresh_at"]["S"] != LONG_AGO)


@pytest.mark.parametrize(
    ("code", "alarm", "hours"),
    [("INTERNAL_SERVER_ERROR", "items-failing", 3), ("INSTITUTION_DOWN", "banks-failing", 25)],
)
def test_an_outage_is_recorded_on_its_items_and_no_message_is_dead_lettered(
    stage: Rehearsal, code: str, alarm: str, hours: int
) -> None:
    items = [stage.link() for _ in range(3)]
    stage.plaid.inject_fault("/transactions/sync", code, times=100_000)
    for item_id in items:
        stage.plaid.evolve(item_id, steps=4)
        stage.sync(item_id)
    stage.wait_until(lambda: set(items) <= _failing(stage))
    stage.wait_until(lambda: stage.depth(stage.stack.sync_queue_url) == 0)
    assert stage.depth(stage.stack.dead_letter_queue_url) == 0
    since = format_timestamp(utc_now() - timedelta(hours=hours))
    stage.store(items[0], failing_since={"S": since})
    stage.sweep()
    stage.await_alarm(alarm)
    (first, *_) = stage.cli.json("items", "--failing")["items"]
    assert (first["item_id"], first["failing"]["code"], first["failing"]["since"]) == (items[0], code, since)
    assert any(f"Runbook: {alarm}" in finding["fix"] for finding in stage.cli.json("status", code=1)["findings"])
    shown = stage.cli.json("item", items[0], code=1)
    assert (shown["item"]["failing"]["code"], shown["problems"][0]["fix"]) == (code, f"Runbook: {alarm}")
    stage.plaid.clear_faults()
    stage.let_time_pass_until(lambda: all(stage.exact(item_id) for item_id in items) and not _failing(stage))
    assert stage.clears_with_the_next_sweep(alarm)


def _failing(stage: Rehearsal) -> set[str]:
    return {item["item_id"] for item in stage.cli.json("items", "--failing")["items"]}


def test_drift_is_found_shown_and_repaired(stage: Rehearsal, item: str) -> None:
    (transaction_id, *_) = sorted(stage.plaid.truth(item))
    key = {"item_id": {"S": item}, "transaction_id": {"S": transaction_id}}
    stage.stack.client("dynamodb").update_item(
        TableName=stage.stack.transactions_table,
        Key=key,
        UpdateExpression="SET amount = :wrong",
        ExpressionAttributeValues={":wrong": {"N": "987654.32"}},
    )
    stage.stack.invoke("audit", {})
    stage.await_alarm("drift-found")
    (found,) = stage.cli.json("audit", item, code=1)["reports"]
    assert [(row["transaction_id"], row["field"]) for row in found["differences"]] == [(transaction_id, "amount")]
    stage.cli.json("audit", item, "--repair", "--yes")
    assert stage.exact(item)
    assert stage.clears("drift-found")


def test_a_broken_entry_is_quarantined_and_its_row_healed_by_a_resync(stage: Rehearsal, item: str) -> None:
    (broken, *_) = sorted(stage.plaid.truth(item))
    stage.plaid.corrupt_row(item, broken, "amount a text")
    stage.plaid.modify(item, broken, name="Changed")
    assert deliver(stage, item) == 200
    stage.await_alarm("rows-quarantined")
    assert "1 entry in quarantine" in stage.cli.text("item", item, code=1)
    stage.plaid.restore_row(item, broken)
    stage.cli.json("resync", item, "--yes")
    stage.wait_until(lambda: stage.exact(item))
    assert stage.clears("rows-quarantined")


def test_a_cursor_that_plaid_refuses_twice_in_a_day_is_reported(stage: Rehearsal) -> None:
    item = stage.link()
    stage.store(item, cursor_reset_at={"S": format_timestamp(utc_now() - timedelta(hours=2))})
    stage.plaid.evolve(item, steps=3)
    stage.plaid.inject_fault("/transactions/sync", "INVALID_FIELD")
    stage.sync(item)
    stage.await_alarm("cursor-reset-repeated")
    stage.wait_until(lambda: stage.exact(item))
    assert "cursor reset" in stage.cli.text("item", item)
    assert stage.clears("cursor-reset-repeated")


def test_a_history_that_is_never_complete_is_decided_and_reported(stage: Rehearsal) -> None:
    item = stage.link()
    stage.store(item, reconcile={"BOOL": True}, inconclusive_pulls={"N": "3"}, history_complete={"BOOL": False})
    stage.plaid.items[item].phase = Phase.INITIAL
    stage.sync(item)
    stage.await_alarm("reconcile-decided")
    stage.plaid.items[item].phase = Phase.HISTORICAL
    stage.cli.json("resync", item, "--yes")
    stage.wait_until(lambda: stage.exact(item))
    assert stage.clears("reconcile-decided")


def test_an_item_in_a_state_of_a_newer_version_is_reported_and_not_synced(stage: Rehearsal, item: str) -> None:
    stage.store(item, state={"S": "a_newer_state"})
    stage.plaid.evolve(item, steps=3)
    stage.sync(item)
    stage.await_alarm("unknown-states")
    assert stage.cli.json("item", item, code=1)["item"]["state"] == "a_newer_state"
    assert item in {listed["item_id"] for listed in stage.cli.json("items")["items"]}
    assert stage.cli.json("status", code=1)["items"]["a_newer_state"] == 1
    assert not stage.exact(item)
    stage.store(item, state={"S": "active"})
    stage.sync(item)
    stage.wait_until(lambda: stage.exact(item))
    assert stage.clears("unknown-states")


def test_a_removal_that_plaid_refuses_is_finished_when_it_no_longer_does(stage: Rehearsal) -> None:
    item_id = stage.link()
    stage.plaid.inject_fault("/item/remove", "INTERNAL_SERVER_ERROR", times=10_000)
    stage.cli.json("remove", item_id, "--transactions", "erase", "--yes")
    for hours in range(6):
        stage.put("RemovalsIncomplete", 1, ago=-(hours + 0.5) * HOUR)
    with stage.stack.alarms_later(6 * HOUR):
        stage.await_alarm("removals-incomplete")
    assert [item["item_id"] for item in stage.cli.json("items", "--state", "removed")["items"]] == [item_id]
    stage.plaid.clear_faults()
    stage.cli.json("remove", item_id, "--transactions", "erase", "--yes")
    stage.let_time_pass_until(lambda: stage.cli.json("item", item_id)["item"]["removal"].get("completed_at"))
    stage.sweep()
    assert stage.clears("removals-incomplete", after=0)


def test_an_item_that_could_be_neither_stored_nor_removed_is_reported(stage: Rehearsal) -> None:
    public_token = stage.plaid.create_public_token(transactions=5)
    stage.plaid.inject_fault("/item/remove", "INTERNAL_SERVER_ERROR", times=100)
    with stage.denied("items", "dynamodb:UpdateItem"):
        status, answer = stage.application.request("POST", "/items", {"public_token": public_token})
    assert (status, answer["code"]) == (500, "item_orphaned")
    stage.await_alarm("items-orphaned")
    assert "item orphaned at plaid" in stage.stack.logs("items")
    stage.plaid.clear_faults()
    assert stage.clears("items-orphaned")


def test_an_exchange_whose_answer_is_lost_is_reported(stage: Rehearsal) -> None:
    public_token = stage.plaid.create_public_token(transactions=5)
    stage.plaid.inject_fault("/item/public_token/exchange", drop="after")
    status, answer = stage.application.request("POST", "/items", {"public_token": public_token})
    assert (status, answer["code"]) == (503, "exchange_unknown")
    stage.await_alarm("exchange-unknown")
    assert stage.clears("exchange-unknown")


# ---- in: webhooks and requests


def test_a_flood_of_forgeries_rings_and_leads_to_nothing(stage: Rehearsal, item: str) -> None:
    body = update(item)
    forged = stage.plaid.forge(body, "none")
    assert {stage.application.post_webhook(body, forged).status for _ in range(50)} == {401}
    stage.await_alarm("webhooks-rejected")
    assert stage.clears("webhooks-rejected")


def test_a_day_without_a_webhook_rings_until_the_next_one(stage: Rehearsal, item: str) -> None:
    deliver(stage, item)
    for hours in range(26):  # the sweep goes on, and finds the Item linked
        for state, number in (("active", 1), ("expiring", 0)):
            stage.put("Items", number, ago=-(hours + 0.5) * HOUR, service=STACK_NAME, state=state)
    with stage.stack.alarms_later(DAY + 2 * HOUR):
        assert stage.rings("webhooks-silent")
    assert stage.cli.json("doctor", code=1)["checks"]
    stage.cli.json("refresh", item)
    stage.sweep()
    assert stage.clears("webhooks-silent", after=0)


def test_a_queue_that_takes_nothing_shows_as_5xx(stage: Rehearsal, item: str) -> None:
    with stage.denied("webhook", "sqs:SendMessage"):
        assert [deliver(stage, item) for _ in range(5)] == [503] * 5
    stage.await_alarm("api-5xx")
    assert deliver(stage, item) == 200
    assert stage.clears("api-5xx")


# ---- the queue


def test_a_pause_that_was_forgotten_is_noticed_and_ended(stage: Rehearsal, item: str) -> None:
    stage.cli.json("pause", "--yes")
    stage.plaid.evolve(item, steps=3)
    stage.sync(item)
    with stage.queue_clock.at(stage.queue_clock.ahead + 1000):
        stage.await_alarm("message-too-old")
    for period in (1, 2, 3):
        queue = stage.stack.sync_queue_url.rpartition("/")[2]
        stage.put("ApproximateNumberOfMessagesVisible", 1, ago=-A_PERIOD * period, QueueName=queue)
    with stage.stack.alarms_later(3 * A_PERIOD):
        stage.await_alarm("sync-stopped")
    status = stage.cli.json("status", code=1)
    assert status["paused"]
    assert re.match(r"Money data is NOT fresh \(0 of \d+ Items behind so far\): syncing is paused", status["summary"])
    stage.cli.json("resume")
    stage.wait_until(lambda: stage.exact(item))
    assert stage.clears("sync-stopped", after=0)
    assert stage.clears("message-too-old")


def test_a_backlog_is_one_when_half_of_all_messages_wait(stage: Rehearsal, item: str) -> None:
    stage.cli.json("pause", "--yes")
    for number in range(5):
        with stage.queue_clock.at(-400.0 - number):
            stage.sync(item)
    stage.cli.json("resume")
    stage.wait_until(lambda: len(stage.measured("MessageWait", at_least=400_000)) >= 5)
    for period in (1, 2, 3):
        stage.put("MessageWait", 400_000, ago=-A_PERIOD * period)
    with stage.stack.alarms_later(3 * A_PERIOD):
        stage.await_alarm("sync-backlog")
    assert stage.clears("sync-backlog", after=5 * A_PERIOD)


def test_what_is_dead_lettered_is_listed_and_replayed(stage: Rehearsal, item: str) -> None:
    """Five workers died of an Item, a second time, and its message was received as often; another is no message."""
    stage.cli.json("pause", "--yes")
    stage.plaid.evolve(item, steps=4)
    died = {"failure_code": {"S": "worker_died"}, "failing_since": {"S": "2026-01-01T00:00:00.000Z"}}
    stage.store(item, unfinished_attempts={"N": "5"}, **died)
    stage.sync(item)
    sqs, url = stage.stack.client("sqs"), stage.stack.sync_queue_url
    for _ in range(4):
        sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)
    sqs.send_message(QueueUrl=url, MessageBody="?", MessageGroupId="not-an-item", MessageDeduplicationId="not-json")
    stage.cli.json("resume")
    stage.await_alarm("dead-letters")
    stage.wait_until(lambda: stage.depth(stage.stack.dead_letter_queue_url) == 2)
    groups = {group["cause"]: group["items"] for group in stage.cli.json("dlq", "list", code=1)["groups"]}
    assert groups == {"worker_died": [item], "malformed: the body is not JSON": []}
    assert stage.cli.json("item", item, code=1)["item"]["failing"]["code"] == "worker_died"
    replayed = stage.cli.json("dlq", "replay", "--yes", code=1)
    assert (replayed["replayed"], replayed["left"], len(replayed["malformed"])) == (1, 1, 1)
    stage.wait_until(lambda: stage.exact(item))
    assert item not in _failing(stage)
    sqs.purge_queue(QueueUrl=stage.stack.dead_letter_queue_url)
    assert stage.clears("dead-letters")


# ---- syncs, and what they depend on


def test_a_lasting_failure_of_all_syncs_rings(stage: Rehearsal, item: str) -> None:
    for failures, ago in ((25, A_PERIOD), (25, 2 * A_PERIOD), (24, 1)):
        stage.put("SyncFailed", failures, ago=ago)
    stage.plaid.inject_fault("/transactions/sync", "INTERNAL_SERVER_ERROR", times=100)
    stage.sync(item)
    stage.await_alarm("sync-failing")
    stage.plaid.clear_faults()
    stage.let_time_pass_until(lambda: item not in _failing(stage))
    assert stage.clears("sync-failing")


def test_a_secret_that_was_rotated_at_plaid_alone_rings_until_it_is_here(stage: Rehearsal, item: str) -> None:
    known, stage.plaid.secret = stage.plaid.secret, "rotated-at-plaid"
    stage.plaid.evolve(item, steps=3)
    stage.sync(item)
    stage.await_alarm("plaid-credentials-refused")
    checks = {check["check"]: check for check in stage.cli.json("doctor", code=1)["checks"]}
    assert checks["Plaid's keys: accepted"]["result"] == "failed"
    assert "INVALID_API_KEYS" in checks["Plaid's keys: accepted"]["what"]
    stage.stack.set_plaid_credentials(stage.plaid.client_id, stage.plaid.secret)
    stage.let_time_pass_until(lambda: stage.exact(item))
    assert stage.clears("plaid-credentials-refused")
    stage.plaid.secret = known
    stage.stack.set_plaid_credentials(stage.plaid.client_id, known)
    for name in ("webhook", "sync", "items"):
        stage.stack.set_environment(name, {})  # new processes, which remember no other secret


def test_a_sweep_that_does_not_run_is_missed(stage: Rehearsal) -> None:
    queue = stage.stack.sync_queue_url.rpartition("/")[2]
    for period in (1, 2, 3):
        stage.put("ApproximateNumberOfMessagesVisible", 0, ago=10 - A_PERIOD * period, QueueName=queue)
    with stage.stack.alarms_later(3 * A_PERIOD):
        assert stage.rings("sweep-not-run")
    stage.sweep()
    assert stage.clears("sweep-not-run", after=0)


def test_an_event_that_failed_to_publish_is_published_later(stage: Rehearsal) -> None:
    with stage.denied("changes", "events:PutEvents"):
        item_id = stage.link()
        stage.await_alarm("publish-failed")
        assert ("ItemLinked", item_id) not in _published(stage)
    stage.wait_until(lambda: ("ItemLinked", item_id) in _published(stage))
    assert stage.clears("publish-failed")


def test_an_event_that_is_never_accepted_waits_for_an_operator_who_publishes_it(stage: Rehearsal) -> None:
    url, changes = stage.stack.resources.id("FailedEventsQueue"), stage.stack.functions["changes"]
    sqs, events = stage.stack.client("sqs"), stage.stack.client("events")
    stage.stack.set_environment("changes", {"EVENT_BUS_NAME": "no-such-bus"})
    image = {name: {"S": name} for name in ("item_id", "entry_id")} | {"published_events": {"S": "ItemRevoked"}}
    old = {"SequenceNumber": "1", "ApproximateCreationDateTime": time.time() - 3601, "NewImage": image}
    assert stage.stack.invoke("changes", {"Records": [{"dynamodb": old}]}) == {"batchItemFailures": []}
    stage.put("IteratorAge", 3_601_000, ago=1, FunctionName=changes)
    for alarm in ("failed-events", "events-late"):
        stage.await_alarm(alarm)
    stage.stack.set_environment("changes", {"EVENT_BUS_NAME": stage.stack.resources.id("EventBus")})
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    event = json.loads(message["Body"])
    assert event == {"detail-type": "ItemRevoked", "detail": {"item_id": "item_id", "entry_id": "entry_id"}}
    entry = {"DetailType": event["detail-type"], "Detail": json.dumps(event["detail"]), "Source": "plaid-sync-engine"}
    response = events.put_events(Entries=[entry | {"EventBusName": stage.stack.resources.id("EventBus")}])
    assert response["FailedEntryCount"] == 0
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    for alarm in ("failed-events", "events-late"):
        assert stage.clears(alarm)


def test_an_event_that_an_endpoint_refused_for_a_day_is_sent_to_it_later(stage: Rehearsal) -> None:
    sqs, resources = stage.stack.client("sqs"), stage.stack.resources
    url = resources.id("OutboundDeadLetterQueue")
    detail = {"item_id": "item", "at": "2026-01-01T00:00:00.000Z", "entry_id": "entry"}
    event = {"id": "1", "source": "plaid-sync-engine", "detail-type": "ItemActive", "detail": detail}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
    stage.await_alarm("outbound-dead-letters")
    assert stage.cli.run("endpoints", "resend").exit_code == 0
    assert stage.clears("outbound-dead-letters")


def test_a_mapping_that_was_disabled_rings_until_it_is_enabled(stage: Rehearsal, item: str) -> None:
    assert item
    functions, mapping = stage.stack.client("lambda"), stage.stack.resources.id("ChangesFunctionHistory")
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    stage.sweep()
    stage.await_alarm("events-stopped")
    functions.update_event_source_mapping(UUID=mapping, Enabled=True)
    assert stage.clears_with_the_next_sweep("events-stopped")


def test_records_that_even_the_failed_events_queue_does_not_get_ring(stage: Rehearsal) -> None:
    # The emulator retries a record for ever.
    stage.put("DestinationDeliveryFailures", 1, ago=1, FunctionName=stage.stack.functions["changes"])
    stage.await_alarm("events-lost")
    assert stage.clears("events-lost")


def _published(stage: Rehearsal) -> set[tuple[str, str]]:
    lines = (json.loads(line) for line in stage.stack.logs("changes").splitlines() if line.startswith("{"))
    return {(line["detail_type"], line["item_id"]) for line in lines if line.get("message") == "event published"}


# ---- the functions


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_raises_or_is_throttled_rings(stage: Rehearsal, name: str) -> None:
    functions, full_name = stage.stack.client("lambda"), stage.stack.functions[name]
    configuration = functions.get_function_configuration(FunctionName=full_name)
    variable = min(configuration["Environment"]["Variables"].keys() & REQUIRED)
    stage.stack.set_environment(name, {variable: ""})
    with pytest.raises(LocalStackError, match=f"missing environment variables: {variable}"):
        stage.stack.invoke(name, {})
    stage.await_alarm(f"{name}-errors")
    stage.stack.set_environment(name, {variable: configuration["Environment"]["Variables"][variable]})
    assert stage.clears(f"{name}-errors")
    if name in THROTTLED:
        stage.put("Throttles", 1, ago=1, FunctionName=full_name)  # the emulator does not throttle
        stage.await_alarm(f"{name}-throttled")
        assert stage.clears(f"{name}-throttled")


def test_an_audit_that_does_not_run_is_missed(stage: Rehearsal) -> None:
    queue = stage.stack.sync_queue_url.rpartition("/")[2]
    for day in (1, 2, 3):
        stage.put("ApproximateNumberOfMessagesVisible", 0, ago=10 - DAY * (day + 1), QueueName=queue)
    with stage.stack.alarms_later(4 * DAY):
        assert stage.rings("audit-not-run")
    stage.stack.invoke("audit", {})
    assert stage.clears("audit-not-run", after=0)


def test_every_alarm_has_rung_and_cleared(stage: Rehearsal) -> None:
    """Runs last, and says something only where the whole module ran."""
    # Those that roll a version back do not notify: tests/e2e/test_parameters.py.
    alarms = {name for name in stage.stack.alarms() if "-version-" not in name}
    assert (alarms - stage.rung, alarms - stage.cleared) == (set(), set())
