"""Items after they were linked: consent, warnings, errors, revoked and added accounts, removal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.plaid import ItemOptions, LinkedItem, LinkTokenConfig, Phase, PlaidError, PlaidSimulator, SimulatedClock
from local.plaid.sync import SyncRequest

from .conftest import MANUAL, NO_RECEIVER, fold, ids, loop, payloads

if TYPE_CHECKING:
    from .conftest import Http


def get_item(http: Http, linked: LinkedItem) -> dict[str, Any]:
    status, answer = http("/item/get", access_token=linked.access_token)
    assert status == 200, answer
    return dict(answer["item"])


def complete_update_mode(sim: PlaidSimulator, item_id: str, *, new_account: bool = False) -> None:
    token, _ = sim.create_link_token(ItemOptions(), item_id, LinkTokenConfig(account_selection=new_account))
    sim.complete_link(token, new_account=new_account)


def without(rows: dict[str, Any], *account_ids: str) -> dict[str, Any]:
    """Delete the transactions of revoked accounts, as a client must on USER_ACCOUNT_REVOKED."""
    return {key: row for key, row in rows.items() if row["account_id"] not in account_ids}


def test_consent_expires_when_set(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    assert get_item(http, linked)["consent_expiration_time"] is None
    expected = ((datetime(2026, 9, 1, tzinfo=UTC), "2026-09-01T00:00:00Z"), (None, "2026-06-08T12:00:00Z"))
    for moment, in_webhook in expected:
        sim.set_consent_expiration(linked.item_id, moment)
        assert get_item(http, linked)["consent_expiration_time"] == (in_webhook if moment else None)
        sim.fire_webhook(linked.item_id, "ITEM", "PENDING_EXPIRATION")
    assert [payload["consent_expiration_time"] for payload in payloads(sim)] == [text for _, text in expected]


def test_warnings_contain_their_dates(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    assert sim.warn_expiration(linked.item_id, 3)
    assert sim.warn_disconnect(linked.item_id, 2)
    assert sim.warn_disconnect(linked.item_id, with_time=False)
    expiration, disconnect, older = payloads(sim)
    assert expiration["consent_expiration_time"] == get_item(http, linked)["consent_expiration_time"]
    assert expiration["consent_expiration_time"] == "2026-06-04T12:00:00Z"
    assert disconnect["disconnect_time"] == "2026-06-03T12:00:00Z"
    assert older.keys() == disconnect.keys() - {"disconnect_time"}
    assert http("/transactions/sync", access_token=linked.access_token)[0] == 200


def test_update_mode_clears_the_error_and_extends_the_consent_without_a_webhook(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    sim.warn_expiration(linked.item_id)
    sim.reset_login(linked.item_id)
    before = len(payloads(sim))
    complete_update_mode(sim, linked.item_id)
    item = get_item(http, linked)
    assert item["error"] is None
    assert datetime.fromisoformat(item["consent_expiration_time"]) == sim.clock() + timedelta(days=180)
    assert len(payloads(sim)) == before
    assert http("/transactions/sync", access_token=linked.access_token)[0] == 200


@pytest.mark.parametrize("code", ["ITEM_LOGIN_REQUIRED", "USER_PERMISSION_REVOKED"])
def test_an_item_in_error_can_only_be_read_and_removed(
    http: Http, sim: PlaidSimulator, linked: LinkedItem, code: str
) -> None:
    sim.set_item_error(linked.item_id, code)
    assert get_item(http, linked)["error"]["error_code"] == code
    for path in ("/transactions/sync", "/accounts/get", "/transactions/refresh"):
        assert http.error(path, access_token=linked.access_token) == code
    sim.configure(sync_while_login_required=True)
    served = http("/transactions/sync", access_token=linked.access_token)[0] == 200
    assert served is (code == "ITEM_LOGIN_REQUIRED")
    assert http("/item/remove", access_token=linked.access_token)[0] == 200


def test_an_item_that_its_user_depermissioned_is_not_found(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.depermission(linked.item_id)
    for path in ("/transactions/sync", "/accounts/get", "/transactions/refresh", "/item/get", "/item/remove"):
        assert http.error(path, access_token=linked.access_token) == "ITEM_NOT_FOUND"
    (payload,) = payloads(sim)
    assert (payload["webhook_code"], payload["error"]["error_code"]) == ("USER_PERMISSION_REVOKED",) * 2


def test_a_revoked_account_is_deleted_with_its_transactions(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    stored = loop(sim, linked.item_id)
    kept = stored[0]["accounts"][1]["account_id"]
    revoked = sim.revoke_account(linked.item_id)
    (payload,) = payloads(sim)
    assert (payload["webhook_code"], payload["account_id"]) == ("USER_ACCOUNT_REVOKED", revoked)
    _, answer = http("/accounts/get", access_token=linked.access_token)
    assert len(answer["accounts"]) == 4
    assert revoked not in {account["account_id"] for account in answer["accounts"]}
    for path, options in (
        ("/accounts/get", {"account_ids": [revoked]}),
        ("/transactions/sync", {"account_id": revoked}),
    ):
        assert http.error(path, access_token=linked.access_token, options=options) == "INVALID_ACCOUNT_ID"
    truth = sim.truth(linked.item_id)
    accounts = {row["account_id"] for row in truth.values()}
    assert (kept in accounts, revoked in accounts) == (True, False)
    page = loop(sim, linked.item_id, stored[-1]["next_cursor"])[-1]
    assert {row["account_id"] for row in page["removed"]} == {revoked}
    assert revoked not in {account["account_id"] for account in page["accounts"]}
    assert fold(fold({}, stored), [page]) == truth
    assert sim.revoke_account(linked.item_id, kept, notify=False) == kept
    assert len(payloads(sim)) == 1
    sim.fire_webhook(linked.item_id, "ITEM", "USER_ACCOUNT_REVOKED")
    assert payloads(sim)[1]["account_id"] == kept
    with pytest.raises(KeyError):
        sim.revoke_account(linked.item_id, kept)


def test_sync_can_leave_out_the_removals_of_a_revoked_account(sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.configure(revoked_rows_removed=False)
    stored = loop(sim, linked.item_id)
    revoked = sim.revoke_account(linked.item_id)
    pages = loop(sim, linked.item_id, stored[-1]["next_cursor"])
    assert [page["added"] + page["modified"] + page["removed"] for page in pages] == [[]]
    assert without(fold({}, stored), revoked) == sim.truth(linked.item_id) == fold({}, loop(sim, linked.item_id))


@pytest.mark.parametrize("detect", [False, True])
def test_an_account_revoked_between_two_pages_is_not_on_the_second(
    sim: PlaidSimulator, linked: LinkedItem, *, detect: bool
) -> None:
    sim.configure(revoked_rows_removed=False, detect_mutation=detect)
    first = sim.sync(sim.item(linked.item_id), SyncRequest(count=10))
    revoked = sim.revoke_account(linked.item_id)
    if detect:
        with pytest.raises(PlaidError, match="MUTATION"):
            sim.sync(sim.item(linked.item_id), SyncRequest(first["next_cursor"], count=10))
        return
    rest = loop(sim, linked.item_id, first["next_cursor"], 10)
    assert revoked not in {row["account_id"] for page in rest for row in page["added"]}
    assert without(fold({}, [first, *rest]), revoked) == sim.truth(linked.item_id)


@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.integers(0, 15), max_size=5),
    in_removed=st.booleans(),
    spell_out=st.booleans(),
    count=st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_a_client_ends_up_with_the_truth_after_any_changes_and_revocations(
    *, seed: int, steps: list[int], in_removed: bool, spell_out: bool, count: int
) -> None:
    sim = PlaidSimulator(seed=5, clock=SimulatedClock(), behavior=MANUAL)
    sim.configure(revoked_rows_removed=in_removed, spell_out=spell_out)
    item_id = sim.link_item(NO_RECEIVER, transactions=25, phase=Phase.HISTORICAL).item_id
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
        rows = without(fold(rows, pages), *revoked)
        assert rows == sim.truth(item_id) == fold({}, loop(sim, item_id))
        assert not revoked & {row["account_id"] for row in rows.values()}


def test_an_item_without_accounts_does_not_change(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    for _ in range(5):
        sim.revoke_account(linked.item_id)
    assert sim.truth(linked.item_id) == {}
    assert sim.evolve(linked.item_id, 1, 50).total() == 0
    assert http("/accounts/get", access_token=linked.access_token)[1]["accounts"] == []
    entry = {"amount": 1, "date_posted": "2026-06-01", "date_transacted": "2026-06-01", "description": "Custom"}
    created = {"access_token": linked.access_token, "transactions": [entry]}
    assert http.error("/sandbox/transactions/create", **created) == "NO_ACCOUNTS"
    for change in (sim.revoke_account, sim.add):
        with pytest.raises(ValueError, match="no account left"):
            change(linked.item_id)


@pytest.mark.parametrize("in_removed", [False, True])
def test_an_account_can_be_revoked_before_its_transactions_are_ready(sim: PlaidSimulator, *, in_removed: bool) -> None:
    sim.configure(revoked_rows_removed=in_removed)
    item_id = sim.link_item(transactions=80).item_id
    revoked = set()
    for _ in range(2):
        revoked.add(sim.revoke_account(item_id))
        sim.advance_phase(item_id)
    accounts = {row["account_id"] for row in sim.truth(item_id).values()}
    assert accounts
    assert not accounts & revoked
    assert fold({}, loop(sim, item_id)) == sim.truth(item_id)


def test_removed_transactions_of_a_revoked_account_are_not_added_again(sim: PlaidSimulator, linked: LinkedItem) -> None:
    revoked = sim.account_rows(linked.item_id)[0]["account_id"]
    transaction_id = next(key for key, row in sim.truth(linked.item_id).items() if row["account_id"] == revoked)
    sim.remove(linked.item_id, transaction_id)
    sim.revoke_account(linked.item_id, revoked)
    assert sim.readd(linked.item_id) is None
    assert ids(loop(sim, linked.item_id), "added") == list(sim.truth(linked.item_id))


def test_update_mode_adds_an_offered_account(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    revoked = sim.revoke_account(linked.item_id)
    assert sim.offer_accounts(linked.item_id)
    assert payloads(sim)[-1]["webhook_code"] == "NEW_ACCOUNTS_AVAILABLE"
    complete_update_mode(sim, linked.item_id, new_account=True)
    _, answer = http("/accounts/get", access_token=linked.access_token)
    account_ids = [account["account_id"] for account in answer["accounts"]]
    assert (len(account_ids), revoked in account_ids) == (5, False)
    sim.evolve(linked.item_id, 4, 200)
    used = {row["account_id"] for row in sim.truth(linked.item_id).values()}
    assert (account_ids[-1] in used, revoked in used) == (True, False)
    assert fold({}, loop(sim, linked.item_id)) == sim.truth(linked.item_id)


def test_the_control_api_covers_consent_warnings_accounts_and_removal(http: Http, sim: PlaidSimulator) -> None:
    item_id = sim.link_item(NO_RECEIVER, transactions=40, phase=Phase.HISTORICAL, login="ana").item_id

    def state() -> dict[str, Any]:
        return dict(http.control("/items", "GET")[0])

    for given_time, expected in (
        ("2026-09-01T00:00:00Z", "2026-09-01T00:00:00Z"),
        (None, None),
        ("2026-09-02T00:00:00", "2026-09-02T00:00:00Z"),
    ):
        http.control(f"/items/{item_id}/consent", expiration_time=given_time)
        assert (state()["consent_expiration_time"], state()["login"]) == (expected, "ana")
    assert http.control(f"/items/{item_id}/expiration", in_days=1) == {"fired": True}
    assert state()["consent_expiration_time"] == "2026-06-02T12:00:00Z"
    assert http.control(f"/items/{item_id}/disconnect", with_time=False) == {"fired": True}
    revoked = http.control(f"/items/{item_id}/revoke")["account_id"]
    second = {"account_id": state()["accounts"][0], "notify": False}
    assert http.control(f"/items/{item_id}/revoke", **second)["account_id"] != revoked
    assert len(state()["accounts"]) == 3
    assert http.control(f"/items/{item_id}/offer") == {"fired": True}
    http.control(f"/items/{item_id}/depermission")
    assert state()["removed"] is True
    assert [payload["webhook_code"] for payload in payloads(sim)] == [
        "PENDING_EXPIRATION",
        "PENDING_DISCONNECT",
        "USER_ACCOUNT_REVOKED",
        "NEW_ACCOUNTS_AVAILABLE",
        "USER_PERMISSION_REVOKED",
    ]
    status, error = http.raw(f"/_sim/items/{item_id}/revoke", b'{"account_id": "unknown"}')
    assert (status, error["error"]) == (404, "unknown: unknown")
