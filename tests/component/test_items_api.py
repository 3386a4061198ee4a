"""The Items API's other routes: what they show, change and refuse."""

from __future__ import annotations

import base64
import json
import logging
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.lifecycle.states import TABLE, Action, Event

from local.plaid import Behavior, Phase
from tests.component.crashes import Crash, asleep_at, killed_at, unreachable
from tests.component.inside import reads_the_logs, steps_the_clock, strikes_a_call
from tests.component.links import content, history, link_token, linked, refused, triggers, went_through_link
from tests.component.world import CALLER

if TYPE_CHECKING:
    from tests.component.world import World

ON_AN_ITEM = [
    ("GET", ""),
    ("DELETE", ""),
    ("GET", "/history"),
    ("GET", "/transactions"),
    ("POST", "/sync"),
    ("POST", "/refresh"),
    ("POST", "/resync"),
    ("POST", "/webhook"),
    ("POST", "/accounts"),
]
CALLS_PLAID = {
    "/refresh": "/transactions/refresh",
    "/webhook": "/item/webhook/update",
    "/accounts": "/accounts/get",
}
EVENTS = {
    "/sync": Event.SYNC,
    "/refresh": Event.REFRESH,
    "/resync": Event.RESYNC,
    "/webhook": Event.SET_WEBHOOK,
    "/accounts": Event.ACCOUNTS,
}


@pytest.fixture
def behavior() -> Behavior:
    return Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None, history_transactions=30)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return f"user of {request.node.name}"


def synced(world: World, user: str) -> str:
    """Link an Item whose whole history is in the table."""
    item_id = linked(world, user)
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    return item_id


# ---- what all routes have in common


@pytest.mark.parametrize(("method", "rest"), ON_AN_ITEM)
def test_an_item_that_does_not_exist_is_404(world: World, method: str, rest: str) -> None:
    for item_id in ("unknown", "no id", "i" * 129, "\u00e9"):
        problem = refused(world.request(method, f"/items/{item_id}{rest}"), 404, "item_not_found")
        assert problem["fix"]
    assert world.plaid.calls == {}


@pytest.mark.parametrize(("method", "rest"), [*ON_AN_ITEM, ("LIST", ""), ("LINK", ""), ("TOKEN", "")])
def test_a_query_parameter_that_a_route_does_not_have_is_named(world: World, user: str, method: str, rest: str) -> None:
    collections = {"LIST": ("GET", "/items"), "LINK": ("POST", "/items"), "TOKEN": ("POST", "/link-tokens")}
    verb, path = collections.get(method, (method, f"/items/unknown{rest}"))
    body = {"LINK": {"public_token": "public-1"}, "TOKEN": {"client_user_id": user}}.get(method)
    problem = refused(world.request(verb, path, body, {"colour": "red"}), 400, "invalid_request")
    assert problem["field"] == "colour"


@pytest.mark.parametrize(("method", "rest"), [pair for pair in ON_AN_ITEM if pair[0] != "GET"])
@pytest.mark.parametrize(("body", "field"), [({"colour": "red"}, "colour"), ([], "body"), ("{", "body"), (7, "body")])
def test_a_body_that_a_route_does_not_have_is_named(
    world: World, method: str, rest: str, body: object, field: str
) -> None:
    assert refused(world.request(method, f"/items/unknown{rest}", body), 400, "invalid_request")["field"] == field


def test_a_route_that_does_not_exist_is_404(world: World) -> None:
    refused(world.request("PATCH", "/items/one"), 404, "route_unknown")
    refused(world.request("GET", "/items", route="$default"), 404, "route_unknown")


@pytest.mark.parametrize("rest", EVENTS)
@pytest.mark.parametrize("status", ItemStatus)
def test_a_state_refuses_what_the_table_refuses(world: World, user: str, rest: str, status: ItemStatus) -> None:
    item_id = linked(world, user)
    world.set_attribute(item_id, "status", {"S": status.value})
    world.set_attribute(item_id, "status_code", {"S": "ITEM_LOCKED"})
    answer = world.request("POST", f"/items/{item_id}{rest}")
    if TABLE[status, EVENTS[rest]].action is not Action.REFUSE:
        assert answer["statusCode"] in {200, 202}
        return
    problem = refused(answer, 410 if status is ItemStatus.REMOVED else 409, f"item_{status.value}")
    assert problem["fix"]
    if status is not ItemStatus.REMOVED:
        assert problem["remedy"] == {"needs_user": "bank_then_update_mode", "revoked": "relink"}[status.value]
    assert CALLS_PLAID.get(rest, "") not in world.plaid.calls


