"""Items after they were linked: consent, warnings, errors, removal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .conftest import payloads

if TYPE_CHECKING:
    from local.plaid import LinkedItem, PlaidSimulator

    from .conftest import Http


def get_item(http: Http, linked: LinkedItem) -> dict[str, Any]:
    status, answer = http("/item/get", access_token=linked.access_token)
    assert status == 200, answer
    return dict(answer["item"])


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
