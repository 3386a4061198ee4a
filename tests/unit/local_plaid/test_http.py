"""The HTTP server: credentials, errors, rate limits, faults and the control API."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import simplejson
import urllib3

from local.plaid import CORRUPTIONS, ItemOptions, LinkedItem, Phase, PlaidSimulator, SimulatedClock
from local.plaid.rate_limits import RateLimiter

from .conftest import MANUAL, error_code, fold, loop

if TYPE_CHECKING:
    from .conftest import Http, Receiver


def test_credentials_are_in_the_body_or_in_headers(http: Http, linked: LinkedItem) -> None:
    body = simplejson.dumps({"access_token": linked.access_token}).encode()
    headers = {"PLAID-CLIENT-ID": "local-client-id", "PLAID-SECRET": "local-secret"}
    assert http.raw("/item/get", body, headers)[0] == 200
    status, error = http.raw("/item/get", body, {**headers, "PLAID-SECRET": "wrong"})
    assert (status, error["error_code"]) == (400, "INVALID_API_KEYS")
    _, error = http.raw("/item/get", body)
    assert error["error_message"] == "the following required fields are missing: client_id, secret"


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("/transactions/sync", {"count": 0}, "INVALID_FIELD"),
    ("/transactions/sync", {"count": 501}, "INVALID_FIELD"),
    ("/transactions/sync", {"count": True}, "INVALID_FIELD"),
    ("/transactions/sync", {"cursor": "A" * 260}, "INVALID_FIELD"),
    ("/transactions/sync", {"options": None}, "INVALID_FIELD"),
    ("/transactions/sync", {"options": {"days_requested": 731}}, "INVALID_FIELD"),
    ("/transactions/sync", {"options": {"account_id": "x"}}, "INVALID_ACCOUNT_ID"),
    ("/transactions/sync", {"counts": 5}, "UNKNOWN_FIELDS"),
    ("/transactions/sync", {"access_token": None}, "MISSING_FIELDS"),
    ("/transactions/sync", {"access_token": "nonsense"}, "INVALID_ACCESS_TOKEN"),
    ("/transactions/sync", {"access_token": "access-production-1-2"}, "INVALID_ACCESS_TOKEN"),
    ("/accounts/get", {"options": {"account_ids": ["x"]}}, "INVALID_ACCOUNT_ID"),
    ("/sandbox/item/fire_webhook", {"webhook_code": "INITIAL_UPDATE"}, "INVALID_FIELD"),
    ("/sandbox/transactions/create", {"transactions": []}, "INVALID_FIELD"),
    ("/sandbox/transactions/create", {"transactions": [{"amount": 1}]}, "MISSING_FIELDS"),
]


@pytest.mark.parametrize(("path", "fields", "code"), INVALID)
def test_an_invalid_request_gets_plaids_error(
    http: Http, linked: LinkedItem, path: str, fields: dict[str, Any], code: str
) -> None:
    status, error = http(path, **{"access_token": linked.access_token, **fields})
    assert (status, error["error_code"]) == (400, code)
    assert error["request_id"]


def test_requests_without_json_an_endpoint_an_item_or_a_webhook_url_are_rejected(
    http: Http, sim: PlaidSimulator
) -> None:
    assert [http.raw("/item/get", body)[1]["error_code"] for body in (b"{", b"[]")] == ["INVALID_BODY"] * 2
    assert http("/no/such/endpoint")[0] == 404
    assert http.error("/item/get") == "MISSING_FIELDS"
    token = sim.link_item(transactions=1).access_token
    fire = {"access_token": token, "webhook_code": "DEFAULT_UPDATE"}
    assert http.error("/sandbox/item/fire_webhook", **fire) == "SANDBOX_WEBHOOK_INVALID"


def test_a_public_token_is_valid_once_for_30_minutes(http: Http, sim: PlaidSimulator, clock: SimulatedClock) -> None:
    token = sim.create_public_token(transactions=3)
    assert http("/item/public_token/exchange", public_token=token)[0] == 200
    assert http.error("/item/public_token/exchange", public_token=token) == "INVALID_PUBLIC_TOKEN"
    late = sim.create_public_token(transactions=3)
    clock.advance(1801)
    status, error = http("/item/public_token/exchange", public_token=late)
    assert (status, error["error_code"], "expired" in error["error_message"]) == (400, "INVALID_PUBLIC_TOKEN", True)
    assert len(sim.item_ids()) == 1


def test_amounts_are_exact_over_http(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    today = sim.clock().date().isoformat()
    entry = {"amount": Decimal("0.1234567"), "date_posted": today, "date_transacted": today, "description": "Custom"}
    assert http("/sandbox/transactions/create", access_token=linked.access_token, transactions=[entry])[0] == 200
    _, page = http("/transactions/sync", access_token=linked.access_token, count=500)
    assert {row["transaction_id"]: row for row in page["added"]} == sim.truth(linked.item_id)
    assert {str(row["amount"]) for row in page["added"]} >= {"0.1234567", "-98765432109.87", "0.00"}
    (custom,) = [row["amount"] for row in page["added"] if row["name"] == "Custom"]
    assert custom == Decimal("0.1234567")


def test_rates_are_limited_per_item_within_a_sliding_minute(
    http: Http, sim: PlaidSimulator, linked: LinkedItem, clock: SimulatedClock
) -> None:
    other = sim.link_item(transactions=2, phase=Phase.HISTORICAL)

    def call(item: LinkedItem) -> tuple[int, str | None]:
        status, body = http("/transactions/sync", access_token=item.access_token, count=1)
        return status, body.get("error_code")

    assert [call(linked)[0] for _ in range(50)] == [200] * 50
    assert call(linked) == (429, "TRANSACTIONS_SYNC_LIMIT")
    assert call(other) == (200, None)
    clock.advance(60)
    assert call(linked) == (200, None)
    sim.configure(rate_limits=False)
    assert [call(linked)[0] for _ in range(51)] == [200] * 51


def test_rates_are_limited_per_client(sim: PlaidSimulator) -> None:
    limiter = RateLimiter()

    def call(number: int) -> None:
        limiter.check("/transactions/refresh", f"item {number}", sim.behavior, sim.clock())

    for number in range(100):
        call(number)
    assert error_code(lambda: call(100)) == "TRANSACTIONS_REFRESH_LIMIT"


def test_a_fault_hits_only_the_matching_calls(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    other = sim.link_item(transactions=1)
    sim.inject_fault("/item/get", "INSTITUTION_DOWN", times=2, skip=1, item_id=linked.item_id)

    def status(item: LinkedItem) -> int:
        return http("/item/get", access_token=item.access_token)[0]

    assert status(other) == 200
    assert [status(linked) for _ in range(4)] == [200, 400, 400, 200]
    sim.inject_fault("/item/get", "PLANNED_MAINTENANCE")
    sim.clear_faults()
    assert status(linked) == 200
    sim.inject_fault("*", "SOMETHING_NEW", status=418)
    assert status(linked) == 418


@pytest.mark.parametrize(("drop", "removed"), [("before", False), ("after", True)])
def test_a_connection_drops_before_or_after_the_call_takes_effect(
    http: Http, sim: PlaidSimulator, linked: LinkedItem, drop: Any, *, removed: bool
) -> None:
    sim.inject_fault("/item/remove", drop=drop)
    with pytest.raises(urllib3.exceptions.HTTPError):
        http("/item/remove", access_token=linked.access_token)
    assert sim.item(linked.item_id).removed is removed
    assert sim.item_ids() == ([] if removed else [linked.item_id])


def test_concurrent_clients_get_a_consistent_history(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.configure(rate_limits=False)

    def work(number: int) -> int:
        sim.evolve(linked.item_id, number, 5)
        return http("/transactions/sync", access_token=linked.access_token, count=500)[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(24))) == [200] * 24
    assert fold({}, loop(sim, linked.item_id)) == sim.truth(linked.item_id)


def test_the_control_api_covers_items_link_webhooks_faults_and_the_clock(
    http: Http, sim: PlaidSimulator, receiver: Receiver
) -> None:
    item_id = sim.link_item(receiver.url, transactions=40, phase=Phase.HISTORICAL).item_id
    item = f"/items/{item_id}"
    assert http.control("/items", "GET")[0]["item_id"] == item_id
    assert sum(http.control(f"{item}/evolve", steps=9, seed=1).values()) <= 9
    assert http.control(f"{item}/truth", "GET")["transactions"] == list(sim.truth(item_id).values())
    assert http.control(f"{item}/advance") == {"phase": "HISTORICAL"}
    fired = http.control(f"{item}/webhooks", webhook_code="DEFAULT_UPDATE", extra={"new_transactions": 5})
    assert fired == {"fired": True}
    assert http.control("/webhooks", "GET")[-1]["payload"]["new_transactions"] == 5
    body = http.control(f"{item}/webhooks/draft", webhook_code="DEFAULT_UPDATE")["body"]
    assert http.control("/sign", body=body, iat=1)["token"].count(".") == 2
    http.control(f"{item}/error", error_code="ITEM_LOCKED")
    assert sim.item(item_id).error_code == "ITEM_LOCKED"
    http.control("/faults", endpoint="/link/token/get", error_code="INTERNAL_SERVER_ERROR")
    link_token, token = sim.create_link_token(ItemOptions())
    assert http("/link/token/get", link_token=link_token)[0] == 500
    http.control("/link", link_token=link_token, bank="ins_109512", login="ana")
    assert [session.finished_at for session in token.sessions] == [sim.clock()]
    before = sim.clock()
    http.control("/clock/advance", seconds=90)
    assert (sim.clock() - before).total_seconds() == 90
    http.control("/behavior", spell_out=True, webhook_delay=0.5)
    assert sim.behavior == replace(MANUAL, spell_out=True, webhook_delay=0.5)
    for path, text, status in (
        ("/items/unknown/evolve", b"{}", 404),
        ("/nothing", b"{}", 404),
        ("/clock/advance", b'{"seconds": -1}', 400),
        ("/behavior", b'{"no_such_switch": 1}', 400),
        ("/faults", b"not json", 400),
    ):
        actual, error = http.raw(f"/_sim{path}", text)
        assert (actual, bool(error["error"])) == (status, True), path


def test_the_command_serves_until_sigterm() -> None:
    command = [sys.executable, "-m", "local.plaid", "--port", "0", "--seed", "3", "--link", "2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        startup = simplejson.loads(process.stdout.readline())
        item = startup["items"][0]
        with urllib3.PoolManager() as pool:
            body = {name: startup[name] for name in ("client_id", "secret")} | {"access_token": item["access_token"]}
            response = pool.request("POST", startup["base_url"] + "/item/get", json=body)
        process.terminate()
        _, stderr = process.communicate(timeout=20)
    assert response.json()["item"]["item_id"] == item["item_id"]
    assert (process.returncode, stderr) == (0, b"")


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_only_the_corrupted_transaction_is_malformed(
    http: Http, sim: PlaidSimulator, linked: LinkedItem, how: str
) -> None:
    truth = sim.truth(linked.item_id)
    corrupted = next(iter(truth))
    sim.corrupt_row(linked.item_id, corrupted, how)
    _, page = http("/transactions/sync", access_token=linked.access_token, count=500)
    (entry,) = [entry for entry in page["added"] if entry not in truth.values()]
    assert entry == CORRUPTIONS[how](truth[corrupted])
    assert len(page["added"]) == len(truth) == len(sim.truth(linked.item_id))
    sim.restore_row(linked.item_id, corrupted)
    _, page = http("/transactions/sync", access_token=linked.access_token, cursor=page["next_cursor"])
    assert page["modified"] == [truth[corrupted]]