@pytest.mark.parametrize("rest", CALLS_PLAID)
@pytest.mark.parametrize(
    ("code", "status", "retry_after"),
    [
        ("ITEM_LOGIN_REQUIRED", 409, None),
        ("ITEM_NOT_FOUND", 409, None),
        ("TRANSACTIONS_LIMIT", 429, "60"),
        ("INSTITUTION_DOWN", 503, "3600"),
        ("INTERNAL_SERVER_ERROR", 503, "5"),
        ("SOMETHING_NEW", 503, "5"),
        ("INVALID_ACCESS_TOKEN", 502, None),
    ],
)
def test_a_refusal_of_plaids_says_what_can_be_done(  # noqa: PLR0913, PLR0917 - each a dimension of the table
    world: World, user: str, rest: str, code: str, status: int, retry_after: str | None
) -> None:
    item_id = linked(world, user)
    world.plaid.inject_fault(CALLS_PLAID[rest], code)
    answer = world.request("POST", f"/items/{item_id}{rest}")
    problem = refused(answer, status, code)
    assert answer["headers"].get("retry-after") == retry_after
    assert problem["plaid_request_id"]
    assert problem["fix"]
    assert problem.get("remedy") == ({"ITEM_LOGIN_REQUIRED": "update_mode", "ITEM_NOT_FOUND": "relink"}.get(code))
    entry = history(world, item_id)[-1]
    assert (entry["outcome"], entry["code"]) == ("refused", code)
    assert entry["plaid_request_ids"] == [problem["plaid_request_id"]]


@pytest.mark.parametrize("rest", CALLS_PLAID)
def test_a_plaid_that_can_not_be_reached_is_503(world: World, user: str, rest: str) -> None:
    item_id = linked(world, user)
    world.plaid.inject_fault(CALLS_PLAID[rest], drop="before")
    answer = world.request("POST", f"/items/{item_id}{rest}")
    content(answer, 503)
    assert answer["headers"]["retry-after"] == "5"


# ---- lists


def listed(world: World, **query: str) -> list[str]:
    """Return the Items of all pages of a list."""
    found: list[str] = []
    page = content(world.request("GET", "/items", query=query))
    while True:
        found += [item["item_id"] for item in page["items"]]
        assert len(page["items"]) <= int(query.get("limit", "50"))
        if "next" not in page:
            return found
        page = content(world.request("GET", "/items", query=query | {"next": page["next"]}))


def test_items_are_listed_by_user_and_state_in_pages(world: World, user: str) -> None:
    mine = [linked(world, user, f"login {number}") for number in range(5)]
    theirs = linked(world, f"{user} 2")
    world.plaid.reset_login(mine[0])
    world.trigger(mine[0])
    world.drain()
    content(world.request("DELETE", f"/items/{mine[1]}"), 202)
    assert sorted(listed(world, client_user_id=user)) == sorted(mine)
    assert sorted(listed(world, client_user_id=user, limit="2")) == sorted(mine)
    assert listed(world, client_user_id=user, state="needs_user") == [mine[0]]
    assert listed(world, client_user_id=user, state="removed", limit="1") == [mine[1]]
    everything = listed(world, limit="3")
    assert {*mine, theirs} <= set(everything)
    assert len(everything) == len(set(everything))
    assert mine[0] in listed(world, state="needs_user")
    assert mine[2] in listed(world, state="active", limit="7")
    assert mine[0] not in listed(world, state="active")


def test_a_list_shows_how_items_stand(world: World, user: str) -> None:
    item_id = synced(world, user)
    world.plaid.set_item_error(item_id, "ITEM_LOCKED")
    world.trigger(item_id)
    world.drain()
    (shown,) = content(world.request("GET", "/items", query={"client_user_id": user}))["items"]
    row = world.item(item_id)
    assert shown == {
        "item_id": item_id,
        "state": "needs_user",
        "code": "ITEM_LOCKED",
        "since": row["status_at"],
        "remedy": "bank_then_update_mode",
        "what_to_do": shown["what_to_do"],
        "client_user_id": user,
        "institution_id": "ins_109508",
        "linked_at": row["linked_at"],
        "pulled_at": row["synced_at"],
        "history_phase": "historical",
    }


