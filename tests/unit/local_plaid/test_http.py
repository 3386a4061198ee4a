"""The server as any HTTP client sees it: credentials, complaints, limits, faults, the control surface."""

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

from local.plaid import CORRUPTIONS, LinkedItem, Phase, PlaidSimulator, SimulatedClock

from .conftest import MANUAL, fold, loop

if TYPE_CHECKING:
    from .conftest import Http, Receiver


@pytest.fixture
def linked(sim: PlaidSimulator) -> LinkedItem:
    return sim.link_item(transactions=120, phase=Phase.HISTORICAL)


def test_credentials_are_taken_from_the_body_or_from_headers(http: Http, linked: LinkedItem) -> None:
    body = simplejson.dumps({"access_token": linked.access_token}).encode()
    headers = {"PLAID-CLIENT-ID": "local-client-id", "PLAID-SECRET": "local-secret"}
    assert http.raw("/item/get", body, headers)[0] == 200
    status, error = http.raw("/item/get", body, {**headers, "PLAID-SECRET": "wrong"})
    assert (status, error["error_code"]) == (400, "INVALID_API_KEYS")
    status, error = http.raw("/item/get", body)
    assert error["error_message"] == "the following required fields are missing: client_id, secret"


COMPLAINTS: list[tuple[str, dict[str, Any], str]] = [
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
    ("/sandbox/item/fire_webhook", {"webhook_code": "DEFAULT_UPDATE"}, "SANDBOX_WEBHOOK_INVALID"),
    ("/sandbox/transactions/create", {"transactions": []}, "INVALID_FIELD"),
    ("/sandbox/transactions/create", {"transactions": [{"amount": 1}]}, "MISSING_FIELDS"),
]


@pytest.mark.parametrize(("path", "fields", "code"), COMPLAINTS)
def test_bad_requests_get_plaids_complaint(
    http: Http, linked: LinkedItem, path: str, fields: dict[str, Any], code: str
) -> None:
    status, error = http(path, **{"access_token": linked.access_token, **fields})
    assert (status, error["error_code"]) == (400, code)
    assert error["request_id"]


def test_what_is_not_json_or_not_an_endpoint_is_refused(http: Http) -> None:
    assert http.raw("/item/get", b"{")[1]["error_code"] == "INVALID_BODY"
    assert http.raw("/item/get", b"[]")[1]["error_code"] == "INVALID_BODY"
    assert http("/no/such/endpoint")[0] == 404
    assert http("/item/get")[1]["error_code"] == "MISSING_FIELDS"


def test_a_public_token_works_once_and_for_half_an_hour(http: Http, sim: PlaidSimulator, clock: SimulatedClock) -> None:
    token = sim.create_public_token(transactions=3)
    assert http("/item/public_token/exchange", public_token=token)[0] == 200
    assert http("/item/public_token/exchange", public_token=token)[1]["error_code"] == "INVALID_PUBLIC_TOKEN"
    late = sim.create_public_token(transactions=3)
    clock.advance(1801)
    status, error = http("/item/public_token/exchange", public_token=late)
    assert (status, error["error_code"], "expired" in error["error_message"]) == (400, "INVALID_PUBLIC_TOKEN", True)
    assert len(sim.item_ids()) == 1


