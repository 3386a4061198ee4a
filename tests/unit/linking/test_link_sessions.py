"""Link tokens and sessions: a public token completes only for the user whose Link it came from."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from plaid_sync.domain.item import Expiry, ItemState, StateName
from plaid_sync.linking.sessions import SESSION_TTL, LinkResults, session_key

from tests.fakes.api import WEBHOOK_URL, Api, content, problem
from tests.fakes.clock import NOON

# ---- link tokens


def test_a_link_token_has_the_stacks_webhook_and_two_years_by_default(api: Api) -> None:
    created = content(api.request("POST", "/link-tokens", {"client_user_id": "user"}), 201)
    assert created == {"link_token": created["link_token"], "expiration": "2026-06-01T16:00:00.000Z"}
    parameters = api.plaid.created[created["link_token"]]
    assert (parameters.client_user_id, parameters.client_name) == ("user", "Bank connections")
    assert (parameters.webhook_url, parameters.access_token) == (WEBHOOK_URL, None)
    assert (parameters.request.days_requested, parameters.request.products) == (730, ("transactions",))


def test_every_option_of_a_link_token_reaches_plaid(api: Api) -> None:
    options: dict[str, Any] = {
        "products": ["transactions", "auth"],
        "country_codes": ["US", "CA"],
        "language": "fr",
        "days_requested": 90,
        "redirect_uri": "https://app.example.com/link",
        "hosted_link": True,
        "client_name": "Blue",
    }
    created = content(api.request("POST", "/link-tokens", {"client_user_id": "user"} | options), 201)
    parameters = api.plaid.created[created["link_token"]]
    sent = {name: getattr(parameters.request, name) for name in options}
    assert sent == {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    assert (parameters.client_name, created["hosted_link_url"]) == (
        "Blue",
        f"https://hosted.invalid/{created['link_token']}",
    )


def test_a_stored_session_holds_a_digest_of_the_link_token_and_expires_a_day_after_it(api: Api) -> None:
    token = api.link_token("user", days_requested=30)
    (session,) = api.tables.links.sessions.values()
    assert token not in repr(session)
    assert (session.key, session.client_user_id, session.days_requested) == (session_key(token), "user", 30)
    assert session.expires_at == NOON + timedelta(hours=4) + SESSION_TTL


# ---- linking with a session


def test_a_session_completes_for_its_user_and_the_days_of_the_request_win(api: Api) -> None:
    body = api.went_through_link("user", days_requested=60)
    item_id = content(api.request("POST", "/items", body), 201)["item_id"]
    item = api.item(item_id)
    assert (item.client_user_id, item.institution_id, item.days_requested) == ("user", "ins_1", 60)
    assert [account.name for account in item.accounts] == ["login 0000", "login 1111"]
    (entry,) = api.history(item_id)
    assert (entry["outcome"], entry["published_events"], entry["request"]) == ("linked", ["ItemLinked"], "POST /items")
    assert entry["plaid_request_ids"] == ["results", "exchanged"]
    assert api.queue.take() == [(item_id, "linked")]
    body = api.went_through_link("another", days_requested=60) | {"days_requested": 10}
    assert api.item(content(api.request("POST", "/items", body), 201)["item_id"]).days_requested == 10


def test_a_session_does_not_complete_for_another_user(api: Api) -> None:
    body = api.went_through_link("user")
    response = api.request("POST", "/items", body | {"client_user_id": "another"})
    assert problem(response, 403, "link_session_of_another_user")["field"] == "client_user_id"
    assert '"user"' not in response["body"]
    assert api.plaid.calls["exchange"] == 0
    content(api.request("POST", "/items", body), 201)


def test_a_public_token_does_not_complete_with_another_session_before_or_after_it_is_linked(api: Api) -> None:
    theirs, own = api.went_through_link("victim"), api.went_through_link("user", "other login")
    stolen = own | {"public_token": theirs["public_token"]}
    problem(api.request("POST", "/items", stolen), 403, "public_token_of_another_session")
    assert api.plaid.calls["exchange"] == 0
    content(api.request("POST", "/items", theirs), 201)
    problem(api.request("POST", "/items", stolen), 403, "public_token_of_another_session")
    assert api.plaid.removed == []


@pytest.mark.parametrize("gone", ["never created", "expired here", "forgotten by Plaid"])
def test_an_unknown_or_expired_link_token_is_404_and_any_other_refusal_is_plaids(api: Api, gone: str) -> None:
    body = api.went_through_link("user")
    if gone == "never created":
        body["link_token"] = "link-unknown"
    elif gone == "expired here":
        api.tables.clock.time += timedelta(days=3)
    else:
        api.plaid.results.clear()
    assert problem(api.request("POST", "/items", body), 404, "link_session_unknown")["field"] == "link_token"
    body = api.went_through_link("another")
    api.plaid.refusals["link_results"] = "INTERNAL_SERVER_ERROR"
    problem(api.request("POST", "/items", body), 503, "INTERNAL_SERVER_ERROR")


def test_until_link_is_finished_the_response_is_to_retry(api: Api) -> None:
    token = api.link_token("user")
    body = {"link_token": token, "client_user_id": "user"}
    response = api.request("POST", "/items", body)
    problem(response, 409, "link_session_not_finished")
    assert response["headers"]["retry-after"] == "2"
    assert (api.plaid.calls["link_results"], api.tables.clock.pauses) == (3, [0.5, 0.5])
    api.plaid.complete(token)
    content(api.request("POST", "/items", body), 201)


def test_results_that_plaid_lists_a_moment_later_are_polled(api: Api) -> None:
    body = api.went_through_link("user")
    listed, api.plaid.results[body["link_token"]] = api.plaid.results[body["link_token"]], LinkResults()
    api.fail("clock", "sleep", None, times=2, meanwhile=lambda: api.plaid.results.update({body["link_token"]: listed}))
    content(api.request("POST", "/items", body), 201)
    assert api.plaid.calls["link_results"] == 2


def test_of_several_connections_one_has_to_be_named(api: Api) -> None:
    token = api.link_token("user")
    first, second = api.plaid.complete(token), api.plaid.complete(token, institution_id="ins_2")
    body = {"link_token": token, "client_user_id": "user"}
    assert problem(api.request("POST", "/items", body), 400, "invalid_request")["field"] == "public_token"
    for public_token in (first, second):
        content(api.request("POST", "/items", body | {"public_token": public_token}), 201)
    assert len(api.tables.items.stored) == 2


@pytest.mark.parametrize("forgotten", ["nothing", "index entry", "sessions", "link token"])
def test_a_hosted_link_gives_the_same_item_again_also_after_plaid_forgot_the_session(api: Api, forgotten: str) -> None:
    body = api.went_through_link("user", hosted_link=True)
    public_token = body.pop("public_token")
    item_id = content(api.request("POST", "/items", body), 201)["item_id"]
    if forgotten == "sessions":
        api.plaid.results[body["link_token"]] = LinkResults()
    elif forgotten == "link token":
        api.plaid.results.clear()
    else:
        api.tables.items.index_lags = forgotten == "index entry"
    assert content(api.request("POST", "/items", body), 201)["item_id"] == item_id
    assert (api.plaid.calls["exchange"], api.item(item_id).client_user_id) == (1, "user")
    assert public_token not in repr(api.tables.links.sessions)
    content(api.request("DELETE", f"/items/{item_id}"), 202)
    api.tables.items.index_lags = False
    problem(api.request("POST", "/items", body), 410, "item_removed")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("port", "call"),
    [
        ("links", "session"),
        ("index", "id_by_link"),
        ("plaid", "link_results"),
        ("links", "claims"),
        ("links", "add_session"),
        ("queue", "send"),
    ],
)
def test_a_hosted_link_that_fails_at_any_call_before_or_after_the_exchange_is_completed_by_its_retry(
    api: Api, port: str, call: str, *, after: bool
) -> None:
    body = api.went_through_link("user", hosted_link=True)
    del body["public_token"]
    api.fail(port, call, after=after)
    problem(api.request("POST", "/items", body), 503, "unreachable")
    item_id = content(api.request("POST", "/items", body), 201)["item_id"]
    assert (item_id, "linked") in api.queue.take()
    assert (api.plaid.removed, api.plaid.calls["exchange"]) == ([], 1)


# ---- update mode


def test_a_link_token_for_update_mode_is_for_the_items_own_user(api: Api) -> None:
    item_id = api.linked()
    response = api.request("POST", "/link-tokens", {"item_id": item_id, "client_user_id": "another"})
    problem(response, 403, "item_of_another_user")
    created = content(api.request("POST", "/link-tokens", {"item_id": item_id, "account_selection": True}), 201)
    parameters = api.plaid.created[created["link_token"]]
    assert (parameters.client_user_id, parameters.access_token) == ("user", f"access-{item_id}")
    assert (parameters.request.account_selection, parameters.request.days_requested) == (True, None)


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [(StateName.REMOVED, 410, "item_removed"), ("frozen", 409, "item_frozen"), (None, 404, "item_not_found")],
)
def test_an_item_that_is_removed_unknown_or_in_an_unknown_state_has_no_update_mode(
    api: Api, state: str | None, status: int, code: str
) -> None:
    item_id = api.linked()
    if state is None:
        api.tables.items.stored.clear()
    else:
        api.tables.items.set(item_id, state=ItemState(state))
    problem(api.request("POST", "/link-tokens", {"item_id": item_id}), status, code)


def test_update_mode_of_an_item_without_a_user_needs_one(api: Api) -> None:
    api.plaid.add_public_token("public-1")
    item_id = content(api.request("POST", "/items", {"public_token": "public-1"}), 201)["item_id"]
    response = api.request("POST", "/link-tokens", {"item_id": item_id})
    assert problem(response, 400, "invalid_request")["field"] == "client_user_id"
    content(api.request("POST", "/link-tokens", {"item_id": item_id, "client_user_id": "user"}), 201)


def test_a_session_of_update_mode_links_nothing(api: Api) -> None:
    token = api.link_token("user", item_id=api.linked())
    body = {"link_token": token, "client_user_id": "user"}
    problem(api.request("POST", "/items", body), 409, "link_session_of_update_mode")


def expiring(days: int) -> ItemState:
    until = NOON + timedelta(days=days)
    return ItemState(StateName.EXPIRING, "PENDING_DISCONNECT", NOON, Expiry("PENDING_DISCONNECT", until))


def finish_update_mode(api: Api, item_id: str, token: str) -> None:
    """Send the link token of a finished update mode."""
    response = api.request("POST", f"/items/{item_id}/sync", {"link_token": token})
    assert content(response, 202) == {"queued": True}


def test_a_finished_update_mode_resolves_a_warning_and_is_idempotent(api: Api) -> None:
    item_id = api.linked()
    api.tables.items.set(item_id, state=expiring(days=5))
    api.queue.take()
    token = api.link_token("user", item_id=item_id)
    api.plaid.complete(token)
    for _ in range(2):
        finish_update_mode(api, item_id, token)
    state = api.item(item_id).state
    assert (state.name, state.code, state.expiry) == ("active", None, None)
    assert state.warnings_resolved_until is not None
    assert state.warnings_resolved_until >= NOON + timedelta(days=5)
    assert api.queue.take() == [(item_id, "request")] * 2
    published = [entry.get("published_events") for entry in api.history(item_id)]
    assert published == [["ItemLinked"], ["ItemActive"], None]
    assert api.history(item_id)[1]["plaid_request_ids"] == ["results"]


def test_a_link_token_that_is_sent_again_does_not_resolve_a_warning_of_after_the_repair(api: Api) -> None:
    item_id = api.linked()
    token = api.link_token("user", item_id=item_id)
    api.plaid.complete(token)
    finish_update_mode(api, item_id, token)
    resolved = api.item(item_id).state.warnings_resolved_until
    api.tables.clock.time += timedelta(hours=5)
    finish_update_mode(api, item_id, token)
    assert api.item(item_id).state.warnings_resolved_until == resolved
    api.tables.items.set(item_id, state=replace(expiring(days=8), warnings_resolved_until=resolved))
    finish_update_mode(api, item_id, token)
    assert api.item(item_id).state.name == "expiring"
    assert api.queue.take()[-1] == (item_id, "request")


def test_an_update_mode_that_is_not_finished_or_was_left_repairs_nothing(api: Api) -> None:
    item_id = api.linked()
    token = api.link_token("user", item_id=item_id)
    response = api.request("POST", f"/items/{item_id}/sync", {"link_token": token})
    problem(response, 409, "link_session_not_finished")
    assert response["headers"]["retry-after"] == "2"


def test_an_update_mode_of_another_item_repairs_nothing(api: Api) -> None:
    first, second = api.linked(name="one"), api.linked(name="two")
    for token in (api.link_token("user", item_id=first), api.link_token("user")):
        response = api.request("POST", f"/items/{second}/sync", {"link_token": token})
        problem(response, 403, "link_session_of_another_item")
    response = api.request("POST", f"/items/{second}/sync", {"link_token": "link-unknown"})
    problem(response, 404, "link_session_unknown")


def test_an_update_mode_that_meets_a_concurrent_change_is_applied_to_the_new_state(api: Api) -> None:
    item_id = api.linked()
    token = api.link_token("user", item_id=item_id)
    api.plaid.complete(token)
    changed: dict[str, Any] = {"state": expiring(days=5), "generation": 1}
    api.fail("items", "change", None, meanwhile=lambda: api.tables.items.set(item_id, **changed))
    finish_update_mode(api, item_id, token)
    assert (api.item(item_id).state.name, api.item(item_id).state.expiry) == ("active", None)
