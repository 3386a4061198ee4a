"""What the functions tell: one id from the request to the rows, and how long it took."""

from __future__ import annotations

import io
import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items import ItemStatus

from local.plaid import SimulatedClock, utc_now
from tests.component.crashes import unreachable
from tests.component.inside import function, steps_the_clock, strikes_a_call
from tests.component.links import history

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.component.artifact import Artifact
    from tests.component.world import World


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(utc_now())


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, artifact: Artifact | None) -> Told:
    if artifact is not None:
        artifact.output()
        return Told(artifact.output)
    logs = io.StringIO()
    (handler,) = function("webhook").logger.handlers  # those of all functions
    monkeypatch.setattr(handler, "stream", logs)

    def output() -> str:
        text = capsys.readouterr().out + logs.getvalue()
        logs.truncate(logs.seek(0))
        return text

    return Told(output)


class Told:
    """Everything that the functions log, and their metrics, as JSON."""

    def __init__(self, output: Callable[[], str]) -> None:
        self._output, self._records = output, list[dict[str, Any]]()

    def records(self) -> list[dict[str, Any]]:
        self._records += map(json.loads, self._output().splitlines())
        return self._records

    def of(self, message: str) -> list[dict[str, Any]]:
        return [record for record in self.records() if record.get("message") == message]

    def metric(self, name: str, *dimensions: str) -> list[float]:
        """Return all values of a metric, as CloudWatch reads them."""
        return [
            value
            for record in self.records()
            for directive in record.get("_aws", {}).get("CloudWatchMetrics", [])
            if {"service", *dimensions} in map(set, directive["Dimensions"])
            and name in {metric["Name"] for metric in directive["Metrics"]}
            for value in (record[name] if isinstance(record[name], list) else [record[name]])
        ]


