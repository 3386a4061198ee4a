"""Link tokens and sessions: a public token completes only for the user whose Link it came from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from plaid_sync.aws.dynamodb.account_rows import accounts_from
from plaid_sync.domain.clock import format_timestamp

from local.plaid import Behavior, Phase
from tests.integration.crashes import Crash, killed_at
from tests.integration.harness import LONG_AGO
from tests.integration.in_process import strikes_a_call
from tests.integration.link_flows import (
    claims_of,
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
    from collections.abc import Callable

    from tests.integration.harness import World

EXCHANGE = "/item/public_token/exchange"


FORMS = ("full", "deprecated", "partial", "absent")
Form = Literal["full", "deprecated", "partial", "absent"]


def is_registered(world: World, item_id: str) -> bool:
    item = world.item(item_id)
    return bool(item) and "unregistered_link" not in item


@pytest.fixture
def form() -> Form:
    """What Plaid lists of sessions that are not hosted."""
    return "full"


@pytest.fixture
def behavior(form: Form) -> Behavior:
    return Behavior(
        rate_limits=False, initial_seconds=None, historical_seconds=None, history_transactions=5, link_results=form
    )


def test_a_link_token_can_be_requested_in_every_way(world: World, user: str) -> None:
    body = {
        "client_user_id": user,
        "products": ["transactions", "auth"],
        "country_codes": ["US", "CA"],
        "language": "fr",
        "days_requested": 90,
        "redirect_uri": "https://app.example.com/link",
        "hosted_link": {"url_lifetime_seconds": 3600},
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


@pytest.mark.parametrize(("form", "hosted"), [*((form, False) for form in FORMS), ("full", True), ("absent", True)])
def test_a_session_completes_for_its_user(world: World, user: str, form: Form, *, hosted: bool) -> None:
    """With Hosted Link, the session itself names the public token."""
    options: dict[str, Any] = {"hosted_link": {}} if hosted else {}
    body = went_through_link(world, user, days_requested=60, **options)
    if hosted:
        del body["public_token"]
    item_id = content(world.request("POST", "/items", body), 201)["item_id"]
    item = world.item(item_id)
    assert (item["client_user_id"], item["institution_id"], item["days_requested"]) == (user, "ins_109508", 60)
    assert item["fresh_at"] == item["linked_at"]
    plaid = world.plaid.item(item_id)
    accounts = accounts_from(item["accounts"])
    assert {account.account_id for account in accounts} == set(plaid.generator.account_ids)
    (entry,) = history(world, item_id)
    assert (entry["outcome"], entry["published_events"], entry["request"]) == ("linked", ["ItemLinked"], "POST /items")
    assert len(entry["plaid_request_ids"]) == 2
    assert entry.get("link_results") == (None if hosted else "full" if form == "deprecated" else form)
    assert take_messages(world) == [(item_id, "linked")]


@strikes_a_call
@pytest.mark.parametrize(
    ("form", "duplicate"),
    [("full", False), ("partial", False), ("absent", False), ("full", True), ("absent", True)],
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_link_that_dies_at_any_call_is_completed_by_its_retry(
    world: World, user: str, form: Form, *, before: bool, duplicate: bool
) -> None:
    """No orphan and no duplicate: all but where the access token has died with the process, before it was stored."""
    existing = linked(world, user, f"{user} login") if duplicate else None
    number = 0
    while True:
        number += 1
        # Masks have four digits: two logins of one user can have an equal one.
        body = went_through_link(world, user if duplicate else f"{user} {number}", login=f"{user} login")
        item_id = world.plaid.public_tokens[body["public_token"]].item.item_id
        take_messages(world)
        crash = Crash(number, before=before)
        with killed_at(crash):
            world.request("POST", "/items", body)
        answer = world.request("POST", "/items", body)
        last = crash.calls[-1]
        saves = "TransactWriteItems" in last and sum("TransactWriteItems" in call for call in crash.calls) == 1
        lost = (EXCHANGE in last and not before) or "Encrypt" in last or (saves and before)
        if crash.struck and lost and answer["statusCode"] == 400:
            assert refused(answer, 400, "INVALID_PUBLIC_TOKEN")["field"] == "public_token"
            assert not is_registered(world, item_id)
        elif duplicate:
            assert refused(answer, 409, "duplicate_item")["item_id"] == existing
            assert item_id not in world.plaid.items or world.plaid.item(item_id).removed
            assert not is_registered(world, item_id)
        else:
            assert content(answer, 201)["item_id"] == item_id
            assert (item_id, "linked") in take_messages(world)
            assert not world.plaid.item(item_id).removed
            assert claims_of(world, item_id) == world.item(item_id)["bank_login_ids"]
        if not crash.struck:
            break
    assert number > (5 if duplicate and form == "full" else 9)
    kept = [row["item_id"]["S"] for row in link_rows(world, "public#").values() if "access_token" in row]
    assert item_id not in kept


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_nothing_is_left_of_a_link_that_dies_at_any_call_and_is_never_repeated(
    world: World, user: str, *, before: bool
) -> None:
    number, rolled_back = 0, 0
    while True:
        number += 1
        body = went_through_link(world, f"{user} {number}", login=f"{user} login")
        item_id = world.plaid.public_tokens[body["public_token"]].item.item_id
        crash = Crash(number, before=before)
        with killed_at(crash):
            world.request("POST", "/items", body)
        if not crash.struck:
            break
        stored = world.item(item_id)
        if "unregistered_link" not in stored:
            continue
        world.enqueue(item_id)
        world.drain()
        assert not world.plaid.item(item_id).removed
        refused(world.request("GET", f"/items/{item_id}"), 404, "item_not_found")
        world.set_attribute(item_id, "exchanged_at", {"S": LONG_AGO})
        world.attempt_due(item_id)
        assert world.plaid.item(item_id).removed
        left = world.item(item_id)
        assert not {"access_token", "next_attempt_at", "attempt_shard"} & left.keys()
        assert not [row for row in link_rows(world, "public#").values() if "access_token" in row]
        refused(world.request("POST", "/items", body), 503, "link_rolled_back")
        rolled_back += 1
    assert rolled_back >= 2


# ---- webhooks of Link


@pytest.mark.parametrize("hosted", [False, True])
def test_a_webhook_of_link_leaves_a_session_that_is_not_hosted_to_the_application(
    world: World, user: str, *, hosted: bool
) -> None:
    """Otherwise what it links could not replace what the application's request names."""
    world.plaid.configure(link_webhooks_always=True)
    old = linked(world, user, f"{user} login")
    options: dict[str, Any] = {"replace": old} | ({"hosted_link": {}} if hosted else {})
    body = went_through_link(world, user, login=f"{user} login", **options)
    item_id = world.plaid.public_tokens[body["public_token"]].item.item_id
    assert {answer["statusCode"] for answer in deliver_webhooks(world)} == {200}
    assert is_registered(world, item_id) == hosted
    assert content(world.request("POST", "/items", body), 201)["item_id"] == item_id
    assert (world.item(old)["state"], world.item(old)["replaced_by"]) == ("removed", item_id)
    assert not world.plaid.item(item_id).removed