def test_amounts_cross_the_wire_exactly(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    _, page = http("/transactions/sync", access_token=linked.access_token, count=500)
    truth = sim.truth(linked.item_id)
    assert {row["transaction_id"]: row for row in page["added"]} == truth
    amounts = {str(row["amount"]) for row in page["added"]}
    assert amounts >= {"0.1234567", "-98765432109.87", "0.00"}


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


def test_rates_are_limited_per_client_and_can_be_raised(http: Http, sim: PlaidSimulator) -> None:
    sim.configure(rate_limit_scale=0.02)
    items = [sim.link_item(transactions=1) for _ in range(21)]
    answers = [http("/transactions/sync", access_token=item.access_token)[0] for item in items]
    assert answers == [200] * 20 + [429]


def test_calls_are_counted(http: Http, sim: PlaidSimulator) -> None:
    for kid in ("a", "b", "c"):
        http("/webhook_verification_key/get", key_id=kid)
    assert sim.calls["/webhook_verification_key/get"] == 3
    sim.reset_calls()
    assert sim.calls.total() == 0


def test_faults_strike_as_planned_and_no_more(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
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


def test_a_connection_breaks_before_or_after_the_effect(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.inject_fault("/item/remove", drop="before")
    with pytest.raises(urllib3.exceptions.HTTPError):
        http("/item/remove", access_token=linked.access_token)
    assert sim.item_ids() == [linked.item_id]
    sim.inject_fault("/item/remove", drop="after")
    with pytest.raises(urllib3.exceptions.HTTPError):
        http("/item/remove", access_token=linked.access_token)
    assert sim.item_ids() == []


def test_concurrent_clients_see_one_consistent_history(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.configure(rate_limits=False)

    def work(number: int) -> int:
        sim.evolve(linked.item_id, number, 5)
        return http("/transactions/sync", access_token=linked.access_token, count=500)[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(24))) == [200] * 24
    assert fold({}, loop(sim, linked.item_id)) == sim.truth(linked.item_id)


def test_the_control_surface_reaches_everything(http: Http, sim: PlaidSimulator, receiver: Receiver) -> None:
    item_id = sim.link_item(receiver.url, transactions=40, phase=Phase.HISTORICAL).item_id

    def act(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        status, answer = http.raw(f"/_sim{path}", simplejson.dumps(body or {}).encode(), method=method)
        assert status == 200, answer
        return answer

    assert act("GET", "/items")[0]["item_id"] == item_id
    assert sum(act("POST", f"/items/{item_id}/evolve", {"steps": 9, "seed": 1}).values()) <= 9
    assert act("GET", f"/items/{item_id}/truth")["transactions"] == list(sim.truth(item_id).values())
    assert act("POST", f"/items/{item_id}/advance") == {"phase": "HISTORICAL"}
    extra = {"new_transactions": 5}
    assert act("POST", f"/items/{item_id}/webhooks", {"webhook_code": "DEFAULT_UPDATE", "extra": extra}) == {
        "fired": True
    }
    act("POST", "/webhooks/hold")
    act("POST", f"/items/{item_id}/error", {"error_code": "ITEM_LOCKED"})
    assert act("GET", "/webhooks")[-1]["state"] == "held"
    assert act("POST", "/webhooks/release", {"order": "lifo"}) == {"released": 1}
    act("POST", f"/items/{item_id}/mutations", {"times": 2})
    assert sim.item(item_id).forced_mutations == 2
    transaction_id = next(iter(sim.truth(item_id)))
    act("POST", f"/items/{item_id}/breakages", {"transaction_id": transaction_id, "how": "null"})
    assert sim.item(item_id).corruptions.keys() == {transaction_id}
    act("POST", f"/items/{item_id}/breakages", {"transaction_id": transaction_id, "how": None})
    assert sim.item(item_id).corruptions == {}
    old = sim.keys.current.kid
    assert act("POST", "/keys/rotate")["kid"] != old
    act("POST", f"/keys/{old}/expire")
    assert act("POST", "/sign", {"body": "{}", "iat": 1})["token"].count(".") == 2
    act("POST", "/faults", {"endpoint": "/item/get", "error_code": "ITEM_LOCKED", "times": 2})
    act("DELETE", "/faults")
    before = sim.clock()
    act("POST", "/clock/advance", {"seconds": 90})
    assert (sim.clock() - before).total_seconds() == 90
    act("POST", "/behaviour", {"spell_out": True, "webhook_delay": 0.5})
    assert sim.behavior == replace(MANUAL, spell_out=True, webhook_delay=0.5)
    act("POST", f"/items/{item_id}/webhooks", {"webhook_code": "DEFAULT_UPDATE"})
    assert act("GET", "/calls") == {}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/items/nobody/evolve", b"{}", 404),
        ("/nothing", b"{}", 404),
        ("/clock/advance", b'{"seconds": -1}', 400),
        ("/behaviour", b'{"no_such_switch": 1}', 400),
        ("/faults", b"not json", 400),
    ],
)
def test_the_control_surface_explains_its_refusals(http: Http, path: str, body: bytes, status: int) -> None:
    answered, error = http.raw(f"/_sim{path}", body)
    assert answered == status
    assert error["error"]


def test_link_can_be_completed_by_http(http: Http) -> None:
    asked = {"client_name": "L", "language": "en", "country_codes": ["US"], "user": {"client_user_id": "u"}}
    created = http("/link/token/create", **asked, products=["transactions"])
    _, answer = http.raw("/_sim/link", simplejson.dumps({"link_token": created[1]["link_token"]}).encode())
    assert http("/item/public_token/exchange", public_token=answer["public_token"])[0] == 200


def test_the_command_serves_and_stops_when_told() -> None:
    command = [sys.executable, "-m", "local.plaid", "--port", "0", "--seed", "3", "--link", "2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        startup = simplejson.loads(process.stdout.readline())
        with urllib3.PoolManager() as pool:
            body = {
                "access_token": startup["items"][0]["access_token"],
                "client_id": startup["client_id"],
                "secret": startup["secret"],
            }
            response = pool.request("POST", startup["base_url"] + "/item/get", json=body)
        process.terminate()
        _, complaints = process.communicate(timeout=20)
    assert response.json()["item"]["item_id"] == startup["items"][0]["item_id"]
    assert (process.returncode, complaints) == (0, b"")


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_a_broken_row_is_broken_on_the_wire_and_nothing_else_is(
    http: Http, sim: PlaidSimulator, linked: LinkedItem, how: str
) -> None:
    truth = sim.truth(linked.item_id)
    broken = next(iter(truth))
    sim.corrupt_row(linked.item_id, broken, how)
    _, page = http("/transactions/sync", access_token=linked.access_token, count=500)
    (entry,) = [entry for entry in page["added"] if entry not in truth.values()]
    assert entry == CORRUPTIONS[how](truth[broken])
    assert len(page["added"]) == len(truth) == len(sim.truth(linked.item_id))
    sim.restore_row(linked.item_id, broken)
    _, page = http("/transactions/sync", access_token=linked.access_token, cursor=page["next_cursor"])
    assert page["modified"] == [truth[broken]]


def test_a_sandbox_transaction_keeps_its_exact_amount(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    today = sim.clock().date().isoformat()
    entry = {"amount": Decimal("0.1234567"), "date_posted": today, "date_transacted": today, "description": "Own"}
    status, _ = http("/sandbox/transactions/create", access_token=linked.access_token, transactions=[entry])
    assert status == 200
    (row,) = [row for row in sim.truth(linked.item_id).values() if row["name"] == "Own"]
    assert row["amount"] == Decimal("0.1234567")