def deliver(world: World, item_id: str, delay: timedelta = timedelta(0)) -> str:
    """Change something, and have Plaid tell of it; return API Gateway's id of the delivery."""
    world.plaid.evolve(item_id, steps=3)
    body = json.dumps(
        {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": item_id}
    ).encode()
    token, request_id = world.plaid.sign(body), os.urandom(11).hex()
    step(world, delay)
    answer = world.post_webhook(body, token, {"requestContext": {"requestId": request_id}})
    assert answer["statusCode"] == 200
    return request_id


def step(world: World, delay: timedelta) -> None:
    assert isinstance(world.clock, SimulatedClock)
    world.clock.advance(delay)


@steps_the_clock
def test_one_id_leads_from_the_request_to_the_rows(world: World, told: Told) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    first = deliver(world, item_id)
    second = deliver(world, item_id, timedelta(seconds=1))  # the history is in order of time
    assert first != second
    step(world, timedelta(seconds=1))
    world.drain()
    assert [record["correlation_id"] for record in told.of("webhook accepted")] == [first, second]
    assert told.of("item synced")[-1]["correlation_ids"] == f"{first} {second}"
    entries = history(world, item_id)
    assert [entry["correlation_ids"] for entry in entries if entry["kind"] == "webhook"] == [[first], [second]]
    assert entries[-1]["kind"] == "sync"
    assert entries[-1]["correlation_ids"] == [first, second]


def test_a_request_to_the_api_marks_the_sync_that_it_leads_to(world: World, told: Told) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    assert world.request("POST", f"/items/{item_id}/sync")["statusCode"] == 202
    world.drain()
    asked = told.of("request served")[-1]["correlation_id"]
    assert asked
    assert told.of("item synced")[-1]["correlation_ids"] == asked


@steps_the_clock
def test_a_copy_that_took_its_place_still_says_since_when(world: World, told: Told) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    mark = deliver(world, item_id)
    world.plaid.inject_fault("/transactions/sync", "INSTITUTION_DOWN")
    (record,) = world.receive()
    record["attributes"]["ApproximateReceiveCount"] = "12"
    world.handle([record])
    (copy,) = world.receive()
    assert copy["messageId"] != record["messageId"]
    sent = int(record["attributes"]["SentTimestamp"])
    copy["attributes"]["SentTimestamp"] = str(sent + 3_600_000)
    step(world, timedelta(hours=2))
    told.records()
    world.handle([copy])
    assert told.of("item synced")[-1]["correlation_ids"] == mark
    (lag,) = told.metric("SyncLag")
    assert lag > 7_000_000


@steps_the_clock
def test_delay_wait_and_lag_are_told_in_milliseconds(world: World, told: Told) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    told.records().clear()
    deliver(world, item_id, timedelta(seconds=7))
    records = world.receive()
    step(world, timedelta(seconds=60))
    world.handle(records)
    assert 7_000 <= told.metric("WebhookDelay")[0] < 9_000
    assert 60_000 <= told.metric("TriggerWait")[0] < 90_000
    assert 60_000 <= told.metric("SyncLag")[0] < 90_000


def test_a_rejection_is_counted_in_all_and_by_its_reason(world: World, told: Told) -> None:
    assert world.post_webhook(b"{}", None)["statusCode"] == 401
    assert told.metric("WebhookRejected") == [1]
    assert told.metric("WebhookRejected", "reason") == [1]
    assert told.metric("WebhookVerified") == []
    reasons = [record["reason"] for record in told.records() if "reason" in record and "_aws" in record]
    assert reasons == ["missing_header"]


def test_a_webhook_that_can_not_be_queued_is_proven_all_the_same(world: World, told: Told) -> None:
    body = json.dumps({"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": "item"}).encode()
    with world.webhook_queue_gone():
        assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 503
    assert (told.metric("WebhookVerified"), told.metric("WebhookFailed")) == ([1], [1])


def test_calls_to_plaid_are_timed_and_failures_counted_by_class(world: World, told: Told) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    assert len(told.metric("PlaidLatency")) >= 2
    assert told.metric("PlaidErrors") == []
    world.plaid.inject_fault("/transactions/sync", "INSTITUTION_DOWN")
    world.trigger(item_id)
    world.handle(world.receive())
    assert told.metric("PlaidErrors") == told.metric("PlaidErrors", "class") == [1]
    assert told.metric("PlaidCredentialsRefused") == []


def test_refused_keys_are_told_apart(world: World, told: Told) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    world.plaid.inject_fault("/transactions/sync", "INVALID_API_KEYS")
    world.trigger(item_id)
    world.handle(world.receive())
    assert told.metric("PlaidCredentialsRefused") == [1]


@strikes_a_call
@pytest.mark.parametrize(("refused", "runs"), [("GetQueueAttributes", []), ("SendMessage", [1])])
def test_a_sweep_that_can_not_enqueue_tells_how_all_items_are_and_fails(
    world: World, told: Told, refused: str, runs: list[float]
) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    world.set_attribute(item_id, "due_at", {"S": "2026-01-01T00:00:00.000Z"})
    with unreachable(refused, before=True), pytest.raises(RetryableError):
        world.sweep(limit=1)
    for gauge in ("StalestItemAge", "RemovalsUnfinished", "QuarantinedRows"):
        assert len(told.metric(gauge)) == 1
    assert len(told.metric("Items", "state")) == len(ItemStatus)
    assert told.metric("SweepRuns") == runs


def test_rows_that_a_removal_erases_are_counted(world: World, told: Told) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    told.records().clear()
    world.request("DELETE", f"/items/{item_id}", query={"transactions": "erase"})
    world.drain()
    assert told.metric("RowsErased") == [5]


def test_what_nobody_but_the_sweep_has_noticed_counts_as_its_repair(world: World, told: Told) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    repaired = []
    for causes, changes in ((["sweep"], True), (["sweep"], False), (["sweep", "request"], True), (["request"], True)):
        if changes:
            world.plaid.evolve(item_id, steps=3)
        told.records().clear()
        for cause in causes:
            world.trigger(item_id, cause)
        world.drain()
        repaired += told.metric("SweepRepairs")
        world.assert_exact(item_id)
    assert repaired == [1, 0, 0, 0]
