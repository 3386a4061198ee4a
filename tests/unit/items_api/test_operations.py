"""The operations of the Items API: removal, sync, resync, refresh, webhook, accounts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.errors import CallBudgetError, PlaidError
from plaid_sync.domain.item import ItemState, StateName

from tests.fakes.api import CALLER, WEBHOOK_URL, Api, content, problem
from tests.fakes.clock import NOON

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId

NOON_TEXT = "2026-06-01T12:00:00.000Z"


# ---- removal


def test_a_removal_is_recorded_once_and_its_message_is_sent_until_it_is_completed(api: Api, item_id: ItemId) -> None:
    response = api.request("DELETE", f"/items/{item_id}")
    shown = content(response, 202)
    assert response["headers"]["location"] == f"/items/{item_id}"
    assert shown == {
        "item_id": item_id,
        "state": "removed",
        "removal": {"requested_at": NOON_TEXT, "transactions": "keep"},
    }
    assert api.item(item_id).generation == 1
    assert content(api.request("DELETE", f"/items/{item_id}"), 202) == shown
    assert api.queue.take() == [(item_id, "request")] * 2
    assert [entry.get("published_events") for entry in api.history(item_id)] == [["ItemLinked"], ["ItemRemoved"]]
    removal = api.removal(item_id)
    api.tables.items.set(item_id, removal=replace(removal, plaid_removed_at=NOON, completed_at=NOON))
    shown = api.get(f"/items/{item_id}")
    assert (shown["state"], shown["remedy"], "bank" in shown["freshness"]) == ("removed", "none", False)
    assert shown["removal"].keys() == {"requested_at", "transactions", "plaid_removed_at", "completed_at"}
    content(api.request("DELETE", f"/items/{item_id}"), 202)
    assert api.queue.take() == []


def test_erasure_can_be_requested_after_the_removal_and_is_never_taken_back(api: Api, item_id: ItemId) -> None:
    content(api.request("DELETE", f"/items/{item_id}"), 202)
    removal = api.removal(item_id)
    api.tables.items.set(item_id, removal=replace(removal, completed_at=NOON))
    for transactions in ("erase", "keep", "erase"):
        response = api.request("DELETE", f"/items/{item_id}", query={"transactions": transactions})
        assert content(response, 202)["removal"] == {"requested_at": NOON_TEXT, "transactions": "erase"}
    assert [entry["outcome"] for entry in api.history(item_id)][1:] == ["removal_requested", "erasure_requested"]
    removal = replace(removal, erase=True, rows_to_erase=7, completed_at=NOON)
    api.tables.items.set(item_id, removal=removal)
    assert api.get(f"/items/{item_id}")["removal"]["rows_erased"] == 7


def test_a_wrong_word_for_the_transactions_removes_nothing(api: Api, item_id: ItemId) -> None:
    response = api.request("DELETE", f"/items/{item_id}", query={"transactions": "burn"})
    assert problem(response, 400, "invalid_request")["field"] == "transactions"
    assert not api.item(item_id).removed


@pytest.mark.parametrize(("port", "call"), [("items", "load"), ("items", "remove"), ("queue", "send")])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_removal_that_fails_at_any_call_is_completed_by_its_retry(
    api: Api, item_id: ItemId, port: str, call: str, *, after: bool
) -> None:
    query = {"transactions": "erase"}
    api.fail(port, call, after=after)
    problem(api.request("DELETE", f"/items/{item_id}", query=query), 503, "unreachable")
    content(api.request("DELETE", f"/items/{item_id}", query=query), 202)
    assert (item_id, "request") in api.queue.take()
    published = [entry.get("published_events") for entry in api.history(item_id)]
    assert published == [["ItemLinked"], ["ItemRemoved"]]


def test_a_removal_that_meets_a_concurrent_one_is_not_recorded_twice(api: Api, item_id: ItemId) -> None:
    api.fail("items", "remove", None, meanwhile=lambda: api.request("DELETE", f"/items/{item_id}"))
    query = {"transactions": "erase"}
    assert content(api.request("DELETE", f"/items/{item_id}", query=query), 202)["removal"]["transactions"] == "erase"
    outcomes = sorted(entry["outcome"] for entry in api.history(item_id))
    assert outcomes == ["erasure_requested", "linked", "removal_requested"]


# ---- other operations


def test_a_sync_is_queued_and_recorded(api: Api, item_id: ItemId) -> None:
    assert content(api.request("POST", f"/items/{item_id}/sync", {}), 202) == {"queued": True}
    assert api.queue.take() == [(item_id, "request")]
    entry = api.history(item_id)[-1]
    assert (entry["outcome"], entry["caller"]) == ("queued", CALLER)


def test_a_resync_makes_the_next_sync_pull_everything_and_fences_a_running_one(api: Api, item_id: ItemId) -> None:
    assert content(api.request("POST", f"/items/{item_id}/resync"), 202) == {"queued": True}
    assert (api.item(item_id).reconcile, api.item(item_id).generation) == (True, 1)
    assert api.queue.take() == [(item_id, "request")]
    assert api.get(f"/items/{item_id}")["reconcile_pending"] is True


def test_an_item_is_refreshed_once_in_thirty_seconds(api: Api, item_id: ItemId) -> None:
    path = f"/items/{item_id}/refresh"
    assert content(api.request("POST", path), 202) == {"requested": True}
    api.tables.clock.time += timedelta(seconds=10.5)
    response = api.request("POST", path)
    problem(response, 429, "refreshed_recently")
    assert (response["headers"]["retry-after"], api.plaid.calls["refresh"]) == ("20", 1)
    api.tables.clock.time += timedelta(seconds=19.5)
    content(api.request("POST", path), 202)
    assert [entry.get("plaid_request_ids") for entry in api.history(item_id)[1:]] == [["refresh-1"], ["refresh-2"]]


@pytest.mark.parametrize("code", ["PRODUCTS_NOT_SUPPORTED", "ITEM_LOGIN_REQUIRED"])
def test_a_refused_refresh_says_nothing_about_the_item(api: Api, item_id: ItemId, code: str) -> None:
    before = api.item(item_id).state
    api.plaid.refusals["refresh"] = PlaidError(code, error_type="ITEM_ERROR", endpoint="/transactions/refresh")
    shown = problem(api.request("POST", f"/items/{item_id}/refresh"), 409, code)
    assert shown["remedy"] == "none"
    assert "GET /items/{item_id}" in shown["fix"]
    assert api.item(item_id).state == before


def test_a_refresh_that_the_call_budget_refuses_may_be_sent_again_as_soon_as_it_says(api: Api, item_id: ItemId) -> None:
    api.plaid.refusals["refresh"] = CallBudgetError("/transactions/refresh", 2.5, waits=True)
    response = api.request("POST", f"/items/{item_id}/refresh")
    problem(response, 429, "call_budget")
    assert response["headers"]["retry-after"] == "3"
    del api.plaid.refusals["refresh"]
    api.tables.clock.time += timedelta(seconds=3)
    content(api.request("POST", f"/items/{item_id}/refresh"), 202)


def test_a_refresh_over_plaids_limit_may_be_sent_again_in_a_minute(api: Api, item_id: ItemId) -> None:
    api.plaid.refusals["refresh"] = PlaidError("TRANSACTIONS_REFRESH_LIMIT", endpoint="/transactions/refresh")
    response = api.request("POST", f"/items/{item_id}/refresh")
    problem(response, 429, "TRANSACTIONS_REFRESH_LIMIT")
    assert response["headers"]["retry-after"] == "60"


def test_the_webhook_is_set_to_the_stacks_own(api: Api, item_id: ItemId) -> None:
    assert content(api.request("POST", f"/items/{item_id}/webhook")) == {"webhook": WEBHOOK_URL}
    assert api.plaid.webhooks == {f"access-{item_id}": WEBHOOK_URL}
    assert api.history(item_id)[-1]["plaid_request_ids"] == ["webhook-1"]


def test_accounts_are_shown_as_plaid_lists_them_and_compared_by_the_next_attempt(api: Api, item_id: ItemId) -> None:
    balances = exact_json.dumps_for_storage(
        {"account_id": "a", "balances": {"current": Decimal("1.10")}, "holder_category": "x"}
    )
    api.plaid.listed = (Account("a", "Checking", "0000", "depository", plaid=balances), Account("b"))
    shown = content(api.request("POST", f"/items/{item_id}/accounts"))["accounts"]
    first: dict[str, Any] = {
        "account_id": "a",
        "name": "Checking",
        "mask": "0000",
        "type": "depository",
        "holder_category": "x",
    }
    first |= {"state": "listed", "balances": {"current": Decimal("1.10"), "as_of": "2026-06-01T12:00:00.000Z"}}
    assert shown == [first, {"account_id": "b", "state": "listed"}]
    assert api.item(item_id).generation == 0, "an attempt that runs is not superseded"
    assert api.queue.take() == [(item_id, "accounts")]


def test_an_account_is_erased_and_restored_and_every_repeat_has_the_same_result(api: Api, item_id: ItemId) -> None:
    account_id = api.item(item_id).accounts[0].account_id
    path = f"/items/{item_id}/accounts/{account_id}"
    for _ in range(2):
        assert content(api.request("DELETE", path), 202) == {"account_id": account_id, "state": "erased"}
        assert api.item(item_id).account_states.erased == {account_id}
        assert {"account_id": account_id, "state": "erased"} in api.get(f"/items/{item_id}")["accounts"]
        assert api.queue.take() == [(item_id, "request")]
    assert api.item(item_id).pending_checks[-1].account_id == account_id
    for requests in ([(item_id, "request")], []):
        assert content(api.request("POST", f"{path}/restore"), 202) == {"account_id": account_id, "state": "listed"}
        assert not api.item(item_id).account_states.erased
        assert api.item(item_id).reconcile
        assert api.queue.take() == requests
    outcomes = [entry["outcome"] for entry in api.history(item_id)]
    assert outcomes[-3:] == ["account_erasure_requested", "account_erasure_requested", "account_restored"]


@pytest.mark.parametrize("account_id", ["unknown", "\u00e9", ""])
@pytest.mark.parametrize("rest", ["", "/restore"])
def test_an_account_that_the_item_does_not_have_is_not_found(
    api: Api, item_id: ItemId, account_id: str, rest: str
) -> None:
    before = api.item(item_id)
    response = api.request("POST" if rest else "DELETE", f"/items/{item_id}/accounts/{account_id}{rest}")
    problem(response, 404, "account_not_found")
    assert api.item(item_id) == before


@pytest.mark.parametrize(
    ("rest", "call"),
    [("/resync", "change"), ("/accounts/login-0000/restore", "load")],
    ids=str,
)
def test_an_item_that_is_removed_concurrently_is_not_changed(api: Api, item_id: ItemId, rest: str, call: str) -> None:
    removed = ItemState(StateName.REMOVED)
    accounts = api.item(item_id).accounts
    api.fail("items", call, None, meanwhile=lambda: api.tables.items.set(item_id, state=removed))
    problem(api.request("POST", f"/items/{item_id}{rest}"), 410, "item_removed")
    assert (api.item(item_id).reconcile, api.item(item_id).accounts) == (False, accounts)
