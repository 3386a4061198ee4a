"""Link sessions that Plaid's webhooks report as finished, completed without the application."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from plaid_sync.domain.item import Expiry, ItemState, StateName
from plaid_sync.linking.completion import Completion, FinishedSession, parse_finished_session
from plaid_sync.linking.sessions import ListedResults

from tests.fakes.api import Api, content, problem
from tests.fakes.clock import NOON
from tests.fakes.failing import KilledError
from tests.fakes.plaid import login


def complete(api: Api, link_token: str, *public_tokens: str, ended: bool = True) -> Completion:
    return api.complete(FinishedSession(link_token, public_tokens, "webhook", ended))


@pytest.mark.parametrize("option", [{"hosted_link": {}}, {"enable_multi_item_link": True}], ids=str)
def test_a_session_is_completed_for_its_user_and_the_application_finds_its_item(
    api: Api, option: dict[str, Any]
) -> None:
    body = api.went_through_link("user", days_requested=60, **option)
    for _ in range(2):
        completion = complete(api, body["link_token"], body["public_token"])
        assert (completion.retry, completion.code) == (False, None)
    (item_id,) = completion.item_ids
    item = api.item(item_id)
    assert (item.client_user_id, item.days_requested, item.institution_id) == ("user", 60, "ins_1")
    assert set(api.queue.take()) == {(item_id, "linked")}
    assert api.history(item_id)[0]["request"] == "webhook LINK"
    del body["public_token"]
    assert content(api.request("POST", "/items", body), 201)["item_id"] == item_id
    assert api.plaid.calls["exchange"] == 1


def test_the_results_of_a_hosted_session_name_the_public_token_that_the_webhook_lacks(api: Api) -> None:
    body = api.went_through_link("user", hosted_link={})
    (item_id,) = complete(api, body["link_token"]).item_ids
    assert api.item(item_id).client_user_id == "user"


def test_all_items_of_a_session_are_linked_and_one_that_is_refused_stops_no_other(api: Api) -> None:
    existing = api.linked(name="one")
    token = api.link_token("user", enable_multi_item_link=True)
    tokens = [api.plaid.complete(token, login(name)) for name in ("one", "two", "three")]
    completion = complete(api, token, *tokens)
    assert (len(completion.item_ids), completion.code, completion.retry) == (2, "duplicate_item", False)
    assert completion.client_user_id == "user"
    assert len(api.tables.items.stored) == 3
    assert not api.item(existing).removed


@pytest.mark.parametrize("public_tokens", [(), ("public-1",)])
def test_a_session_that_this_stack_did_not_create_is_refused(api: Api, public_tokens: tuple[str, ...]) -> None:
    completion = complete(api, "link-unknown", *public_tokens)
    assert (completion.item_ids, completion.code, completion.retry) == ((), "link_session_unknown", False)
    assert completion.client_user_id is None
    assert api.plaid.calls == {}


@pytest.mark.parametrize(("code", "retry"), [("INTERNAL_SERVER_ERROR", True), ("INVALID_PUBLIC_TOKEN", False)])
def test_a_failure_that_passes_is_retried_and_another_one_is_not(api: Api, code: str, *, retry: bool) -> None:
    body = api.went_through_link("user", hosted_link={})
    api.plaid.refusals["exchange"] = code
    completion = complete(api, body["link_token"], body["public_token"])
    assert (completion.code, completion.retry) == (code, retry)


def test_results_that_are_not_listed_yet_are_retried(api: Api) -> None:
    token = api.link_token("user", hosted_link={})
    assert complete(api, token).retry


@pytest.mark.parametrize("listed", list(ListedResults))
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("by_session", [False, True])
@pytest.mark.parametrize("name", ["login", "other login"])
def test_a_webhook_before_the_request_of_the_application_does_not_hinder_that_it_replaces_an_item(
    api: Api, listed: ListedResults, name: str, *, ended: bool, by_session: bool
) -> None:
    """The webhook is that of a session whose public token Link returns to the application."""
    api.plaid.link_results_listed = listed
    old = api.linked()
    options = {"replace": old, "replaced_transactions": "erase"} if by_session else {}
    body = api.went_through_link("user", name, **options)
    completion = complete(api, body["link_token"], body["public_token"], ended=ended)
    assert (completion.item_ids, completion.code, completion.retry) == ((), "left_to_application", False)
    assert completion.client_user_id == "user"
    query = None if by_session else {"replace": old, "transactions": "erase"}
    new = content(api.request("POST", "/items", body, query), 201)["item_id"]
    assert (api.item(old).removed, api.removal(old).erase) == (True, True)
    assert api.tables.items.replaced_by[old] == new
    assert api.plaid.removed == []


@pytest.mark.parametrize("name", ["login", "other login"])
@pytest.mark.parametrize("query", [False, True])
@pytest.mark.parametrize("killed", [None, "register", "exchange"])
def test_a_webhook_links_what_the_session_replaces_and_the_application_finds_it(
    api: Api, name: str, killed: str | None, *, query: bool
) -> None:
    old = api.linked()
    options = {"replace": old, "replaced_transactions": "erase", "hosted_link": {}}
    body = api.went_through_link("user", name, **options)
    if killed is not None:
        api.fail("registrations" if killed == "register" else "plaid", killed, KilledError())
        with pytest.raises(KilledError):
            complete(api, body["link_token"], body["public_token"])
        assert not api.item(old).removed
    (new,) = complete(api, body["link_token"], body["public_token"]).item_ids
    sent = {"replace": old} if query else None
    assert content(api.request("POST", "/items", body, sent), 201)["item_id"] == new
    assert (api.removal(old).erase, api.tables.items.replaced_by[old]) == (True, new)
    assert (api.plaid.removed, api.plaid.calls["exchange"]) == ([], 2)


def test_before_the_end_of_a_session_only_complete_results_are_linked(api: Api) -> None:
    body = api.went_through_link("user", hosted_link={})
    results = api.plaid.results[body["link_token"]]
    partial = tuple(replace(added, accounts=()) for added in results.added)
    api.plaid.results[body["link_token"]] = replace(results, added=partial)
    completion = complete(api, body["link_token"], body["public_token"], ended=False)
    assert (completion, api.plaid.calls["exchange"]) == (Completion(client_user_id="user"), 0)
    api.plaid.results[body["link_token"]] = results
    assert len(complete(api, body["link_token"], body["public_token"], ended=False).item_ids) == 1


def test_the_session_of_a_replacement_replaces_no_other_item_and_only_one_of_its_user(api: Api) -> None:
    old, theirs = api.linked(), api.linked("another")
    body = api.went_through_link("user", replace=old)
    refused = problem(api.request("POST", "/items", body, {"replace": theirs}), 400, "invalid_request")
    assert refused["field"] == "replace"
    token = {"client_user_id": "user", "replace": theirs}
    assert problem(api.request("POST", "/link-tokens", token), 404, "item_not_found")["field"] == "replace"
    for unusable in (
        {"replace": old, "enable_multi_item_link": True},
        {"replaced_transactions": "keep"},
        {"replace": old, "item_id": old},
        {"replace": old, "replaced_transactions": "lose"},
    ):
        problem(api.request("POST", "/link-tokens", {"client_user_id": "user"} | unusable), 400, "invalid_request")


def test_a_finished_update_mode_is_recorded_for_its_item(api: Api) -> None:
    item_id = api.linked()
    until = NOON + timedelta(days=5)
    state = ItemState(StateName.EXPIRING, "PENDING_DISCONNECT", NOON, Expiry("PENDING_DISCONNECT", until))
    api.tables.items.set(item_id, state=replace(state, since=NOON - timedelta(hours=1)))
    token = api.link_token("user", item_id=item_id, hosted_link={})
    api.plaid.complete(token)
    api.queue.take()
    assert complete(api, token).item_ids == (item_id,)
    assert api.item(item_id).state.name == "active"
    assert api.queue.take() == [(item_id, "request")]


def test_only_an_event_that_api_gateway_cannot_send_is_one_of_the_webhook_function() -> None:
    session = {"link_token": "link-1", "public_tokens": ["public-1", 7]}
    event: dict[str, Any] = {"finished_link_session": session, "correlation_id": "webhook"}
    assert parse_finished_session(event) == FinishedSession("link-1", ("public-1",), "webhook")
    assert parse_finished_session({"routeKey": "POST /items", "requestContext": {}, "body": "{}"}) is None
    assert parse_finished_session(event | {"requestContext": {}}) is None