def test_an_expiring_item_is_listed_with_its_deadline(world: World, user: str) -> None:
    item_id = linked(world, user)
    for name, value in {
        "status": "expiring",
        "status_code": "PENDING_EXPIRATION",
        "expiry_code": "PENDING_EXPIRATION",
        "expiry_until": "2099-01-01T00:00:00.000Z",
    }.items():
        world.set_attribute(item_id, name, {"S": value})
    (shown,) = content(world.request("GET", "/items", query={"client_user_id": user}))["items"]
    assert (shown["state"], shown["until"]) == ("expiring", "2099-01-01T00:00:00.000Z")
    assert shown["remedy"] == "update_mode"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "1,2"}, "limit"),
        ({"limit": "\u0663"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"state": "terminal"}, "state"),
        ({"client_user_id": "u" * 129}, "client_user_id"),
        ({"next": "!"}, "next"),
        ({"next": "e30"}, "next"),
        ({"next": base64.urlsafe_b64encode(b"[" * 5000).decode()}, "next"),
        ({"next": base64.urlsafe_b64encode(b'{"status":1,"fresh_at":"a","item_id":"b"}').decode()}, "next"),
        (
            {
                "state": "active",
                "next": base64.urlsafe_b64encode(b'{"status":"removed","fresh_at":"a","item_id":"b"}').decode(),
            },
            "next",
        ),
        ({"client_user_id": "u", "next": base64.urlsafe_b64encode(b'{"item_id":"i"}').decode()}, "next"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_query_of_a_list_names_its_parameter(world: World, query: dict[str, str], field: str) -> None:
    assert refused(world.request("GET", "/items", query=query), 400, "invalid_request")["field"] == field


# ---- one Item


def test_an_item_is_shown_whole(world: World, user: str) -> None:
    item_id = synced(world, user)
    shown = content(world.request("GET", f"/items/{item_id}"))
    row, plaid = world.item(item_id), world.plaid.item(item_id)
    assert (shown["state"], shown["remedy"], shown["history_phase"]) == ("active", "none", "historical")
    assert (shown["client_user_id"], shown["institution_id"]) == (user, "ins_109508")
    assert {account["account_id"] for account in shown["accounts"]} == {
        account["account_id"] for account in plaid.generator.accounts
    }
    assert shown["freshness"]["pulled_at"] == row["synced_at"]
    assert shown["freshness"]["bank"]["last_success_at"]
    assert shown["freshness"]["bank"]["last_failure_at"] is None
    assert shown["transactions"] == {"live": len(world.live(item_id)), "exact": True}
    assert shown["transactions"]["live"]
    assert (shown["reconcile_owed"], shown["revoked_accounts"]) == (False, [])
    assert "removal" not in shown


def test_an_item_without_a_session_is_shown_too(world: World) -> None:
    shown = content(world.request("GET", f"/items/{world.link(transactions=2)}"))
    assert "client_user_id" not in shown
    assert (shown["history_phase"], shown["accounts"]) == ("unknown", [])
    assert "pulled_at" not in shown["freshness"]


@pytest.mark.parametrize("fault", [{"error_code": "ITEM_LOGIN_REQUIRED"}, {"drop": "before"}, {"status": 500}])
def test_a_plaid_that_does_not_tell_of_the_bank_does_not_hide_the_item(
    world: World, user: str, fault: dict[str, Any]
) -> None:
    item_id = linked(world, user)
    world.plaid.inject_fault("/item/get", **fault)
    shown = content(world.request("GET", f"/items/{item_id}"))
    assert shown["freshness"]["bank"].keys() == {"unknown_because"}
    assert shown["freshness"]["bank"]["unknown_because"]


@steps_the_clock
def test_who_asks_often_gets_the_banks_last_answer_again(world: World, user: str) -> None:
    item_id = linked(world, user)
    world.plaid.set_item_error(item_id, "ITEM_LOCKED")
    now = world.clock()
    world.clock = lambda: now
    calls = world.plaid.calls["/item/get"]
    shown = [content(world.request("GET", f"/items/{item_id}"))["freshness"]["bank"] for _ in range(20)]
    assert world.plaid.calls["/item/get"] == calls + 1
    assert shown == [shown[0]] * 20
    assert shown[0]["asked_at"] == now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert (shown[0]["error_code"], world.item(item_id)["bank_error_code"]) == ("ITEM_LOCKED", "ITEM_LOCKED")
    world.plaid.set_item_error(item_id, None)
    world.clock = lambda: now + timedelta(seconds=60)
    later = content(world.request("GET", f"/items/{item_id}"))["freshness"]["bank"]
    assert world.plaid.calls["/item/get"] == calls + 2
    assert later["asked_at"] > shown[0]["asked_at"]
    assert "error_code" not in later
    assert "bank_error_code" not in world.item(item_id)


def test_after_a_sync_the_bank_is_asked_for_anew(world: World, user: str) -> None:
    item_id = linked(world, user)
    shown = content(world.request("GET", f"/items/{item_id}"))["freshness"]["bank"]
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    later = content(world.request("GET", f"/items/{item_id}"))["freshness"]
    assert (shown["last_success_at"], later["bank"]["asked_at"] >= later["pulled_at"]) == (None, True)
    assert later["bank"]["last_success_at"]


@strikes_a_call
def test_a_banks_answer_that_can_not_be_kept_is_shown_all_the_same(world: World, user: str) -> None:
    item_id = linked(world, user)
    with unreachable("UpdateItem", before=True):
        shown = content(world.request("GET", f"/items/{item_id}"))
    assert shown["freshness"]["bank"]["asked_at"]
    assert "bank_asked_at" not in world.item(item_id)


def test_history_comes_newest_first_in_pages(world: World, user: str) -> None:
    item_id = synced(world, user)
    for _ in range(3):
        content(world.request("POST", f"/items/{item_id}/sync"), 202)
    whole = content(world.request("GET", f"/items/{item_id}/history"))["history"]
    moments = [entry["at"] for entry in whole]
    assert moments == sorted(moments, reverse=True)
    assert whole[-1]["outcome"] == "linked"
    assert [(entry["kind"], entry["request"], entry["caller"]) for entry in whole[:3]] == [
        ("request", "POST /items/{item_id}/sync", CALLER)
    ] * 3
    found, query = [], {"limit": "2"}
    while True:
        page = content(world.request("GET", f"/items/{item_id}/history", query=query))
        found += page["history"]
        if "next" not in page:
            break
        query["next"] = page["next"]
    assert found == whole
    bad = {"next": base64.urlsafe_b64encode(b'{"item_id":"other"}').decode()}
    refused(world.request("GET", f"/items/{item_id}/history", query=bad), 400, "invalid_request")


# ---- transactions


def pages(world: World, item_id: str, **query: str) -> list[dict[str, Any]]:
    """Return the transactions of all pages, with exact numbers."""
    found: list[dict[str, Any]] = []
    while True:
        answer = world.request("GET", f"/items/{item_id}/transactions", query=query)
        page = json.loads(answer["body"], parse_float=Decimal)
        assert answer["statusCode"] == 200
        found += page["transactions"]
        if "next" not in page:
            return found
        query["next"] = page["next"]


def test_transactions_are_plaids_own_objects_digit_for_digit(world: World, user: str) -> None:
    item_id = synced(world, user)
    shown = {transaction["transaction_id"]: transaction for transaction in pages(world, item_id, limit="7")}
    assert shown.keys() == world.live(item_id).keys()
    amounts = {key: row["amount"] for key, row in world.live(item_id).items()}
    assert {key: transaction["amount"] for key, transaction in shown.items()} == amounts
    assert any("personal_finance_category" in transaction for transaction in shown.values())


def test_an_accounts_transactions_come_newest_first(world: World, user: str) -> None:
    item_id = synced(world, user)
    accounts = {row["account_id"] for row in world.live(item_id).values()}
    total = 0
    for account_id in accounts:
        shown = pages(world, item_id, account_id=account_id, limit="3")
        order = [(one["date"], one["transaction_id"]) for one in shown]
        assert order == sorted(order, reverse=True)
        assert {one["account_id"] for one in shown} == {account_id}
        total += len(shown)
    assert total == len(world.live(item_id))


def test_an_account_of_another_item_shows_nothing(world: World, user: str) -> None:
    item_id, other = synced(world, user), synced(world, f"{user} 2")
    account_id = next(iter(world.live(other).values()))["account_id"]
    assert pages(world, item_id, account_id=account_id) == []


def test_rows_that_an_application_has_annotated_before_they_came_are_no_transactions(world: World, user: str) -> None:
    item_id = synced(world, user)
    world.stack.client("dynamodb").put_item(
        TableName=world.stack.transactions_table,
        Item={"item_id": {"S": item_id}, "transaction_id": {"S": "note"}, "note": {"S": "mine"}},
    )
    assert {one["transaction_id"] for one in pages(world, item_id)} == world.live(item_id).keys() - {"note"}
    shown = content(world.request("GET", f"/items/{item_id}"))
    assert shown["transactions"]["live"] == len(world.live(item_id)) - 1


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "501"},
        {"account_id": ""},
        {"next": base64.urlsafe_b64encode(b'{"date_id":"a","transaction_id":"b"}').decode()},
        {"account_id": "a", "next": base64.urlsafe_b64encode(b'{"transaction_id":"b"}').decode()},
    ],
    ids=str,
)
def test_a_bad_query_for_transactions_is_refused(world: World, user: str, query: dict[str, str]) -> None:
    refused(world.request("GET", f"/items/{linked(world, user)}/transactions", query=query), 400, "invalid_request")


