"""The Items API's other routes: what they show, change and refuse."""

from __future__ import annotations

import base64
import json
import logging
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from local.plaid import Behavior, Phase
from tests.integration.crashes import Crash, asleep_at, killed_at
from tests.integration.harness import CALLER
from tests.integration.in_process import reads_the_logs, steps_the_clock, strikes_a_call
from tests.integration.link_flows import content, history, link_token, linked, refused, take_messages, went_through_link

if TYPE_CHECKING:
    from tests.integration.harness import World

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


@pytest.fixture
def behavior() -> Behavior:
    return Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None, history_transactions=30)


def synced(world: World, user: str) -> str:
    """Link an Item whose whole history is in the table."""
    item_id = linked(world, user)
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    return item_id


def pages(world: World, path: str, name: str, **query: str) -> list[dict[str, Any]]:
    """Return the entries of all pages, with exact numbers."""
    found: list[dict[str, Any]] = []
    while True:
        answer = world.request("GET", path, query=query)
        page = json.loads(answer["body"], parse_float=Decimal)
        assert answer["statusCode"] == 200
        assert len(page[name]) <= int(query.get("limit", "500"))
        found += page[name]
        if "next" not in page:
            return found
        query["next"] = page["next"]


def test_items_are_listed_by_user_and_state_in_pages(world: World, user: str) -> None:
    def listed(**query: str) -> list[str]:
        return [item["item_id"] for item in pages(world, "/items", "items", **query)]

    mine = [linked(world, user, f"login {number}") for number in range(3)]
    theirs = linked(world, f"{user} 2")
    world.plaid.reset_login(mine[0])
    world.enqueue(mine[0])
    world.drain()
    content(world.request("DELETE", f"/items/{mine[1]}"), 202)
    assert sorted(listed(client_user_id=user)) == sorted(listed(client_user_id=user, limit="2")) == sorted(mine)
    assert listed(client_user_id=user, state="needs_user") == [mine[0]]
    assert listed(client_user_id=user, state="removed", limit="1") == [mine[1]]
    everything = listed(limit="20")
    assert {*mine, theirs} <= set(everything)
    assert len(everything) == len(set(everything))
    assert mine[0] in listed(state="needs_user")
    active = listed(state="active", limit="20")
    assert mine[2] in active
    assert mine[0] not in active


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
    assert shown["freshness"].get("webhook_at") == row.get("webhook_at")
    assert shown["freshness"]["bank"]["last_success_at"]
    assert shown["freshness"]["bank"]["last_failure_at"] is None
    assert shown["transactions"] == {"live": len(world.live(item_id)), "exact": True}
    assert shown["transactions"]["live"]
    assert {account["state"] for account in shown["accounts"]} == {"listed"}
    assert shown["reconcile_pending"] is False
    assert "removal" not in shown


@steps_the_clock
def test_the_bank_status_is_stored_for_a_minute(world: World, user: str) -> None:
    item_id = linked(world, user)
    now, passed = world.clock(), timedelta(0)
    world.clock = lambda: now + passed
    for seconds, error, shown in ((0, "ITEM_LOCKED", "ITEM_LOCKED"), (59, None, "ITEM_LOCKED"), (60, None, None)):
        passed = timedelta(seconds=seconds)
        world.plaid.set_item_error(item_id, error)
        bank = content(world.request("GET", f"/items/{item_id}"))["freshness"]["bank"]
        assert (bank.get("error_code"), world.item(item_id).get("bank_error_code")) == (shown, shown)


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
    assert pages(world, f"/items/{item_id}/history", "history", limit="2") == whole


def test_transactions_are_plaids_own_objects_digit_for_digit(world: World, user: str) -> None:
    """A row that an application annotates before it arrives is no transaction."""
    item_id = synced(world, user)
    rows = world.live(item_id)
    world.stack.client("dynamodb").put_item(
        TableName=world.stack.transactions_table,
        Item={"item_id": {"S": item_id}, "transaction_id": {"S": "note"}, "note": {"S": "mine"}},
    )
    shown = pages(world, f"/items/{item_id}/transactions", "transactions", limit="7")
    amounts = {transaction["transaction_id"]: transaction["amount"] for transaction in shown}
    assert amounts == {key: row["amount"] for key, row in rows.items()}
    assert any("personal_finance_category" in transaction for transaction in shown)
    assert content(world.request("GET", f"/items/{item_id}"))["transactions"]["live"] == len(rows)


def test_an_accounts_transactions_come_newest_first(world: World, user: str) -> None:
    """They come under the account's own Item only."""
    item_id, other = synced(world, user), linked(world, f"{user} 2")
    rows = world.live(item_id)
    total = 0
    for account_id in {row["account_id"] for row in rows.values()}:
        path = f"accounts/{account_id}/transactions"
        shown = pages(world, f"/items/{item_id}/{path}", "transactions", order="newest", limit="3")
        order = [(row["date"], row["transaction_id"]) for row in shown]
        assert order == sorted(order, reverse=True)
        assert {row["account_id"] for row in shown} == {account_id}
        refused(world.request("GET", f"/items/{other}/{path}"), 404, "account_not_found")
        total += len(shown)
    assert total == len(rows)