def deliver_webhooks(world: World) -> list[dict[str, Any]]:
    """Deliver what Plaid has signed; return the answers."""
    deliveries = [found for found in world.plaid.webhooks() if found.payload["webhook_type"] == "LINK"]
    return [world.post_webhook(found.body, world.plaid.sign(found.body)) for found in deliveries]


@pytest.mark.parametrize("form", ["full", "absent"])
@pytest.mark.usefixtures("form")
def test_a_finished_session_is_linked_by_plaids_webhook_alone(
    world: World, user: str, output: Callable[[], str]
) -> None:
    world.plaid.configure(link_webhooks_always=True)
    body = went_through_link(world, user, hosted_link={})
    item_id = world.plaid.public_tokens[body["public_token"]].item.item_id
    output()
    answers = deliver_webhooks(world)
    assert {answer["statusCode"] for answer in answers} == {200}
    assert world.item(item_id)["client_user_id"] == user
    assert set(take_messages(world)) == {(item_id, "linked")}
    logs = output()
    assert body["public_token"] not in logs
    assert body["link_token"] not in logs
    # The application finds it, whether it has the public token or not.
    assert content(world.request("POST", "/items", body), 201)["item_id"] == item_id
    assert world.plaid.calls[EXCHANGE] == 1
    rows = str(link_rows(world, "")) + str(history(world, item_id))
    assert body["public_token"] not in rows


# ---- update mode


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("form")
def test_a_finished_update_mode_ends_a_warning_at_once(world: World, user: str) -> None:
    item_id = linked(world, user)
    until = world.clock() + timedelta(days=5)
    for name, value in {
        "state": "expiring",
        "state_code": "PENDING_DISCONNECT",
        "expiry_code": "PENDING_DISCONNECT",
        "expiry_until": format_timestamp(until),
        "state_since": format_timestamp(world.clock() - timedelta(hours=1)),
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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("form")
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
