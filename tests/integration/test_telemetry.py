"""Logs and metrics: one id from the request to the rows, and how long it took."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import StateName

from local.plaid import SimulatedClock, utc_now
from tests.integration.crashes import unreachable
from tests.integration.in_process import steps_the_clock, strikes_a_call
from tests.integration.link_flows import history

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.harness import World


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(utc_now())


@pytest.fixture
def telemetry(output: Callable[[], str]) -> Telemetry:
    return Telemetry(output)


class Telemetry:
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
    """Change something, and have Plaid send a webhook; return API Gateway's id of the delivery."""
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
def test_one_id_leads_from_the_request_to_the_rows(world: World, telemetry: Telemetry) -> None:
    item_id = world.synced(transactions=5)
    first = deliver(world, item_id)
    step(
        world, timedelta(seconds=1)
    )  # the history is in order of time: a webhook's is that of its signature, in seconds
    second = deliver(world, item_id)
    assert first != second
    step(world, timedelta(seconds=1))
    world.drain()
    assert [record["correlation_id"] for record in telemetry.of("webhook accepted")] == [first, second]
    assert telemetry.of("item synced")[-1]["correlation_ids"] == f"{first} {second}"
    entries = history(world, item_id)
    assert [entry["kind"] for entry in entries].count("webhook") == 0
    assert entries[-1]["kind"] == "sync"
    assert entries[-1]["causes"] == ["webhook TRANSACTIONS SYNC_UPDATES_AVAILABLE"]
    assert entries[-1]["correlation_ids"] == [first, second]


def test_a_request_to_the_api_marks_the_sync_that_it_leads_to(world: World, telemetry: Telemetry) -> None:
    item_id = world.synced(transactions=5)
    assert world.request("POST", f"/items/{item_id}/sync")["statusCode"] == 202
    world.drain()
    request_id = telemetry.of("request served")[-1]["correlation_id"]
    assert request_id
    assert telemetry.of("item synced")[-1]["correlation_ids"] == request_id


@steps_the_clock
def test_delay_wait_and_lag_are_measured_in_milliseconds(world: World, telemetry: Telemetry) -> None:
    item_id = world.synced(transactions=5)
    telemetry.records().clear()
    deliver(world, item_id, timedelta(seconds=7))
    records = world.receive()
    step(world, timedelta(seconds=60))
    world.handle(records)
    assert 7_000 <= telemetry.metric("WebhookDelay")[0] < 9_000
    assert 60_000 <= telemetry.metric("MessageWait")[0] < 90_000
    assert 60_000 <= telemetry.metric("SyncLag")[0] < 90_000


def test_a_webhook_that_can_not_be_queued_is_still_counted_as_verified(world: World, telemetry: Telemetry) -> None:
    body = json.dumps({"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": "item"}).encode()
    with world.webhook_queue_gone():
        assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 503
    assert telemetry.metric("WebhookVerified") == [1]
    assert len(telemetry.of("webhook not accepted")) == 1


def test_calls_to_plaid_are_timed_and_failures_counted_by_class(world: World, telemetry: Telemetry) -> None:
    item_id = world.synced(transactions=5)
    assert len(telemetry.metric("PlaidLatency")) >= 2
    for code, errors, refused in (("INSTITUTION_DOWN", [1], []), ("INVALID_API_KEYS", [1], [1])):
        telemetry.records().clear()
        world.plaid.inject_fault("/transactions/sync", code)
        world.enqueue(item_id)
        (record,) = world.receive()
        world.handle([record])
        world.delete(record)
        assert telemetry.metric("PlaidErrors") == errors
        assert [line["code"] for line in telemetry.of("plaid call failed")] == [code]
        assert telemetry.metric("PlaidCredentialsRefused") == refused


@strikes_a_call
@pytest.mark.parametrize("refused", ["UpdateItem", "SendMessage"])
def test_a_sweep_that_can_not_enqueue_emits_the_gauges_and_fails(
    world: World, telemetry: Telemetry, refused: str
) -> None:
    item_id = world.synced(transactions=5)
    world.sweep()
    telemetry.records().clear()
    world.make_due(item_id)
    with unreachable(refused, before=True, at=0), pytest.raises(TransientError):
        world.sweep()
    for gauge in ("StalestItemAge", "RemovalsIncomplete", "QuarantinedRows"):
        assert len(telemetry.metric(gauge)) == 1
    assert len(telemetry.metric("Items", "state")) == len(StateName)
    assert (telemetry.metric("SweepRuns"), telemetry.metric("SweepDeferred")) == ([1], [1])


def test_a_sweep_counts_a_disabled_mapping_of_the_history(world: World, telemetry: Telemetry) -> None:
    functions, mapping = world.stack.client("lambda"), world.stack.resources.id("ChangesFunctionHistory")
    before = functions.get_event_source_mapping(UUID=mapping)["State"]
    world.synced(transactions=1)
    for enabled, expected in ((True, []), (False, [1])):
        functions.update_event_source_mapping(UUID=mapping, Enabled=enabled)
        world.sweep()
        assert telemetry.metric("EventsStopped") == expected
    functions.update_event_source_mapping(UUID=mapping, Enabled=before == "Enabled")


def test_changes_that_only_the_sweep_noticed_count_as_its_repair(world: World, telemetry: Telemetry) -> None:
    item_id = world.synced(transactions=5)
    repaired = []
    for causes, changes in ((["sweep"], True), (["sweep"], False), (["sweep", "request"], True), (["request"], True)):
        if changes:
            world.plaid.evolve(item_id, steps=3)
        telemetry.records().clear()
        for cause in causes:
            world.enqueue(item_id, cause)
        world.drain()
        repaired += telemetry.metric("SweepRepairs")
        world.assert_exact(item_id)
    assert repaired == [1]
