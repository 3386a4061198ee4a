"""Items after they were linked: consent, warnings, errors, revoked and added accounts, removal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.plaid import LinkedItem, Phase, PlaidSimulator, SimulatedClock

from .conftest import MANUAL, NO_RECEIVER, fold, loop, payloads

if TYPE_CHECKING:
    from .conftest import Http


def get_item(http: Http, linked: LinkedItem) -> dict[str, Any]:
    status, answer = http("/item/get", access_token=linked.access_token)
    assert status == 200, answer
    return dict(answer["item"])


def without(rows: dict[str, Any], *account_ids: str) -> dict[str, Any]:
    """Delete the transactions of revoked accounts, as a client must on USER_ACCOUNT_REVOKED."""
    return {key: row for key, row in rows.items() if row["account_id"] not in account_ids}


def test_warnings_contain_their_dates(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    assert get_item(http, linked)["consent_expiration_time"] is None
    assert sim.warn_expiration(linked.item_id, 3)
    assert sim.warn_disconnect(linked.item_id, 2)
    assert sim.offer_accounts(linked.item_id)
    expiration, disconnect, offer = payloads(sim)
    assert expiration["consent_expiration_time"] == get_item(http, linked)["consent_expiration_time"]
    assert expiration["consent_expiration_time"] == "2026-06-04T12:00:00Z"
    assert disconnect["disconnect_time"] == "2026-06-03T12:00:00Z"
    assert offer["webhook_code"] == "NEW_ACCOUNTS_AVAILABLE"
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
