"""The reads of the Items API: lists, one Item, its history, its transactions."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.accounts import Account, AccountStates
from plaid_sync.domain.errors import TransientError, UnreadableItemError
from plaid_sync.domain.item import Expiry, ItemFailure, ItemHealth, ItemState, StateName
from plaid_sync.domain.transaction import RowRemoval, StoredRow, TransactionId, parse_transaction

from tests.fakes.api import CALLER, Api, content, problem
from tests.fakes.clock import NOON
from tests.fakes.plaid import transaction

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId

NOON_TEXT = "2026-06-01T12:00:00.000Z"


def put_rows(api: Api, item_id: ItemId, *documents: dict[str, Any]) -> None:
    rows = [parse_transaction(document) for document in documents]
    api.tables.transactions.rows_of[item_id] = {
        row.transaction_id: StoredRow(row.transaction_id, row.account_id, True, 1, 1, row)  # noqa: FBT003
        for row in rows
    }


def page_token(key: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


# ---- lists


def test_items_are_listed_by_user_and_state_in_pages(api: Api) -> None:
    own = [api.linked(name=f"login {number}") for number in range(5)]
    theirs = api.linked("another")
    api.tables.items.set(own[0], state=ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED"))
    content(api.request("DELETE", f"/items/{own[1]}"), 202)

    def listed(**query: str) -> list[str]:
        return [item["item_id"] for item in api.pages("/items", "items", **query)]

    assert sorted(listed(client_user_id="user")) == sorted(own)
    assert sorted(listed(client_user_id="user", limit="2")) == sorted(own)
    assert listed(client_user_id="user", state="needs_user") == [own[0]]
    assert listed(client_user_id="user", state="removed", limit="1") == [own[1]]
    assert sorted(listed(limit="3")) == sorted([*own, theirs])
    assert listed(state="needs_user") == [own[0]]
    assert sorted(listed(state="active", limit="2")) == sorted([*own[2:], theirs])


def test_a_list_shows_the_state_of_items(api: Api, item_id: ItemId) -> None:
    until = NOON + timedelta(days=5)
    expiry = Expiry("PENDING_EXPIRATION", until)
    api.tables.items.set(
        item_id,
        state=ItemState(StateName.NEEDS_USER, "ITEM_LOCKED", NOON, expiry),
        update_status="HISTORICAL_UPDATE_COMPLETE",
        synced_at=NOON,
    )
    (shown,) = api.get("/items", client_user_id="user")["items"]
    assert shown == {
        "item_id": item_id,
        "state": "needs_user",
        "code": "ITEM_LOCKED",
        "since": NOON_TEXT,
        "until": "2026-06-06T12:00:00.000Z",
        "remedy": "bank_then_update_mode",
        "what_to_do": "let the user fix the login at the bank, then go through Link in update mode",
        "client_user_id": "user",
        "institution_id": "ins_1",
        "linked_at": NOON_TEXT,
        "pulled_at": NOON_TEXT,
        "history_phase": "historical",
    }
    api.tables.items.set(item_id, state=ItemState(StateName.EXPIRING, "PENDING_EXPIRATION", NOON, expiry))
    (shown,) = api.get("/items")["items"]
    assert (shown["state"], shown["until"], shown["remedy"]) == ("expiring", "2026-06-06T12:00:00.000Z", "update_mode")


def test_a_failing_item_shows_it_in_its_state_of_plaid(api: Api, item_id: ItemId) -> None:
    since, last = NOON - timedelta(hours=3), NOON - timedelta(minutes=2)
    failure = ItemFailure("INTERNAL_SERVER_ERROR", "transient", since, last)
    api.tables.items.set(item_id, failure=failure, next_attempt_at=NOON)
    (listed,) = api.get("/items")["items"]
    summary = {"since": "2026-06-01T09:00:00.000Z", "code": "INTERNAL_SERVER_ERROR"}
    assert (listed["state"], listed["failing"]) == ("active", summary)
    assert (listed["remedy"], listed["what_to_do"]) == ("wait", "no action; retried automatically")
    shown = api.get(f"/items/{item_id}")
    assert shown["failing"] == summary | {"class": "transient", "last_failed_at": "2026-06-01T11:58:00.000Z"}
    assert (shown["state"], shown["next_attempt_at"]) == ("active", NOON_TEXT)
    api.tables.items.set(item_id, state=ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON))
    assert api.get(f"/items/{item_id}")["remedy"] == "update_mode"


# ---- one Item


def test_an_item_is_shown_with_everything(api: Api, item_id: ItemId) -> None:
    put_rows(api, item_id, transaction("a"), transaction("b"))
    api.tables.items.set(item_id, synced_at=NOON, update_status="INITIAL_UPDATE_COMPLETE", reconcile=True)
    api.tables.items.set(
        item_id, account_states=AccountStates(frozenset({"login-1111"}), frozenset({"b"}), frozenset({"a"}))
    )
    api.plaid.report = ItemHealth(last_success_at=NOON)
    shown = api.get(f"/items/{item_id}")
    assert (shown["state"], shown["remedy"], shown["history_phase"]) == ("active", "none", "initial")
    assert shown["accounts"][0] == {
        "account_id": "login-0000",
        "name": "login 0000",
        "mask": "0000",
        "type": "depository",
        "subtype": "checking",
        "state": "listed",
    }
    states = [(account["account_id"], account["state"]) for account in shown["accounts"][1:]]
    assert states == [("login-1111", "gone"), ("a", "erased"), ("b", "withdrawn")]
    bank = {"checked_at": NOON_TEXT, "last_success_at": NOON_TEXT, "last_failure_at": None}
    assert shown["freshness"] == {"pulled_at": NOON_TEXT, "bank": bank}
    assert shown["transactions"] == {"live": 2, "exact": True}
    assert shown["reconcile_pending"] is True
    assert {"removal", "pulled_at"}.isdisjoint(shown)


def test_an_item_without_a_session_is_shown(api: Api) -> None:
    api.plaid.add_public_token("public-1")
    item_id = content(api.request("POST", "/items", {"public_token": "public-1"}), 201)["item_id"]
    shown = api.get(f"/items/{item_id}")
    assert "client_user_id" not in shown
    assert (shown["history_phase"], shown["accounts"]) == ("unknown", [])
    assert "pulled_at" not in shown["freshness"]


def test_an_item_is_shown_although_plaid_does_not_respond(api: Api, item_id: ItemId) -> None:
    api.plaid.refusals["health"] = "ITEM_LOGIN_REQUIRED"
    assert api.get(f"/items/{item_id}")["freshness"]["bank"] == {"unknown_because": "ITEM_LOGIN_REQUIRED"}
    api.fail("plaid", "health", TransientError("plaid_unreachable"))
    assert api.get(f"/items/{item_id}")["freshness"]["bank"] == {"unknown_because": "plaid_unreachable"}


def test_the_bank_status_is_cached_for_a_minute_or_until_the_next_sync(api: Api, item_id: ItemId) -> None:
    def bank() -> dict[str, Any]:
        shown: dict[str, Any] = api.get(f"/items/{item_id}")["freshness"]["bank"]
        return shown

    api.plaid.report = ItemHealth("ITEM_LOCKED")
    first = bank()
    assert (first["checked_at"], first["error_code"]) == (NOON_TEXT, "ITEM_LOCKED")
    api.plaid.report = ItemHealth()
    api.tables.clock.time += timedelta(seconds=59)
    assert [bank() for _ in range(5)] == [first] * 5
    assert api.plaid.calls["health"] == 1
    api.tables.clock.time += timedelta(seconds=1)
    later = bank()
    assert (later["checked_at"], "error_code" in later) == ("2026-06-01T12:01:00.000Z", False)
    api.tables.clock.time += timedelta(seconds=1)
    api.tables.items.set(item_id, synced_at=api.tables.clock.time)
    assert bank()["checked_at"] == "2026-06-01T12:01:01.000Z"
    assert api.plaid.calls["health"] == 3


def test_a_bank_status_that_cannot_be_stored_is_shown(api: Api, item_id: ItemId) -> None:
    api.fail("items", "save_bank_status")
    assert api.get(f"/items/{item_id}")["freshness"]["bank"]["checked_at"] == NOON_TEXT
    assert api.item(item_id).bank is None


def test_the_history_is_shown_newest_first_in_pages(api: Api, item_id: ItemId) -> None:
    for _ in range(3):
        api.tables.clock.time += timedelta(seconds=1)
        content(api.request("POST", f"/items/{item_id}/sync"), 202)
    path = f"/items/{item_id}/history"
    whole = api.get(path)["history"]
    assert [entry["at"] for entry in whole] == sorted((entry["at"] for entry in whole), reverse=True)
    assert [entry["outcome"] for entry in whole] == ["queued"] * 3 + ["linked"]
    newest = whole[0]
    assert (newest["kind"], newest["request"], newest["caller"], newest["correlation_ids"]) == (
        "request",
        "POST /items/{item_id}/sync",
        CALLER,
        [f"request-{api.requests - 1}"],
    )
    assert api.pages(path, "history", limit="2") == whole


# ---- transactions


def test_transactions_are_plaids_own_objects_with_exact_amounts(api: Api, item_id: ItemId) -> None:
    documents = [transaction(str(number)) | {"amount": Decimal("0.1234567"), "x": {"y": None}} for number in range(5)]
    put_rows(api, item_id, *documents)
    removed = RowRemoval(TransactionId("gone"))
    row = StoredRow(removed.transaction_id, "account", live=False, generation=1, first_generation=1)
    api.tables.transactions.rows_of[item_id][row.transaction_id] = row
    path = f"/items/{item_id}/transactions"
    assert api.pages(path, "transactions", limit="2") == api.get(path)["transactions"] == documents


def test_damaged_rows_are_named_and_end_no_list(api: Api, item_id: ItemId) -> None:
    put_rows(api, item_id, *(transaction(str(number)) for number in range(4)))
    rows = api.tables.transactions.rows_of[item_id]
    for damaged in map(TransactionId, ("1", "3")):
        content_of_row = rows[damaged].row
        assert content_of_row is not None
        rows[damaged] = replace(rows[damaged], row=replace(content_of_row, remainder=b"damaged"))
    shown = api.get(f"/items/{item_id}/transactions")
    assert [document["transaction_id"] for document in shown["transactions"]] == ["0", "2"]
    assert shown["unreadable"] == ["1", "3"]
    assert api.unreadable == [(item_id, ["1", "3"])]
    assert "unreadable" not in api.get(f"/items/{item_id}/transactions", limit="1")


def test_an_item_with_a_damaged_row_is_a_problem_and_not_a_crash(api: Api, item_id: ItemId) -> None:
    for method, path in (("GET", ""), ("POST", "/sync"), ("DELETE", ""), ("GET", "/transactions")):
        api.fail("items", "load", UnreadableItemError(item_id))
        shown = problem(api.request(method, f"/items/{item_id}{path}"), 500, "item_unreadable")
        assert shown["item_id"] == item_id


def test_the_transactions_of_an_account_are_sorted_newest_first(api: Api, item_id: ItemId) -> None:
    documents = [
        transaction(f"{day}{number}") | {"date": f"2026-01-0{day}", "account_id": f"account-{number}"}
        for number in range(2)
        for day in (2, 1, 3)
    ]
    put_rows(api, item_id, *documents)
    api.tables.items.set(item_id, accounts=(Account("account-0"), Account("account-1")))
    path = f"/items/{item_id}/accounts/account-1/transactions"
    api.tables.items.set(item_id, generation=1)
    shown = api.pages(path, "transactions", order="newest", limit="2")
    assert [document["transaction_id"] for document in shown] == ["31", "21", "11"]
    problem(api.request("GET", f"/items/{item_id}/accounts/another/transactions"), 404, "account_not_found")


@pytest.mark.parametrize(
    ("rest", "query", "field"),
    [
        *(("", {"limit": value}, "limit") for value in ("0", "101")),
        ("", {"state": "terminal"}, "state"),
        ("", {"client_user_id": "u" * 129}, "client_user_id"),
        *(("", {"next": value}, "next") for value in ("!", "e30", page_token("[" * 5000))),
        ("", {"next": page_token({"state": 1, "fresh_at": "a", "item_id": "b"})}, "next"),
        ("", {"state": "active", "next": page_token({"state": "removed", "fresh_at": "a", "item_id": "b"})}, "next"),
        ("", {"client_user_id": "u", "next": page_token({"item_id": "i"})}, "next"),
        ("", {"client_user_id": "u", "next": page_token({"client_user_id": "v", "item_id": "i"})}, "next"),
        ("/history", {"next": page_token({"item_id": "other"})}, "next"),
        ("/transactions", {"limit": "501"}, "limit"),
        *(("/transactions", {"from": value}, "from") for value in ("", "2026-1-1", "20260101", "2026-02-30", "x")),
        ("/transactions", {"from": "2026-01-02", "to": "2026-01-01"}, "to"),
        *(("/transactions", {"min_amount": value}, "min_amount") for value in ("", "1e3", "NaN", "1,5", "--1")),
        ("/transactions", {"min_amount": "1.01", "max_amount": "1.0"}, "max_amount"),
        ("/transactions", {"pending": "yes"}, "pending"),
        *(("/transactions", {name: ""}, name) for name in ("text", "category", "order", "next")),
        ("/transactions", {"account_id": "a"}, "account_id"),
        ("/transactions", {"next": page_token({"after": "a", "generation": None, "changes": False})}, "next"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_query_is_rejected_by_parameter(
    api: Api, item_id: ItemId, rest: str, query: dict[str, str], field: str
) -> None:
    response = api.request("GET", f"/items/{item_id}{rest}" if rest else "/items", query=query)
    assert problem(response, 400, "invalid_request")["field"] == field


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("transactions", {"order": "oldest"}),
        ("transactions", {"order": "newest", "pending": "false"}),
        ("transactions", {}),
        ("accounts/account/transactions", {"order": "newest"}),
    ],
)
def test_a_page_token_belongs_to_its_item_account_and_query(
    api: Api, item_id: ItemId, path: str, query: dict[str, str]
) -> None:
    other = api.linked("another")
    for each in (item_id, other):
        put_rows(api, each, *(transaction(str(number)) for number in range(3)))
        api.tables.items.set(each, accounts=(Account("account"),), generation=1)
    token = api.get(f"/items/{item_id}/transactions", order="newest", limit="1")["next"]

    def answer(path: str, **query: str) -> Any:
        return api.request("GET", path, query=query)

    whole = {"order": "newest", "next": token}
    assert len(content(answer(f"/items/{item_id}/transactions", **whole, limit="2"))["transactions"]) == 2
    refused = problem(answer(f"/items/{item_id}/{path}", **query, next=token), 400, "invalid_request")
    assert refused["field"] == "next"
    assert "begin again" in refused["fix"]
    problem(answer(f"/items/{other}/transactions", **whole), 400, "invalid_request")
    changed = f"{token[:-2]}{'A' if token[-2] != 'A' else 'B'}{token[-1]}"
    for forged in (changed, token[:10], token + "AAAA"):
        problem(answer(f"/items/{item_id}/transactions", order="newest", next=forged), 400, "invalid_request")
    api.secret = "rotated"
    problem(answer(f"/items/{item_id}/transactions", **whole), 400, "invalid_request")


def test_a_row_newer_than_its_item_is_in_a_list_by_date(api: Api, item_id: ItemId) -> None:
    """As after a restored Items table."""
    put_rows(api, item_id, *(transaction(str(number)) for number in range(4)))
    api.tables.items.set(item_id, accounts=(Account("account"),), generation=0)
    path, query = f"/items/{item_id}/transactions", {"order": "oldest", "limit": "2"}
    first = api.get(path, **query)
    second = api.get(path, **query, next=first["next"])
    third = api.get(path, **query, next=second["next"])
    last = api.get(path, **query, next=third["next"])
    ids = [
        each["transaction_id"] for page in (first, third, last) for each in page.get("changed", page["transactions"])
    ]
    assert ids == ["0", "1", "0", "1", "2", "3"]


# ---- one transaction


def test_a_transaction_is_shown_with_its_annotations_and_its_lineage(api: Api, item_id: ItemId) -> None:
    pending = transaction("pending") | {"pending": True}
    posted = transaction("posted") | {"pending_transaction_id": "pending", "amount": Decimal("12.340")}
    put_rows(api, item_id, pending, posted, transaction("alone") | {"pending_transaction_id": "lost"})
    table = api.tables.transactions
    rows = table.rows_of[item_id]
    gone, path = TransactionId("pending"), f"/items/{item_id}/transactions"
    rows[gone] = replace(rows[gone], live=False, row=None, posted_transaction_id="posted")
    table.annotations[TransactionId("posted")] = {"note": "mine"}
    brief = {"transaction_id": "posted", "state": "live", "amount": "12.340", "transaction": posted}
    removed = {"transaction_id": "pending", "state": "removed", "removed_at": NOON_TEXT}
    assert api.get(f"{path}/posted") == brief | {"annotations": {"note": "mine"}, "lineage": {"pending": removed}}
    assert api.get(f"{path}/pending") == removed | {"annotations": {}, "lineage": {"posted": brief}}
    assert api.get(f"{path}/alone")["lineage"] == {"pending": {"transaction_id": "lost", "state": "not_stored"}}
    problem(api.request("GET", f"{path}/unknown"), 404, "transaction_not_found")
    problem(api.request("GET", f"{path}/{'x' * 1001}"), 404, "transaction_not_found")
    refused = problem(api.request("GET", f"{path}/posted", query={"colour": "red"}), 400, "invalid_request")
    assert refused["field"] == "colour"


def test_a_damaged_transaction_is_reported(api: Api, item_id: ItemId) -> None:
    put_rows(api, item_id, transaction("a"))
    rows = api.tables.transactions.rows_of[item_id]
    row = rows[TransactionId("a")].row
    assert row is not None
    rows[TransactionId("a")] = replace(rows[TransactionId("a")], row=replace(row, remainder=b"damaged"))
    shown = api.get(f"/items/{item_id}/transactions/a")
    assert (shown["state"], shown["unreadable"], "transaction" in shown) == ("live", True, False)
    assert api.unreadable == [(item_id, ["a"])]


@pytest.mark.parametrize("rest", ["transactions", "transactions/a"])
def test_an_unchanged_response_is_not_sent_again(api: Api, item_id: ItemId, rest: str) -> None:
    put_rows(api, item_id, transaction("a"))

    def answer(known: str) -> Any:
        return api.request("GET", f"/items/{item_id}/{rest}", headers={"If-None-Match": known})

    etag = answer('"another"')["headers"]["etag"]
    for known in (etag, f'"another", {etag}', f"W/{etag}", "*"):
        assert answer(known) == {"statusCode": 304, "headers": {"etag": etag}, "body": ""}
    put_rows(api, item_id, transaction("a", 2))
    changed = answer(etag)
    assert changed["statusCode"] == 200
    assert changed["headers"]["etag"] != etag