# ---- removal


def test_a_removed_item_is_not_written_any_more_and_plaid_lets_go_of_it(world: World, user: str) -> None:
    item_id = synced(world, user)
    before = world.rows(item_id)
    answer = world.request("DELETE", f"/items/{item_id}")
    shown = content(answer, 202)
    assert answer["headers"]["location"] == f"/items/{item_id}"
    assert (shown["item_id"], shown["state"], shown["removal"]["transactions"]) == (item_id, "removed", "keep")
    assert triggers(world) == [(item_id, "request")]
    # The trigger was lost; the same request, sent again, brings another.
    assert content(world.request("DELETE", f"/items/{item_id}"), 202) == shown
    world.drain()
    assert world.plaid.item(item_id).removed
    assert world.rows(item_id) == before
    told = [entry for entry in history(world, item_id) if "ItemRemoved" in entry.get("announcements", [])]
    assert len(told) == 1
    shown = content(world.request("GET", f"/items/{item_id}"))
    assert (shown["state"], shown["remedy"]) == ("removed", "none")
    assert shown["removal"].keys() == {"requested_at", "transactions", "plaid_removed_at", "completed_at"}
    assert "bank" not in shown["freshness"]
    assert "access_token" not in world.item(item_id)
    assert len(pages(world, item_id)) == len(world.live(item_id))
    # It is done: another request changes nothing, and wakes nobody.
    content(world.request("DELETE", f"/items/{item_id}"), 202)
    assert triggers(world) == []


