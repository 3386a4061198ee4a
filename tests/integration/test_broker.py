"""Calls of Plaid's other products through the deployed function: Plaid's exact response, and what is left of a call."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

from local.plaid import SimulatedClock, utc_now
from local.plaid.wire import timestamp
from local.snapshot import plain
from tests.integration.crashes import Crash, asleep_at, killed_at
from tests.integration.harness import LONG_AGO
from tests.integration.in_process import steps_the_clock, strikes_a_call
from tests.integration.test_publishing import publishing, received

if TYPE_CHECKING:
    from tests.integration.harness import World

pytestmark = steps_the_clock

PERIOD: Final = {"start_date": "2020-01-01", "end_date": "2030-01-01"}
CALLS: Final[dict[str, dict[str, Any]]] = {
    "/accounts/balance/get": {},
    "/auth/get": {},
    "/identity/get": {},
    "/investments/holdings/get": {},
    "/investments/transactions/get": {**PERIOD, "options": {"count": 3, "offset": 1}},
    "/liabilities/get": {},
    "/transactions/recurring/get": {},
}
RECURRING: Final = "/transactions/recurring/get"
CACHED: Final = {"RECURRING_CACHE_HOURS": "6"}


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(utc_now())


def call(world: World, item_id: str, endpoint: str, body: object = None) -> dict[str, Any]:
    return world.request("POST", f"/items/{item_id}/plaid{endpoint}", body)


def calls(world: World, item_id: str) -> list[dict[str, Any]]:
    """Return what the history has of calls; the newest first."""
    answer = world.request("GET", f"/items/{item_id}/history")
    return [entry for entry in json.loads(answer["body"])["history"] if "endpoint" in entry]


@pytest.mark.parametrize("endpoint", CALLS)
def test_the_response_is_plaids_byte_by_byte_and_the_history_has_the_call(world: World, endpoint: str) -> None:
    item_id = world.synced()
    sent: list[tuple[str, bytes, int, bytes]] = []
    world.plaid.observer = lambda *observed: sent.append(observed)
    answer = call(world, item_id, endpoint, CALLS[endpoint])
    ((path, request, status, response),) = sent
    assert (answer["statusCode"], answer["body"].encode()) == (status, response) == (200, response)
    assert path == endpoint
    access_token = world.plaid.item(item_id).access_token
    assert json.loads(request) == {**CALLS[endpoint], "access_token": access_token}
    assert answer["headers"]["content-type"] == "application/json; charset=utf-8"
    assert answer["headers"]["plaid-request-id"] == json.loads(response)["request_id"]
    (entry,) = calls(world, item_id)
    assert (entry["outcome"], entry["endpoint"]) == ("done", endpoint)
    assert entry["plaid_request_ids"] == [json.loads(response)["request_id"]]
    assert access_token not in answer["body"]
    assert "balances" not in str(entry)


def test_an_error_of_plaid_is_its_own_byte_by_byte_and_has_the_item_looked_at(world: World) -> None:
    item_id = world.synced()
    world.plaid.set_item_error(item_id, "ITEM_LOGIN_REQUIRED", notify=False)
    world.set_attribute(item_id, "accounts_checked_at", {"S": LONG_AGO})  # else the worker just had a look
    answer = call(world, item_id, "/liabilities/get")
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["error_code"] == "ITEM_LOGIN_REQUIRED"
    assert [entry["code"] for entry in calls(world, item_id)] == ["ITEM_LOGIN_REQUIRED"]
    world.drain()
    assert world.item(item_id)["state"] == "needs_user"
    call(world, item_id, "/liabilities/get")
    assert world.drain() == 0, "the state is known"


def test_a_rate_limit_is_passed_through(world: World) -> None:
    item_id = world.synced()
    world.plaid.configure(rate_limits=True)
    answers = [call(world, item_id, "/liabilities/get") for _ in range(11)]
    assert [answer["statusCode"] for answer in answers] == [200] * 10 + [429]
    world.plaid.inject_fault("/auth/get", "AUTH_LIMIT", retry_after="17")
    answer = call(world, item_id, "/auth/get")
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (429, "17")


def test_a_lost_response_is_503_and_recorded(world: World) -> None:
    item_id = world.synced()
    world.plaid.inject_fault("/accounts/balance/get", drop="after")
    answer = call(world, item_id, "/accounts/balance/get")
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "5")
    (entry,) = calls(world, item_id)
    assert (entry["outcome"], entry["code"]) == ("failed", "plaid_unreachable_ProtocolError")


def test_a_stack_without_the_parameter_calls_nothing(world: World) -> None:
    item_id = world.synced()
    world.settings["PLAID_ENDPOINTS"] = ""
    world.plaid.reset_calls()
    answer = call(world, item_id, "/accounts/balance/get")
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (403, "endpoint_not_enabled")
    assert world.plaid.calls["/accounts/balance/get"] == 0


def streams(world: World, item_id: str) -> tuple[str, int | None]:
    """Return when the streams were updated, and the age of the response."""
    answer = call(world, item_id, RECURRING)
    assert answer["statusCode"] == 200, answer
    age = answer["headers"].get("age")
    return json.loads(answer["body"])["updated_datetime"], None if age is None else int(age)


def update_streams(world: World, clock: SimulatedClock, item_id: str) -> bytes:
    """Let Plaid have other streams; return the webhook that says so."""
    clock.advance(timedelta(minutes=1))
    world.plaid.change_product(item_id, "recurring")
    return world.plaid.webhooks(item_id)[-1].body


def test_streams_are_served_again_until_plaids_webhook_says_that_they_changed(
    world: World, clock: SimulatedClock
) -> None:
    world.settings |= CACHED
    item_id = world.synced(webhook_url="http://127.0.0.1:9/webhooks/plaid")
    first, age = streams(world, item_id)
    assert age is None
    webhook = update_streams(world, clock, item_id)
    assert streams(world, item_id) == (first, 60)
    assert calls(world, item_id)[0]["cached"] is True
    forged = world.plaid.forge(webhook, "ES256")
    assert world.post_webhook(webhook, forged)["statusCode"] == 401
    assert streams(world, item_id) == (first, 60)
    assert world.post_webhook(webhook, world.plaid.sign(webhook))["statusCode"] == 200
    newer, age = streams(world, item_id)
    assert (newer > first, age) == (True, None)
    assert streams(world, item_id) == (newer, 0)
    clock.advance(timedelta(hours=6))
    assert streams(world, item_id)[1] is None


def test_a_late_webhook_ends_a_stored_response_too(world: World, clock: SimulatedClock) -> None:
    world.settings |= CACHED
    item_id = world.synced(webhook_url="http://127.0.0.1:9/webhooks/plaid")
    first, _ = streams(world, item_id)
    webhook = update_streams(world, clock, item_id)
    token = world.plaid.sign(webhook)
    clock.advance(timedelta(minutes=10))
    assert world.post_webhook(webhook, token)["statusCode"] == 401
    assert streams(world, item_id) > (first, -1)


def test_a_webhook_whose_invalidation_is_not_stored_is_sent_again_and_not_published(
    world: World, clock: SimulatedClock
) -> None:
    item_id = world.synced(webhook_url="http://127.0.0.1:9/webhooks/plaid")
    webhook = update_streams(world, clock, item_id)
    world.restart_webhook_function(SHARED_TABLE="no-such-table")
    assert world.post_webhook(webhook, world.plaid.sign(webhook))["statusCode"] == 503
    shown = json.loads(world.request("GET", f"/items/{item_id}/history")["body"])["history"]
    assert "webhook" not in {entry["kind"] for entry in shown}
    world.restart_webhook_function()
    assert world.post_webhook(webhook, world.plaid.sign(webhook))["statusCode"] == 200


def test_the_stored_response_has_no_token_and_goes_with_its_item(world: World) -> None:
    world.settings |= CACHED
    item_id = world.synced()
    streams(world, item_id)
    key = {"kind": {"S": "recurring"}, "name": {"S": item_id}}
    dynamodb = world.stack.client("dynamodb")
    row = plain(dynamodb.get_item(TableName=world.stack.shared_table, Key=key)["Item"])
    assert world.plaid.item(item_id).access_token.encode() not in bytes(row["body"])
    assert row.keys() == {
        *("kind", "name", "digest", "invalidation", "fetched_at", "body", "content_type", "request_id", "expires_at")
    }
    world.request("DELETE", f"/items/{item_id}")
    assert call(world, item_id, RECURRING)["statusCode"] == 410


@strikes_a_call
def test_a_webhook_before_any_call_of_a_request_leaves_no_outdated_streams(world: World, clock: SimulatedClock) -> None:
    world.settings |= CACHED
    item_id = world.synced(webhook_url="http://127.0.0.1:9/webhooks/plaid")

    def changed() -> None:
        webhook = update_streams(world, clock, item_id)
        assert world.post_webhook(webhook, world.plaid.sign(webhook))["statusCode"] == 200

    for at in count(1):
        with asleep_at(at, changed) as sleep:
            streams(world, item_id)
        if not sleep.struck:
            break
        truth = timestamp(clock())
        assert streams(world, item_id)[0] == truth, f"before call {at}: {sleep.calls}"
        assert streams(world, item_id) == (truth, 0)
        changed()
    assert at > len(("Item", "cache", "invalidations", "token", "Plaid", "cache", "history"))


@strikes_a_call
@pytest.mark.parametrize("before", [True, False])
def test_a_request_that_dies_at_any_call_returns_nothing_and_is_served_when_it_is_repeated(
    world: World, *, before: bool
) -> None:
    world.settings |= CACHED
    item_id = world.synced()
    for at in count(1):
        crash = Crash(at, before)
        with killed_at(crash):
            streams(world, item_id)
        if not crash.struck:
            break
        recorded = len(calls(world, item_id))
        streams(world, item_id)
        assert len(calls(world, item_id)) == recorded + 1
        key = {"kind": {"S": "recurring"}, "name": {"S": item_id}}
        world.stack.client("dynamodb").delete_item(TableName=world.stack.shared_table, Key=key)
    assert at > 1


@pytest.mark.parametrize(
    ("product", "kind"),
    [
        ("holdings", "HOLDINGS"),
        ("liabilities", "LIABILITIES"),
        ("investments_transactions", "INVESTMENTS_TRANSACTIONS"),
    ],
)
def test_a_verified_webhook_of_another_product_reaches_the_bus(
    world: World, application: str, product: str, kind: str
) -> None:
    item_id = world.link(webhook_url="http://127.0.0.1:9/webhooks/plaid")
    world.plaid.change_product(item_id, product)
    webhook = world.plaid.webhooks(item_id)[-1].body
    with publishing(world.stack):
        assert world.post_webhook(webhook, world.plaid.sign(webhook))["statusCode"] == 200
        (event,) = [
            event
            for event in received(world.stack, application, item_id, "PlaidWebhook")
            if event["detail-type"] == "PlaidWebhook"
        ]
    assert (event["detail"]["webhook_type"], event["detail"]["webhook_code"]) == (kind, "DEFAULT_UPDATE")
    assert event["detail"]["body"] == json.loads(webhook)