def test_a_removed_item_is_not_written_any_more_and_plaid_lets_go_of_it(world: World, user: str) -> None:
    item_id = synced(world, user)
    before = world.rows(item_id)
    answer = world.request("DELETE", f"/items/{item_id}")
    shown = content(answer, 202)
    assert answer["headers"]["location"] == f"/items/{item_id}"
    assert (shown["item_id"], shown["state"], shown["removal"]["transactions"]) == (item_id, "removed", "keep")
    assert take_messages(world) == [(item_id, "request")]
    # The message was lost; the same request, sent again, brings another.
    assert content(world.request("DELETE", f"/items/{item_id}"), 202) == shown
    world.drain()
    assert world.plaid.item(item_id).removed
    assert world.rows(item_id) == before
    removals = [entry for entry in history(world, item_id) if "ItemRemoved" in entry.get("published_events", [])]
    assert len(removals) == 1
    shown = content(world.request("GET", f"/items/{item_id}"))
    assert (shown["state"], shown["remedy"]) == ("removed", "none")
    assert shown["removal"].keys() == {"requested_at", "transactions", "plaid_removed_at", "completed_at"}
    assert "bank" not in shown["freshness"]
    assert "access_token" not in world.item(item_id)
    assert len(pages(world, f"/items/{item_id}/transactions", "transactions")) == len(world.live(item_id))
    # It is done: another request changes nothing, and enqueues nothing.
    content(world.request("DELETE", f"/items/{item_id}"), 202)
    assert take_messages(world) == []


def test_rows_are_erased_on_request_even_afterwards(world: World, user: str) -> None:
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
        take_messages(world)
        crash = Crash(number, before=before)
        with killed_at(crash):
            world.request(method, f"/items/{item_id}{rest}", query=query)
        struck = crash.struck
        content(world.request(method, f"/items/{item_id}{rest}", query=query), 202)
        assert (item_id, "request") in take_messages(world)
        removed = [entry for entry in history(world, item_id) if "ItemRemoved" in entry.get("published_events", [])]
        assert len(removed) == (method == "DELETE")
    assert number > 2


@strikes_a_call
def test_an_item_that_is_removed_meanwhile_is_not_changed(world: World, user: str) -> None:
    item_id = linked(world, user)
    with asleep_at(1, lambda: world.set_attribute(item_id, "state", {"S": "removed"}), "TransactWriteItems"):
        answer = world.request("POST", f"/items/{item_id}/resync")
    refused(answer, 410, "item_removed")
    assert "reconcile" not in world.item(item_id)


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


@reads_the_logs
def test_no_route_logs_or_answers_a_token_a_name_or_a_mask(
    world: World, user: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = went_through_link(world, user)
    capsys.readouterr()
    caplog.clear()
    answers = [world.request("POST", "/items", body) for _ in range(2)]
    item_id = content(answers[0], 201)["item_id"]
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
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
    for secret in (body["public_token"], body["link_token"], token, plaid.access_token, world.plaid.secret):
        assert secret not in output + json.dumps(private)
        assert base64.b64encode(secret.encode()).decode() not in output
    assert not [row["name"] for row in world.live(item_id).values() if str(row["name"]) in output]
    for account in plaid.generator.accounts:
        assert account["name"] not in output
        assert f'"{account["mask"]}"' not in output
    assert user not in caplog.text


@strikes_a_call
def test_a_resync_that_is_requested_during_a_sync_is_not_lost(world: World) -> None:
    item_id = world.link(transactions=5)
    records = world.receive()

    def request_resync() -> None:
        content(world.request("POST", f"/items/{item_id}/resync"), 202)

    with asleep_at(1, request_resync, "TransactWriteItems") as sleep:
        assert world.handle(records) == set(), "superseded; the request has a message of its own"
    assert sleep.struck
    assert world.item(item_id)["reconcile"] is True
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
def test_an_update_mode_that_is_finished_during_a_sync_is_not_forgotten(world: World, user: str) -> None:
    item_id = synced(world, user)
    body = {"webhook_type": "ITEM", "webhook_code": "PENDING_DISCONNECT", "item_id": item_id}
    text = json.dumps(body).encode()
    world.post_webhook(text, world.plaid.sign(text))
    world.drain()
    assert world.item(item_id)["state"] == "expiring"
    token = link_token(world, user, item_id=item_id)
    world.plaid.complete_link(token)
    world.enqueue(item_id)
    records = world.receive()

    def finish_update_mode() -> None:
        content(world.request("POST", f"/items/{item_id}/sync", {"link_token": token}), 202)

    with asleep_at(1, finish_update_mode, "TransactWriteItems") as sleep:
        world.handle(records)
    assert sleep.struck
    world.redeliver(records)
    world.drain()
    world.assert_exact(item_id, state="active")