def test_rows_are_erased_where_that_is_asked_for_even_afterwards(world: World, user: str) -> None:
    item_id = synced(world, user)
    rows = len(world.rows(item_id))
    content(world.request("DELETE", f"/items/{item_id}"), 202)
    world.drain()
    shown = content(world.request("DELETE", f"/items/{item_id}", query={"transactions": "erase"}), 202)
    assert shown["removal"]["transactions"] == "erase"
    assert "completed_at" not in shown["removal"]
    # Never back to keep.
    shown = content(world.request("DELETE", f"/items/{item_id}", query={"transactions": "keep"}), 202)
    assert shown["removal"]["transactions"] == "erase"
    world.drain()
    assert world.rows(item_id) == {}
    removal = content(world.request("GET", f"/items/{item_id}"))["removal"]
    assert removal["rows_erased"] == rows
    assert removal["completed_at"]


def test_a_removal_asks_for_nothing_else(world: World, user: str) -> None:
    item_id = linked(world, user)
    answer = world.request("DELETE", f"/items/{item_id}", query={"transactions": "burn"})
    assert refused(answer, 400, "invalid_request")["field"] == "transactions"
    assert world.item(item_id)["status"] == "active"


@strikes_a_call
@pytest.mark.parametrize(
    ("method", "rest", "query"),
    [("DELETE", "", {"transactions": "erase"}), ("POST", "/sync", None), ("POST", "/resync", None)],
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_request_that_dies_at_any_call_is_completed_by_its_retry(  # noqa: PLR0913
    world: World, user: str, method: str, rest: str, query: dict[str, str] | None, *, before: bool
) -> None:
    number, struck = 0, True
    while struck:
        number += 1
        item_id = linked(world, user, f"login {number}")
        triggers(world)
        crash = Crash(number, before=before)
        with killed_at(crash):
            world.request(method, f"/items/{item_id}{rest}", query=query)
        struck = crash.struck
        content(world.request(method, f"/items/{item_id}{rest}", query=query), 202)
        assert (item_id, "request") in triggers(world)
        removed = [entry for entry in history(world, item_id) if "ItemRemoved" in entry.get("announcements", [])]
        assert len(removed) == (method == "DELETE")
    assert number > 2


# ---- what else can be asked for


def test_a_sync_is_queued_and_recorded(world: World, user: str) -> None:
    item_id = linked(world, user)
    triggers(world)
    assert content(world.request("POST", f"/items/{item_id}/sync", {}), 202) == {"queued": True}
    assert triggers(world) == [(item_id, "request")]
    entry = history(world, item_id)[-1]
    assert (entry["outcome"], entry["caller"]) == ("queued", CALLER)


def test_a_resync_pulls_from_the_beginning(world: World, user: str) -> None:
    item_id = synced(world, user)
    assert content(world.request("POST", f"/items/{item_id}/resync"), 202) == {"queued": True}
    assert world.item(item_id)["reconcile"] is True
    assert content(world.request("GET", f"/items/{item_id}"))["reconcile_owed"] is True
    world.drain()
    assert "reconcile" not in world.item(item_id)
    world.assert_exact(item_id)


@steps_the_clock
def test_an_item_is_refreshed_once_in_half_a_minute(world: World, user: str) -> None:
    item_id = synced(world, user)
    assert content(world.request("POST", f"/items/{item_id}/refresh"), 202) == {"requested": True}
    answer = world.request("POST", f"/items/{item_id}/refresh")
    refused(answer, 429, "refreshed_recently")
    assert 0 < int(answer["headers"]["retry-after"]) <= 30
    assert world.plaid.calls["/transactions/refresh"] == 1
    now = world.clock
    world.clock = lambda: now() + timedelta(seconds=31)
    content(world.request("POST", f"/items/{item_id}/refresh"), 202)
    assert world.plaid.calls["/transactions/refresh"] == 2
    assert history(world, item_id)[-1]["plaid_request_ids"]


def test_a_webhook_is_set_to_the_stacks_own(world: World, user: str) -> None:
    item_id = linked(world, user)
    world.plaid.update_webhook(item_id, "https://old.example.com/webhooks/plaid")
    answer = world.request("POST", f"/items/{item_id}/webhook")
    assert content(answer) == {"webhook": world.stack.webhook_url}
    assert world.plaid.item(item_id).webhook_url == world.stack.webhook_url


def test_accounts_are_fetched_and_kept_without_balances(world: World) -> None:
    item_id = world.link(transactions=2)
    shown = content(world.request("POST", f"/items/{item_id}/accounts"))["accounts"]
    truth = {account["account_id"]: account for account in world.plaid.item(item_id).generator.accounts}
    assert {account["account_id"] for account in shown} == truth.keys()
    for account in shown:
        assert account.keys() <= {"account_id", "name", "mask", "type", "subtype"}
        assert all(truth[account["account_id"]][name] == value for name, value in account.items())
    assert content(world.request("GET", f"/items/{item_id}"))["accounts"] == shown


@strikes_a_call
@pytest.mark.parametrize("rest", ["/resync", "/accounts"])
def test_an_item_that_is_removed_meanwhile_is_not_changed(world: World, user: str, rest: str) -> None:
    item_id = linked(world, user)
    with asleep_at(1, lambda: world.set_attribute(item_id, "status", {"S": "removed"}), "TransactWriteItems"):
        answer = world.request("POST", f"/items/{item_id}{rest}")
    refused(answer, 410, "item_removed")
    assert "reconcile" not in world.item(item_id)


@strikes_a_call
def test_what_aws_refuses_is_503_and_can_be_sent_again(world: World, user: str) -> None:
    item_id = linked(world, user)
    for target in ("GetItem", "PutItem", "SendMessage"):
        with unreachable(target, before=True):
            answer = world.request("POST", f"/items/{item_id}/sync")
        assert content(answer, 503)["fix"] == "send the same request again"
    with unreachable("Decrypt", before=True):
        content(world.request("POST", f"/items/{item_id}/accounts"), 503)


# ---- secrets


@reads_the_logs
def test_no_route_logs_or_answers_a_token_a_name_or_a_mask(
    world: World, user: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = went_through_link(world, user)
    capsys.readouterr()
    caplog.clear()
    answers = [world.request("POST", "/items", body)]
    item_id = content(answers[0], 201)["item_id"]
    token = link_token(world, user, item_id=item_id)
    world.plaid.complete_link(token)
    paths = [(method, f"/items/{item_id}{rest}") for method, rest in ON_AN_ITEM if method != "DELETE"]
    private = [world.request(method, path) for method, path in paths]
    answers.append(world.request("POST", f"/items/{item_id}/sync", {"link_token": token}))
    for fault in ("ITEM_LOGIN_REQUIRED", "INTERNAL_SERVER_ERROR"):
        world.plaid.inject_fault("/accounts/get", fault)
        answers.append(world.request("POST", f"/items/{item_id}/accounts"))
    answers.append(world.request("POST", "/items", went_through_link(world, user) | {"client_user_id": "another"}))
    answers.append(world.request("DELETE", f"/items/{item_id}"))
    output = capsys.readouterr().out + caplog.text + json.dumps(answers)
    plaid = world.plaid.item(item_id)
    secrets = [body["public_token"], body["link_token"], token, plaid.access_token, world.plaid.secret]
    for secret in secrets:
        assert secret not in output + json.dumps(private)
    for account in plaid.generator.accounts:
        assert account["name"] not in output
        assert f'"{account["mask"]}"' not in output
    assert user not in capsys.readouterr().out + caplog.text


@strikes_a_call
def test_a_resync_that_is_asked_for_during_a_sync_is_not_forgotten(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()

    def ask_for_resync() -> None:
        content(world.request("POST", f"/items/{item_id}/resync"), 202)

    with asleep_at(1, ask_for_resync, "TransactWriteItems") as sleep:
        assert world.handle(records) == {record["messageId"] for record in records}, "superseded, it comes back"
    assert sleep.struck
    assert world.item(item_id)["reconcile"] is True
    world.redeliver(records)
    world.drain()
    entries = content(world.request("GET", f"/items/{item_id}/history"))["history"]
    assert [entry.get("full_resync") for entry in entries if entry["kind"] == "sync"].count(True) == 1
    world.assert_exact(item_id)


@strikes_a_call
def test_a_first_sync_goes_on_while_accounts_are_fetched(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()

    def fetch_accounts() -> None:
        content(world.request("POST", f"/items/{item_id}/accounts"))

    with asleep_at(1, fetch_accounts, "TransactWriteItems") as sleep:
        assert world.handle(records) == set()
    assert sleep.struck
    world.assert_exact(item_id)


@strikes_a_call
def test_an_update_mode_that_is_finished_during_a_sync_is_not_forgotten(world: World) -> None:
    item_id = linked(world, "user-of-two-tabs")
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    body = {"webhook_type": "ITEM", "webhook_code": "PENDING_DISCONNECT", "item_id": item_id}
    text = json.dumps(body).encode()
    world.post_webhook(text, world.plaid.sign(text))
    world.drain()
    assert world.item(item_id)["status"] == "expiring"
    token = link_token(world, "user-of-two-tabs", item_id=item_id)
    world.plaid.complete_link(token)
    world.trigger(item_id)
    records = world.receive()

    def finish_update_mode() -> None:
        content(world.request("POST", f"/items/{item_id}/sync", {"link_token": token}), 202)

    with asleep_at(1, finish_update_mode, "TransactWriteItems") as sleep:
        world.handle(records)
    assert sleep.struck
    world.redeliver(records)
    world.drain()
    world.assert_exact(item_id, status="active")
