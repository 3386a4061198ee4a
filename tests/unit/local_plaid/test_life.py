"""The life of an Item after it was linked: consent, warnings, errors, revoked and added accounts, the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import simplejson
from hypothesis import given, settings
from hypothesis import strategies as st

from local.plaid import ItemOptions, LinkedItem, LinkTokenConfig, Phase, PlaidError, PlaidSimulator, SimulatedClock
from local.plaid.sync import SyncRequest

from .conftest import MANUAL, fold, ids, loop

if TYPE_CHECKING:
    from .conftest import Http, Receiver

NOWHERE = "http://127.0.0.1:9/webhooks/plaid"


@pytest.fixture
def linked(sim: PlaidSimulator) -> LinkedItem:
    return sim.link_item(NOWHERE, transactions=120, phase=Phase.HISTORICAL)


def payloads(sim: PlaidSimulator) -> list[dict[str, Any]]:
    return [delivery.payload for delivery in sim.webhooks()]


def shown(http: Http, linked: LinkedItem) -> dict[str, Any]:
    status, answer = http("/item/get", access_token=linked.access_token)
    assert status == 200, answer
    return dict(answer["item"])


def update(sim: PlaidSimulator, item_id: str, *, new_account: bool = False) -> None:
    token, _ = sim.create_link_token(ItemOptions(), item_id, LinkTokenConfig(account_selection=new_account))
    sim.complete_link(token, new_account=new_account)


def test_consent_runs_out_when_it_was_set_to(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    assert shown(http, linked)["consent_expiration_time"] is None
    sim.set_consent_expiration(linked.item_id, datetime(2026, 9, 1, tzinfo=UTC))
    assert shown(http, linked)["consent_expiration_time"] == "2026-09-01T00:00:00Z"
    assert payloads(sim) == []
    sim.fire_webhook(linked.item_id, "ITEM", "PENDING_EXPIRATION")
    assert payloads(sim)[0]["consent_expiration_time"] == "2026-09-01T00:00:00Z"
    sim.set_consent_expiration(linked.item_id, None)
    sim.fire_webhook(linked.item_id, "ITEM", "PENDING_EXPIRATION")
    assert payloads(sim)[1]["consent_expiration_time"] == "2026-06-08T12:00:00Z"
    assert shown(http, linked)["consent_expiration_time"] is None


def test_warnings_say_when(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    assert sim.warn_expiration(linked.item_id, 3)
    assert sim.warn_disconnect(linked.item_id, 2)
    assert sim.warn_disconnect(linked.item_id, with_time=False)
    expiration, disconnect, older = payloads(sim)
    assert expiration["consent_expiration_time"] == shown(http, linked)["consent_expiration_time"]
    assert expiration["consent_expiration_time"] == "2026-06-04T12:00:00Z"
    assert disconnect["disconnect_time"] == "2026-06-03T12:00:00Z"
    assert older.keys() == disconnect.keys() - {"disconnect_time"}
    assert http("/transactions/sync", access_token=linked.access_token)[0] == 200


def test_update_mode_heals_and_renews_without_a_word(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.warn_expiration(linked.item_id)
    sim.reset_login(linked.item_id)
    before = len(payloads(sim))
    update(sim, linked.item_id)
    item = shown(http, linked)
    assert item["error"] is None
    assert datetime.fromisoformat(item["consent_expiration_time"]) == sim.clock() + timedelta(days=180)
    assert len(payloads(sim)) == before
    assert http("/transactions/sync", access_token=linked.access_token)[0] == 200


@pytest.mark.parametrize("code", ["ITEM_LOGIN_REQUIRED", "USER_PERMISSION_REVOKED"])
def test_an_item_in_error_shows_it_and_serves_nothing(
    http: Http, sim: PlaidSimulator, linked: LinkedItem, code: str
) -> None:
    sim.set_item_error(linked.item_id, code)
    assert shown(http, linked)["error"]["error_code"] == code
    for path in ("/transactions/sync", "/accounts/get", "/transactions/refresh"):
        status, error = http(path, access_token=linked.access_token)
        assert (status, error["error_code"]) == (400, code)
    sim.configure(sync_while_login_required=True)
    served = http("/transactions/sync", access_token=linked.access_token)[0] == 200
    assert served is (code == "ITEM_LOGIN_REQUIRED")
    assert http("/item/remove", access_token=linked.access_token)[0] == 200


def test_an_item_that_its_user_ended_is_found_nowhere(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.depermission(linked.item_id)
    for path in ("/transactions/sync", "/accounts/get", "/transactions/refresh", "/item/get", "/item/remove"):
        status, error = http(path, access_token=linked.access_token)
        assert (status, error["error_code"]) == (400, "ITEM_NOT_FOUND")
    (told,) = payloads(sim)
    assert (told["webhook_code"], told["error"]["error_code"]) == ("USER_PERMISSION_REVOKED",) * 2


def test_a_revoked_account_is_gone_with_its_rows(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    stored = loop(sim, linked.item_id)
    kept = stored[0]["accounts"][1]["account_id"]
    gone = sim.revoke_account(linked.item_id)
    (told,) = payloads(sim)
    assert (told["webhook_code"], told["account_id"]) == ("USER_ACCOUNT_REVOKED", gone)
    _, answer = http("/accounts/get", access_token=linked.access_token)
    assert len(answer["accounts"]) == 4
    assert gone not in {account["account_id"] for account in answer["accounts"]}
    for path, options in (
        ("/accounts/get", {"account_ids": [gone]}),
        ("/transactions/sync", {"account_id": gone}),
    ):
        status, error = http(path, access_token=linked.access_token, options=options)
        assert (status, error["error_code"]) == (400, "INVALID_ACCOUNT_ID")
    truth = sim.truth(linked.item_id)
    assert {row["account_id"] for row in truth.values()} >= {kept}
    assert gone not in {row["account_id"] for row in truth.values()}
    page = loop(sim, linked.item_id, stored[-1]["next_cursor"])[-1]
    assert {row["account_id"] for row in page["removed"]} == {gone}
    assert gone not in {account["account_id"] for account in page["accounts"]}
    assert fold(fold({}, stored), [page]) == truth
    assert sim.revoke_account(linked.item_id, kept, notify=False) == kept
    assert len(payloads(sim)) == 1
    sim.fire_webhook(linked.item_id, "ITEM", "USER_ACCOUNT_REVOKED")
    assert payloads(sim)[1]["account_id"] == kept
    with pytest.raises(KeyError):
        sim.revoke_account(linked.item_id, kept)


def test_sync_can_be_silent_about_a_revoked_account(sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.configure(revoked_rows_removed=False)
    stored = loop(sim, linked.item_id)
    gone = sim.revoke_account(linked.item_id)
    pages = loop(sim, linked.item_id, stored[-1]["next_cursor"])
    assert [page["added"] + page["modified"] + page["removed"] for page in pages] == [[]]
    held = {key: row for key, row in fold({}, stored).items() if row["account_id"] != gone}
    assert held == sim.truth(linked.item_id) == fold({}, loop(sim, linked.item_id))


@pytest.mark.parametrize("detect", [False, True])
def test_an_account_muted_between_two_pages_is_served_no_more(
    sim: PlaidSimulator, linked: LinkedItem, *, detect: bool
) -> None:
    sim.configure(revoked_rows_removed=False, detect_mutation=detect)
    first = sim.sync(sim.item(linked.item_id), SyncRequest(count=10))
    gone = sim.revoke_account(linked.item_id)
    if detect:
        with pytest.raises(PlaidError, match="MUTATION"):
            sim.sync(sim.item(linked.item_id), SyncRequest(first["next_cursor"], count=10))
        return
    rest = loop(sim, linked.item_id, first["next_cursor"], 10)
    assert gone not in {row["account_id"] for page in rest for row in page["added"]}
    held = {key: row for key, row in fold({}, [first, *rest]).items() if row["account_id"] != gone}
    assert held == sim.truth(linked.item_id)


@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.integers(0, 15), max_size=5),
    told=st.booleans(),
    spell_out=st.booleans(),
    count=st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_around_revocations_a_client_ends_with_the_truth(
    *, seed: int, steps: list[int], told: bool, spell_out: bool, count: int
) -> None:
    sim = PlaidSimulator(seed=5, clock=SimulatedClock(), behavior=MANUAL)
    sim.configure(revoked_rows_removed=told, spell_out=spell_out)
    item_id = sim.link_item(NOWHERE, transactions=25, phase=Phase.HISTORICAL).item_id
    rows: dict[str, Any] = {}
    cursor = ""
    for number, changes in enumerate(steps):
        sim.evolve(item_id, seed + number, changes)
        if sim.account_rows(item_id):
            sim.revoke_account(item_id)
        sim.evolve(item_id, seed - number, changes)
        revoked = {payload["account_id"] for payload in payloads(sim) if "account_id" in payload}
        pages = loop(sim, item_id, cursor, count)
        cursor = pages[-1]["next_cursor"]
        rows = {key: row for key, row in fold(rows, pages).items() if row["account_id"] not in revoked}
        assert rows == sim.truth(item_id) == fold({}, loop(sim, item_id))
        assert not revoked & {row["account_id"] for row in rows.values()}


def test_an_item_without_accounts_has_nothing_to_change(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    for _ in range(5):
        sim.revoke_account(linked.item_id)
    assert sim.truth(linked.item_id) == {}
    assert sim.evolve(linked.item_id, 1, 50).total() == 0
    assert http("/accounts/get", access_token=linked.access_token)[1]["accounts"] == []
    entry = {"amount": 1, "date_posted": "2026-06-01", "date_transacted": "2026-06-01", "description": "Own"}
    status, error = http("/sandbox/transactions/create", access_token=linked.access_token, transactions=[entry])
    assert (status, error["error_code"]) == (400, "NO_ACCOUNTS")
    with pytest.raises(ValueError, match="no account left"):
        sim.revoke_account(linked.item_id)
    with pytest.raises(ValueError, match="no account left"):
        sim.add(linked.item_id)


@pytest.mark.parametrize("told", [False, True])
def test_an_account_can_be_revoked_before_its_rows_are_ready(sim: PlaidSimulator, *, told: bool) -> None:
    sim.configure(revoked_rows_removed=told)
    item_id = sim.link_item(transactions=80).item_id
    gone = sim.revoke_account(item_id)
    sim.advance_phase(item_id)
    other = sim.revoke_account(item_id)
    sim.advance_phase(item_id)
    accounts = {row["account_id"] for row in sim.truth(item_id).values()}
    assert accounts
    assert not accounts & {gone, other}
    assert fold({}, loop(sim, item_id)) == sim.truth(item_id)


def test_removed_rows_of_a_revoked_account_do_not_come_back(sim: PlaidSimulator, linked: LinkedItem) -> None:
    gone = sim.account_rows(linked.item_id)[0]["account_id"]
    of_it = [key for key, row in sim.truth(linked.item_id).items() if row["account_id"] == gone]
    sim.remove(linked.item_id, of_it[0])
    sim.revoke_account(linked.item_id, gone)
    assert sim.readd(linked.item_id) is None
    assert ids(loop(sim, linked.item_id), "added") == list(sim.truth(linked.item_id))


def test_offered_accounts_are_added_in_update_mode(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    gone = sim.revoke_account(linked.item_id)
    assert sim.offer_accounts(linked.item_id)
    assert payloads(sim)[-1]["webhook_code"] == "NEW_ACCOUNTS_AVAILABLE"
    update(sim, linked.item_id, new_account=True)
    _, answer = http("/accounts/get", access_token=linked.access_token)
    known = [account["account_id"] for account in answer["accounts"]]
    assert (len(known), gone in known) == (5, False)
    sim.evolve(linked.item_id, 4, 200)
    used = {row["account_id"] for row in sim.truth(linked.item_id).values()}
    assert known[-1] in used
    assert gone not in used
    assert fold({}, loop(sim, linked.item_id)) == sim.truth(linked.item_id)


def test_an_item_without_a_url_is_warned_nowhere(sim: PlaidSimulator) -> None:
    item_id = sim.link_item(transactions=1).item_id
    assert not sim.warn_expiration(item_id)
    assert not sim.warn_disconnect(item_id)
    assert not sim.offer_accounts(item_id)


def test_the_control_surface_reaches_the_life_of_an_item(http: Http, sim: PlaidSimulator, receiver: Receiver) -> None:
    item_id = sim.link_item(receiver.url, transactions=40, phase=Phase.HISTORICAL, login="ana").item_id

    def act(path: str, **body: Any) -> Any:
        status, answer = http.raw(f"/_sim/items/{item_id}/{path}", simplejson.dumps(body).encode())
        assert status == 200, answer
        return answer

    def state() -> dict[str, Any]:
        _, items = http.raw("/_sim/items", b"", method="GET")
        return dict(items[0])  # type: ignore[index] # this one answers with an array

    act("consent", expiration_time="2026-09-01T00:00:00Z")
    assert (state()["consent_expiration_time"], state()["login"]) == ("2026-09-01T00:00:00Z", "ana")
    act("consent", expiration_time=None)
    assert state()["consent_expiration_time"] is None
    act("consent", expiration_time="2026-09-02T00:00:00")
    assert state()["consent_expiration_time"] == "2026-09-02T00:00:00Z"
    assert act("expiration", in_days=1) == {"fired": True}
    assert state()["consent_expiration_time"] == "2026-06-02T12:00:00Z"
    assert act("disconnect", with_time=False) == {"fired": True}
    gone = act("revoke")["account_id"]
    assert act("revoke", account_id=state()["accounts"][0], notify=False)["account_id"] != gone
    assert len(state()["accounts"]) == 3
    assert act("offer") == {"fired": True}
    act("depermission")
    assert state()["removed"] is True
    assert [payload["webhook_code"] for payload in payloads(sim)] == [
        "PENDING_EXPIRATION",
        "PENDING_DISCONNECT",
        "USER_ACCOUNT_REVOKED",
        "NEW_ACCOUNTS_AVAILABLE",
        "USER_PERMISSION_REVOKED",
    ]
    status, error = http.raw(f"/_sim/items/{item_id}/revoke", b'{"account_id": "nobody"}')
    assert (status, error["error"]) == (404, "unknown: nobody")
