"""Link tokens and sessions: a public token completes only for the user whose Link it came from."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.adapters.aws import to_text

from local.plaid import Behavior, Phase
from tests.component.crashes import Crash, killed_at
from tests.component.inside import steps_the_clock, strikes_a_call
from tests.component.links import content, history, link_rows, link_token, linked, refused, triggers, went_through_link
from tests.component.world import http_event

if TYPE_CHECKING:
    from tests.component.world import World

EXCHANGE = "/item/public_token/exchange"


def user_of(request: pytest.FixtureRequest) -> str:
    return f"user of {request.node.name}"


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return user_of(request)


def test_a_link_token_is_made_for_the_stacks_own_webhook_and_two_years(world: World, user: str) -> None:
    answer = world.request("POST", "/link-tokens", {"client_user_id": user})
    created = content(answer, 201)
    token = world.plaid.link_token(created["link_token"])
    assert token.options.webhook_url == world.stack.webhook_url
    assert (token.options.days_requested, token.options.products) == (730, ("transactions",))
    assert (token.config.client_user_id, token.config.client_name) == (user, "Bank connections")
    assert datetime.fromisoformat(created["expiration"]) > datetime.now(UTC)
    assert "hosted_link_url" not in created


def test_where_no_webhook_url_is_set_it_is_the_host_that_was_called(world: World, user: str) -> None:
    event = http_event("POST", "/link-tokens", json.dumps({"client_user_id": user}))
    created = content(world.invoke("items", event, WEBHOOK_URL=""), 201)
    known = world.plaid.link_token(created["link_token"]).options.webhook_url
    assert known == "https://example.execute-api.us-east-1.amazonaws.com/webhooks/plaid"


def test_a_link_token_can_be_asked_for_in_every_way(world: World, user: str) -> None:
    body = {
        "client_user_id": user,
        "products": ["transactions", "auth"],
        "country_codes": ["US", "CA"],
        "language": "fr",
        "days_requested": 90,
        "redirect_uri": "https://app.example.com/link",
        "hosted_link": True,
        "client_name": "Blue",
    }
    created = content(world.request("POST", "/link-tokens", body), 201)
    token = world.plaid.link_token(created["link_token"])
    assert created["hosted_link_url"] == token.hosted_url
    form = token.config
    assert (form.country_codes, form.language, form.redirect_uri) == (("US", "CA"), "fr", body["redirect_uri"])
    assert (form.client_name, form.hosted, token.options.days_requested) == ("Blue", True, 90)
    assert token.options.products == ("transactions", "auth")


def test_what_is_stored_of_a_link_token_does_not_open_link(world: World, user: str) -> None:
    token = link_token(world, user, days_requested=30)
    (row,) = [row for row in link_rows(world, "session#").values() if row["client_user_id"] == {"S": user}]
    assert token not in json.dumps(row)
    assert row["days_requested"] == {"N": "30"}
    expires_at = datetime.fromtimestamp(int(row["expires_at"]["N"]), UTC)
    assert abs(expires_at - world.plaid.link_token(token).expires_at - timedelta(days=1)) < timedelta(seconds=2)


def test_a_session_completes_for_its_user(world: World, user: str) -> None:
    body = went_through_link(world, user, days_requested=60)
    item_id = content(world.request("POST", "/items", body), 201)["item_id"]
    item = world.item(item_id)
    assert (item["client_user_id"], item["institution_id"], item["days_requested"]) == (user, "ins_109508", 60)
    assert item["fresh_at"] == item["linked_at"]
    plaid = world.plaid.item(item_id)
    assert {account["account_id"] for account in item["accounts"]} == {
        account["account_id"] for account in plaid.generator.accounts
    }
    assert all("balances" not in account for account in item["accounts"])
    (entry,) = history(world, item_id)
    assert (entry["outcome"], entry["announcements"], entry["request"]) == ("linked", ["ItemLinked"], "POST /items")
    assert len(entry["plaid_request_ids"]) == 2
    assert triggers(world) == [(item_id, "linked")]


def test_days_that_the_completion_asks_for_win(world: World, user: str) -> None:
    body = went_through_link(world, user, days_requested=60) | {"days_requested": 10}
    assert world.item(content(world.request("POST", "/items", body), 201)["item_id"])["days_requested"] == 10


def test_a_session_does_not_complete_for_another_user(world: World, user: str) -> None:
    body = went_through_link(world, user)
    answer = world.request("POST", "/items", body | {"client_user_id": "someone else"})
    assert refused(answer, 403, "link_session_of_another_user")["field"] == "client_user_id"
    assert user not in answer["body"]
    assert EXCHANGE not in world.plaid.calls
    assert content(world.request("POST", "/items", body), 201)


def test_a_public_token_does_not_complete_with_another_session(world: World, user: str) -> None:
    theirs, ours = went_through_link(world, "victim"), went_through_link(world, user)
    stolen = ours | {"public_token": theirs["public_token"]}
    refused(world.request("POST", "/items", stolen), 403, "public_token_of_another_session")
    assert EXCHANGE not in world.plaid.calls
    item_id = content(world.request("POST", "/items", theirs), 201)["item_id"]
    # Nor after it was linked: the index by_link would find it.
    refused(world.request("POST", "/items", stolen), 403, "public_token_of_another_session")
    assert not world.plaid.item(item_id).removed


def test_an_unknown_link_token_is_404(world: World, user: str) -> None:
    body = {"link_token": "link-sandbox-unknown", "client_user_id": user}
    assert refused(world.request("POST", "/items", body), 404, "link_session_unknown")["field"] == "link_token"
    own = world.plaid.create_link_token(world.plaid.item(world.link()).options)[0]
    refused(world.request("POST", "/items", body | {"link_token": own}), 404, "link_session_unknown")


@steps_the_clock
def test_a_session_that_is_over_for_long_is_unknown(world: World, user: str) -> None:
    body = went_through_link(world, user)
    before, world.clock = world.clock, lambda: before() + timedelta(days=3)
    refused(world.request("POST", "/items", body), 404, "link_session_unknown")


def test_a_link_token_that_plaid_has_forgotten_is_unknown(world: World, user: str) -> None:
    body = went_through_link(world, user)
    world.plaid.link_tokens.clear()
    refused(world.request("POST", "/items", body), 404, "link_session_unknown")


def test_until_the_user_has_finished_link_the_answer_is_to_try_again(world: World, user: str) -> None:
    token = link_token(world, user)
    body = {"link_token": token, "client_user_id": user}
    for step in (lambda: None, lambda: world.plaid.open_link(token), lambda: world.plaid.leave_link(token)):
        step()
        answer = world.request("POST", "/items", body)
        refused(answer, 409, "link_session_not_finished")
        assert answer["headers"]["retry-after"] == "2"
    assert world.plaid.calls["/link/token/get"] == 9
    world.plaid.complete_link(token)
    assert content(world.request("POST", "/items", body), 201)


@steps_the_clock
def test_results_that_come_a_moment_later_are_waited_for(world: World, user: str) -> None:
    world.plaid.behavior = replace(world.plaid.behavior, link_results_seconds=0.7)
    passed = timedelta(0)

    def pause(seconds: float) -> None:
        nonlocal passed
        passed += timedelta(seconds=seconds)

    began_at = world.plaid.clock()
    world.plaid.clock = lambda: began_at + passed
    world.pause = pause
    body = went_through_link(world, user)
    assert content(world.request("POST", "/items", body), 201)
    assert world.plaid.calls["/link/token/get"] == 3


@pytest.mark.parametrize("deprecated", [False, True])
def test_with_hosted_link_the_session_names_the_public_token(world: World, user: str, *, deprecated: bool) -> None:
    world.plaid.behavior = replace(world.plaid.behavior, link_results_deprecated=deprecated)
    body = went_through_link(world, user, hosted_link=True)
    del body["public_token"]
    first, second = (content(world.request("POST", "/items", body), 201) for _ in range(2))
    assert first == second
    assert world.plaid.calls[EXCHANGE] == 1
    assert world.item(first["item_id"])["client_user_id"] == user
    assert world.item(first["item_id"])["accounts"]


@pytest.mark.parametrize("gone", ["sessions", "link token"])
def test_a_hosted_link_is_found_again_after_plaid_has_forgotten_the_session(world: World, user: str, gone: str) -> None:
    body = went_through_link(world, user, hosted_link=True)
    public_token = body.pop("public_token")
    item_id = content(world.request("POST", "/items", body), 201)["item_id"]
    if gone == "sessions":
        now = world.plaid.clock()
        world.plaid.clock = lambda: now + timedelta(hours=7)
    else:
        world.plaid.link_tokens.clear()
    assert content(world.request("POST", "/items", body), 201)["item_id"] == item_id
    assert world.plaid.calls[EXCHANGE] == 1
    assert public_token not in str(link_rows(world, "session#"))
    content(world.request("DELETE", f"/items/{item_id}"), 202)
    refused(world.request("POST", "/items", body), 410, "item_removed")


def test_of_several_connections_one_has_to_be_named(world: World, user: str) -> None:
    token = link_token(world, user)
    tokens = [world.plaid.complete_link(token, login=f"{user} {number}") for number in range(2)]
    body = {"link_token": token, "client_user_id": user}
    assert refused(world.request("POST", "/items", body), 400, "invalid_request")["field"] == "public_token"
    items = {content(world.request("POST", "/items", body | {"public_token": one}), 201)["item_id"] for one in tokens}
    assert len(items) == 2


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_link_with_a_session_that_dies_at_any_call_is_completed_by_its_retry(
    world: World, user: str, *, before: bool
) -> None:
    """All but one point: dead between the exchange and the end of the transaction, nobody has the access token."""
    number = 0
    while True:
        number += 1
        body = went_through_link(world, user, login=f"{user} {number}")
        crash = Crash(number, before=before)
        with killed_at(crash):
            world.request("POST", "/items", body)
        if not crash.struck:
            break
        answer = world.request("POST", "/items", body)
        last = crash.calls[-1]
        unstored = (EXCHANGE in last and not before) or "Encrypt" in last or ("TransactWriteItems" in last and before)
        if unstored:
            assert refused(answer, 400, "INVALID_PUBLIC_TOKEN")["field"] == "public_token"
        else:
            item_id = content(answer, 201)["item_id"]
            assert (item_id, "linked") in triggers(world)
            assert not world.plaid.item(item_id).removed
    assert number > 7


# ---- update mode


def test_update_mode_is_for_the_items_own_user(world: World, user: str) -> None:
    item_id = linked(world, user)
    answer = world.request("POST", "/link-tokens", {"item_id": item_id, "client_user_id": "someone else"})
    refused(answer, 403, "item_of_another_user")
    created = content(world.request("POST", "/link-tokens", {"item_id": item_id, "account_selection": True}), 201)
    token = world.plaid.link_token(created["link_token"])
    assert (token.item_id, token.config.client_user_id, token.config.account_selection) == (item_id, user, True)
    assert token.options.webhook_url == world.stack.webhook_url


def test_update_mode_of_an_item_without_a_user_needs_one(world: World, user: str) -> None:
    item_id = world.link()
    answer = world.request("POST", "/link-tokens", {"item_id": item_id})
    assert refused(answer, 400, "invalid_request")["field"] == "client_user_id"
    assert content(world.request("POST", "/link-tokens", {"item_id": item_id, "client_user_id": user}), 201)


def test_a_session_of_update_mode_links_nothing(world: World, user: str) -> None:
    token = link_token(world, user, item_id=linked(world, user))
    body = {"link_token": token, "client_user_id": user}
    refused(world.request("POST", "/items", body), 409, "link_session_of_update_mode")


def test_a_finished_update_mode_ends_a_warning_at_once(world: World, user: str) -> None:
    item_id = linked(world, user)
    until = world.clock() + timedelta(days=5)
    for name, value in {
        "status": "expiring",
        "status_code": "PENDING_DISCONNECT",
        "expiry_code": "PENDING_DISCONNECT",
        "expiry_until": until.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }.items():
        world.set_attribute(item_id, name, {"S": value})
    triggers(world)
    token = link_token(world, user, item_id=item_id)
    world.plaid.complete_link(token)
    for _ in range(2):
        answer = world.request("POST", f"/items/{item_id}/sync", {"link_token": token})
        assert content(answer, 202) == {"queued": True}
    item = world.item(item_id)
    assert item["status"] == "active"
    assert not {"status_code", "expiry_code", "expiry_until"} & item.keys()
    assert item["answered_until"] >= until.isoformat()[:16]
    assert triggers(world) == [(item_id, "request")] * 2
    told = [entry.get("announcements") for entry in history(world, item_id)]
    assert told == [["ItemLinked"], ["ItemActive"], None]


@steps_the_clock
def test_a_link_token_that_is_sent_again_does_not_answer_a_warning_of_after_the_repair(world: World, user: str) -> None:
    item_id = linked(world, user)
    token = link_token(world, user, item_id=item_id)
    world.plaid.complete_link(token)
    finished_at = world.clock()
    content(world.request("POST", f"/items/{item_id}/sync", {"link_token": token}), 202)
    answered = datetime.fromisoformat(str(world.item(item_id)["answered_until"]))
    later = finished_at + timedelta(hours=5)
    world.clock = lambda: later
    content(world.request("POST", f"/items/{item_id}/sync", {"link_token": token}), 202)
    assert datetime.fromisoformat(str(world.item(item_id)["answered_until"])) - answered < timedelta(seconds=5)
    for name, value in {
        "status": "expiring",
        "status_code": "PENDING_DISCONNECT",
        "expiry_code": "PENDING_DISCONNECT",
        "expiry_until": to_text(later + timedelta(days=7)),
    }.items():
        world.set_attribute(item_id, name, {"S": value})
    content(world.request("POST", f"/items/{item_id}/sync", {"link_token": token}), 202)
    item = world.item(item_id)
    assert (item["status"], item["expiry_code"]) == ("expiring", "PENDING_DISCONNECT")
    assert (item_id, "request") in triggers(world)


def test_an_update_mode_that_is_not_finished_repairs_nothing(world: World, user: str) -> None:
    item_id = linked(world, user)
    token = link_token(world, user, item_id=item_id)
    for left in (False, True):
        if left:
            world.plaid.leave_link(token, "INVALID_CREDENTIALS")
        answer = world.request("POST", f"/items/{item_id}/sync", {"link_token": token})
        refused(answer, 409, "link_session_not_finished")
        assert answer["headers"]["retry-after"] == "2"


def test_an_update_mode_of_another_item_repairs_nothing(world: World, user: str) -> None:
    one, other = linked(world, user, "one"), linked(world, user, "other")
    for token in (link_token(world, user, item_id=one), link_token(world, user)):
        answer = world.request("POST", f"/items/{other}/sync", {"link_token": token})
        refused(answer, 403, "link_session_of_another_item")
    answer = world.request("POST", f"/items/{other}/sync", {"link_token": "link-sandbox-unknown"})
    refused(answer, 404, "link_session_unknown")


def test_a_lost_login_is_repaired_by_update_mode(world: World, user: str) -> None:
    item_id = linked(world, user)
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.plaid.reset_login(item_id)
    world.drain()
    assert content(world.request("GET", f"/items/{item_id}"))["remedy"] == "update_mode"
    token = link_token(world, user, item_id=item_id)
    world.plaid.complete_link(token)
    content(world.request("POST", f"/items/{item_id}/sync", {"link_token": token}), 202)
    world.drain()
    shown = content(world.request("GET", f"/items/{item_id}"))
    assert (shown["state"], shown["remedy"]) == ("active", "none")
    world.assert_exact(item_id)


BAD_TOKEN_REQUESTS: list[tuple[Any, str]] = [
    (None, "body"),
    ([], "body"),
    ({}, "client_user_id"),
    ({"client_user_id": ""}, "client_user_id"),
    ({"client_user_id": "u" * 129}, "client_user_id"),
    ({"client_user_id": "a\nb"}, "client_user_id"),
    ({"client_user_id": None}, "client_user_id"),
    ({"client_user_id": "u", "products": []}, "products"),
    ({"client_user_id": "u", "products": ["transactions", "transactions"]}, "products"),
    ({"client_user_id": "u", "products": [["transactions"]]}, "products"),
    ({"client_user_id": "u", "country_codes": ["XX"]}, "country_codes"),
    ({"client_user_id": "u", "language": "tlh"}, "language"),
    ({"client_user_id": "u", "days_requested": 731}, "days_requested"),
    ({"client_user_id": "u", "days_requested": 1.0}, "days_requested"),
    ({"client_user_id": "u", "redirect_uri": "http://app.example.com"}, "redirect_uri"),
    ({"client_user_id": "u", "redirect_uri": "https://app.example.com/?a=1"}, "redirect_uri"),
    ({"client_user_id": "u", "hosted_link": "yes"}, "hosted_link"),
    ({"client_user_id": "u", "account_selection": True}, "account_selection"),
    ({"client_user_id": "u", "client_name": "n" * 31}, "client_name"),
    ({"item_id": "no id"}, "item_id"),
    ({"item_id": "i", "products": ["transactions"]}, "products"),
    ({"item_id": "i", "days_requested": 10}, "days_requested"),
    ({"client_user_id": "u", "webhook": "https://evil.example.com"}, "webhook"),
]


@pytest.mark.parametrize(("body", "field"), BAD_TOKEN_REQUESTS, ids=repr)
def test_a_bad_request_for_a_link_token_names_field_and_fix(world: World, body: object, field: str) -> None:
    problem = refused(world.request("POST", "/link-tokens", body), 400, "invalid_request")
    assert problem["field"] == field
    assert problem["fix"]
    assert world.plaid.calls == {}


@pytest.fixture
def behavior() -> Behavior:
    return Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None, history_transactions=5)
