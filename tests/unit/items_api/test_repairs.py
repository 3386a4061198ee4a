"""The link-token body that repairs an Item: POST /link-tokens takes it as it is."""

from __future__ import annotations

from typing import Any

import pytest
from plaid_sync.domain.item import Expiry, ItemState, StateName

from tests.fakes.api import Api, content
from tests.fakes.clock import NOON


def repair_of(api: Api, item_id: str, state: ItemState) -> dict[str, Any] | None:
    api.tables.items.set(item_id, state=state)
    repair: dict[str, Any] | None = api.get(f"/items/{item_id}").get("repair")
    return repair


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("ITEM_LOGIN_REQUIRED", {}),
        ("ITEM_LOCKED", {}),
        ("ADDITIONAL_CONSENT_REQUIRED", {"additional_consented_products": ["transactions"]}),
        ("NO_ACCOUNTS", {"account_selection": True}),
    ],
)
def test_update_mode_gets_what_the_error_needs(api: Api, code: str, options: dict[str, Any]) -> None:
    item_id = api.linked()
    repair = repair_of(api, item_id, ItemState(StateName.NEEDS_USER, code, NOON))
    assert repair == {"link_token": {"item_id": item_id, **options}, "then": f"POST /items/{item_id}/sync"}
    created = content(api.request("POST", "/link-tokens", repair["link_token"]), 201)
    parameters = api.plaid.created[created["link_token"]]
    assert parameters.access_token == f"access-{item_id}"
    consented = options.get("additional_consented_products")
    assert parameters.request.fields.get("additional_consented_products") == consented


def test_an_expiring_item_has_update_mode(api: Api) -> None:
    item_id = api.linked()
    expiry = Expiry("PENDING_EXPIRATION", NOON)
    repair = repair_of(api, item_id, ItemState(StateName.EXPIRING, "PENDING_EXPIRATION", NOON, expiry))
    assert repair is not None
    assert repair["link_token"] == {"item_id": item_id}


def test_an_item_that_ended_is_linked_again_and_replaced(api: Api) -> None:
    item_id = api.linked()
    repair = repair_of(api, item_id, ItemState(StateName.REVOKED, "ITEM_NOT_FOUND", NOON))
    body = {"client_user_id": "user", "replace": item_id}
    assert repair == {"link_token": body, "then": f"POST /items?replace={item_id}"}
    content(api.request("POST", "/link-tokens", body), 201)
    content(api.request("POST", "/link-tokens", repair["link_token"]), 201)


def test_a_login_under_another_name_has_a_fallback(api: Api) -> None:
    item_id = api.linked()
    repair = repair_of(api, item_id, ItemState(StateName.NEEDS_USER, "INVALID_UPDATED_USERNAME", NOON))
    assert repair is not None
    assert repair["link_token"] == {"item_id": item_id}
    assert repair["fallback"]["then"] == f"POST /items?replace={item_id}"


@pytest.mark.parametrize(
    "state", [ItemState(StateName.ACTIVE), ItemState(StateName.DEGRADED, "INSTITUTION_DOWN", NOON)]
)
def test_where_the_user_can_do_nothing_there_is_no_repair(api: Api, state: ItemState) -> None:
    assert repair_of(api, api.linked(), state) is None


# ---- why an Item is removed


def test_the_reason_of_a_removal_is_stored_for_plaid_and_shown(api: Api) -> None:
    item_id = api.linked()
    query = {"reason_code": "FRAUD_OTHER", "reason_note": "chargebacks"}
    shown = content(api.request("DELETE", f"/items/{item_id}", query=query), 202)
    assert shown["removal"]["reason_code"] == "FRAUD_OTHER"
    reason = api.removal(item_id).reason
    assert reason is not None
    assert (reason.code, reason.note) == ("FRAUD_OTHER", "chargebacks")
    assert "chargebacks" not in str(api.history(item_id))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"reason_code": "BORED"}, "reason_code"),
        ({"reason_note": "why"}, "reason_note"),
        ({"reason_code": "OTHER", "reason_note": "n" * 513}, "reason_note"),
    ],
)
def test_a_bad_reason_is_refused_by_name(api: Api, query: dict[str, str], field: str) -> None:
    item_id = api.linked()
    refused = content(api.request("DELETE", f"/items/{item_id}", query=query), 400)
    assert (refused["code"], refused["field"]) == ("invalid_request", field)
    assert not api.item(item_id).removed
