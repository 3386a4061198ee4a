"""Link tokens and sessions: a public token completes only for the user whose Link it came from."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from plaid_sync.domain.item import Expiry, ItemState, StateName
from plaid_sync.linking.sessions import SESSION_TTL, LinkResults, ListedResults, session_key

from tests.fakes.api import WEBHOOK_URL, Api, content, problem
from tests.fakes.clock import NOON
from tests.fakes.failing import KilledError
from tests.fakes.plaid import login

# ---- link tokens


def test_a_link_token_has_the_stacks_webhook_and_two_years_by_default(api: Api) -> None:
    created = content(api.request("POST", "/link-tokens", {"client_user_id": "user"}), 201)
    assert created == {"link_token": created["link_token"], "expiration": "2026-06-01T16:00:00.000Z"}
    parameters = api.plaid.created[created["link_token"]]
    assert (parameters.client_user_id, parameters.client_name) == ("user", "Bank connections")
    assert (parameters.webhook_url, parameters.access_token) == (WEBHOOK_URL, None)
    assert parameters.request.fields == {
        "products": ["transactions"],
        "country_codes": ["US"],
        "language": "en",
        "transactions": {"days_requested": 730},
    }


def test_every_option_of_a_link_token_reaches_plaid(api: Api) -> None:
    options: dict[str, Any] = {
        "products": ["transactions", "auth"],
        "country_codes": ["US", "CA"],
        "language": "fr",
        "days_requested": 90,
        "redirect_uri": "https://app.example.com/link",
        "hosted_link": {"delivery_method": "sms"},
        "client_name": "Blue",
        "user": {"phone_number": "+12025550123"},
        "enable_multi_item_link": True,
    }
    created = content(api.request("POST", "/link-tokens", {"client_user_id": "user"} | options), 201)
    parameters = api.plaid.created[created["link_token"]]
    sent = {name: value for name, value in options.items() if name not in {"days_requested", "client_name"}}
    assert parameters.request.fields == sent | {"transactions": {"days_requested": 90}}
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


@pytest.mark.parametrize("gone", ["never created", "expired here"])
def test_an_unknown_or_expired_link_token_is_404_and_any_other_refusal_is_plaids(api: Api, gone: str) -> None:
    body = api.went_through_link("user")
    if gone == "never created":
        body["link_token"] = "link-unknown"
    else:
        api.tables.clock.time += timedelta(days=3)
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


# ---- what Plaid lists of a session


@pytest.mark.parametrize("listed", [ListedResults.PARTIAL, ListedResults.ABSENT])
def test_a_session_whose_results_plaid_does_not_list_completes_for_its_user(api: Api, listed: ListedResults) -> None:
    api.plaid.link_results_listed = listed
    body = api.went_through_link("user", days_requested=60)
    item_id = content(api.request("POST", "/items", body), 201)["item_id"]
    item = api.item(item_id)
    assert (item.client_user_id, item.institution_id, item.days_requested) == ("user", "ins_1", 60)
    assert [account.name for account in item.accounts] == ["login 0000", "login 1111"]
    assert api.tables.links.claims_of(item_id) == item.bank_login_ids != set()
    assert api.history(item_id)[0]["link_results"] == listed
    problem(api.request("POST", "/items", body | {"client_user_id": "another"}), 403, "link_session_of_another_user")
    assert content(api.request("POST", "/items", body), 201)["item_id"] == item_id
    assert api.plaid.calls["exchange"] == 1


def test_a_session_that_plaid_no_longer_knows_completes_with_its_public_token(api: Api) -> None:
    body = api.went_through_link("user")
    api.plaid.results.clear()
    assert api.item(content(api.request("POST", "/items", body), 201)["item_id"]).client_user_id == "user"


@pytest.mark.parametrize("listed", [ListedResults.PARTIAL, ListedResults.ABSENT])
def test_a_duplicate_that_shows_after_the_exchange_is_undone_and_the_same_answer_repeated(
    api: Api, listed: ListedResults
) -> None:
    item_id = api.linked()
    api.plaid.link_results_listed = listed
    body = api.went_through_link("user")
    undone = api.plaid.item_of[body["public_token"]]
    api.queue.take()
    for _ in range(2):
        refused = problem(api.request("POST", "/items", body), 409, "duplicate_item")
        assert (refused["item_id"], refused["field"]) == (item_id, "item_id")
    assert api.plaid.removed == [f"access-{undone}"]
    assert api.tables.items.stored.keys() == {item_id}
    assert api.tables.links.claims_of(undone) == set()
    assert api.queue.take() == []
    new = content(api.request("POST", "/items", api.went_through_link("user"), {"replace": item_id}), 201)["item_id"]
    assert api.tables.items.replaced_by == {item_id: new}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("port", "call"),
    [("plaid", "accounts"), ("links", "claims"), ("links", "save_progress"), ("plaid", "remove")],
)
def test_the_undoing_of_a_duplicate_that_is_killed_at_any_call_is_completed_by_its_retry(
    api: Api, port: str, call: str, *, after: bool
) -> None:
    item_id = api.linked()
    api.plaid.link_results_listed = ListedResults.ABSENT
    body = api.went_through_link("user")
    undone = api.plaid.item_of[body["public_token"]]
    api.fail(port, call, KilledError(), after=after)
    with pytest.raises(KilledError):
        api.request("POST", "/items", body)
    response = api.request("POST", "/items", body)
    assert problem(response, 409, "duplicate_item")["item_id"] == item_id
    assert f"access-{undone}" in api.plaid.removed
    assert api.tables.items.stored.keys() == {item_id}


@pytest.mark.parametrize("listed", [ListedResults.PARTIAL, ListedResults.ABSENT])
def test_a_session_takes_one_public_token_unless_plaid_lists_more(api: Api, listed: ListedResults) -> None:
    api.plaid.link_results_listed = listed
    token = api.link_token("user")
    first, second = (api.plaid.complete(token, login(name)) for name in ("one", "two"))
    body = {"link_token": token, "client_user_id": "user"}
    content(api.request("POST", "/items", body | {"public_token": first}), 201)
    refused = problem(api.request("POST", "/items", body | {"public_token": second}), 409, "link_session_used")
    assert refused["field"] == "link_token"
    assert api.plaid.calls["exchange"] == 1
    api.plaid.link_results_listed = ListedResults.FULL
    content(api.request("POST", "/items", body | {"public_token": second}), 201)


def test_two_sessions_never_take_the_same_public_token(api: Api) -> None:
    """The first one takes it, even if its request dies before the exchange."""
    api.plaid.link_results_listed = ListedResults.ABSENT
    first, second = api.went_through_link("user"), api.went_through_link("another", "other login")
    api.fail("plaid", "exchange", KilledError())
    with pytest.raises(KilledError):
        api.request("POST", "/items", first)
    for stolen in (second | {"public_token": first["public_token"]}, {"public_token": first["public_token"]}):
        problem(api.request("POST", "/items", stolen), 403, "public_token_of_another_session")
    item_id = content(api.request("POST", "/items", first), 201)["item_id"]
    assert api.item(item_id).client_user_id == "user"
    assert api.plaid.calls["exchange"] == 1


def test_of_a_hosted_link_only_what_plaid_lists_is_taken(api: Api) -> None:
    """Plaid lists the results of Hosted Link for every client."""
    api.plaid.link_results_listed = ListedResults.ABSENT
    token, other = api.link_token("user", hosted_link={}), api.went_through_link("another")
    stolen = {"link_token": token, "client_user_id": "user", "public_token": other["public_token"]}
    problem(api.request("POST", "/items", stolen), 409, "link_session_not_finished")
    public_token = api.plaid.complete(token)
    problem(api.request("POST", "/items", stolen), 403, "public_token_of_another_session")
    content(api.request("POST", "/items", stolen | {"public_token": public_token}), 201)


@pytest.mark.parametrize("forgotten", ["nothing", "index entry", "sessions", "link token"])
def test_a_hosted_link_gives_the_same_item_again_also_after_plaid_forgot_the_session(api: Api, forgotten: str) -> None:
    body = api.went_through_link("user", hosted_link={})
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
        ("links", "begin"),
        ("queue", "send"),
    ],
)
def test_a_hosted_link_that_fails_at_any_call_before_or_after_the_exchange_is_completed_by_its_retry(
    api: Api, port: str, call: str, *, after: bool
) -> None:
    body = api.went_through_link("user", hosted_link={})
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
    assert parameters.request.fields["update"] == {"account_selection_enabled": True}
    assert parameters.request.days_requested is None


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


@pytest.mark.parametrize("hosted", [False, True])
def test_an_update_mode_that_was_left_or_is_listed_and_not_finished_repairs_nothing(api: Api, *, hosted: bool) -> None:
    item_id = api.linked()
    token = api.link_token("user", item_id=item_id, **({"hosted_link": {}} if hosted else {}))
    if not hosted:
        api.plaid.leave(token)
    response = api.request("POST", f"/items/{item_id}/sync", {"link_token": token})
    problem(response, 409, "link_session_not_finished")
    assert response["headers"]["retry-after"] == "2"


@pytest.mark.parametrize("newer", [False, True])
def test_an_update_mode_that_plaid_does_not_list_resolves_only_a_warning_that_is_older_than_its_session(
    api: Api, *, newer: bool
) -> None:
    api.plaid.link_results_listed = ListedResults.ABSENT
    item_id = api.linked()
    clock = api.tables.clock
    older = expiring(days=5)
    token = api.link_token("user", item_id=item_id)
    warned_at = clock.time + timedelta(minutes=10) if newer else clock.time - timedelta(minutes=10)
    api.tables.items.set(item_id, state=replace(older, since=warned_at))
    api.plaid.complete(token)
    clock.time += timedelta(minutes=20)
    api.queue.take()
    finish_update_mode(api, item_id, token)
    assert api.item(item_id).state.name == ("expiring" if newer else "active")
    assert api.queue.take() == [(item_id, "request")]


def test_a_session_that_an_older_version_stored_resolves_no_warning_without_plaids_word(api: Api) -> None:
    item_id = api.linked()
    token = api.link_token("user", item_id=item_id)
    api.tables.items.set(item_id, state=expiring(days=5))
    sessions = api.tables.links.sessions
    sessions[session_key(token)] = replace(sessions[session_key(token)], created_at=None)
    finish_update_mode(api, item_id, token)
    assert api.item(item_id).state.name == "expiring"
    api.plaid.complete(token)
    finish_update_mode(api, item_id, token)
    assert api.item(item_id).state.name == "active"


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
