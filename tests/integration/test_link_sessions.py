"""Link tokens and sessions: a public token completes only for the user whose Link it came from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.clock import format_timestamp

from local.plaid import Behavior, Phase
from tests.integration.crashes import Crash, killed_at
from tests.integration.in_process import strikes_a_call
from tests.integration.link_flows import (
    content,
    history,
    link_rows,
    link_token,
    linked,
    refused,
    take_messages,
    went_through_link,
)

if TYPE_CHECKING:
    from tests.integration.harness import World

EXCHANGE = "/item/public_token/exchange"


@pytest.fixture
def behavior() -> Behavior:
    return Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None, history_transactions=5)


def test_a_link_token_can_be_requested_in_every_way(world: World, user: str) -> None:
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
    assert (token.options.webhook_url, form.client_user_id) == (world.stack.webhook_url, user)
    (row,) = [row for row in link_rows(world, "session#").values() if row["client_user_id"] == {"S": user}]
    assert created["link_token"] not in str(row)
    expires_at = datetime.fromtimestamp(int(row["expires_at"]["N"]), UTC)
    assert abs(expires_at - token.expires_at - timedelta(days=1)) < timedelta(seconds=2)


@pytest.mark.parametrize("hosted", [False, True])
def test_a_session_completes_for_its_user(world: World, user: str, *, hosted: bool) -> None:
    """With Hosted Link, the session itself names the public token."""
    body = went_through_link(world, user, days_requested=60, hosted_link=hosted)
    if hosted:
        del body["public_token"]
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
    assert (entry["outcome"], entry["published_events"], entry["request"]) == ("linked", ["ItemLinked"], "POST /items")
    assert len(entry["plaid_request_ids"]) == 2
    assert take_messages(world) == [(item_id, "linked")]


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_link_with_a_session_that_dies_at_any_call_is_completed_by_its_retry(
    world: World, user: str, *, before: bool
) -> None:
    """All but one point: dead between the exchange and the end of the transaction, the access token is lost."""
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
            assert (item_id, "linked") in take_messages(world)
            assert not world.plaid.item(item_id).removed
    assert number > 7


# ---- update mode


def test_a_finished_update_mode_ends_a_warning_at_once(world: World, user: str) -> None:
    item_id = linked(world, user)
    until = world.clock() + timedelta(days=5)
    for name, value in {
        "state": "expiring",
        "state_code": "PENDING_DISCONNECT",
        "expiry_code": "PENDING_DISCONNECT",
        "expiry_until": format_timestamp(until),
    }.items():
        world.set_attribute(item_id, name, {"S": value})
    take_messages(world)
    token = link_token(world, user, item_id=item_id)
    world.plaid.complete_link(token)
    for _ in range(2):
        answer = world.request("POST", f"/items/{item_id}/sync", {"link_token": token})
        assert content(answer, 202) == {"queued": True}
    item = world.item(item_id)
    assert item["state"] == "active"
    assert not {"state_code", "expiry_code", "expiry_until"} & item.keys()
    assert item["warnings_resolved_until"] >= until.isoformat()[:16]
    assert take_messages(world) == [(item_id, "request")] * 2
    published = [entry.get("published_events") for entry in history(world, item_id)]
    assert published == [["ItemLinked"], ["ItemActive"], None]


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
