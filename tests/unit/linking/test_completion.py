"""Link sessions that Plaid's webhooks report as finished, completed without the application."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from plaid_sync.domain.item import Expiry, ItemState, StateName
from plaid_sync.linking.completion import Completion, FinishedSession, parse_finished_session
from plaid_sync.linking.sessions import ListedResults

from tests.fakes.api import Api, content
from tests.fakes.clock import NOON
from tests.fakes.plaid import login


def complete(api: Api, link_token: str, *public_tokens: str) -> Completion:
    return api.complete(FinishedSession(link_token, public_tokens, "webhook"))


@pytest.mark.parametrize("listed", list(ListedResults))
@pytest.mark.parametrize("hosted", [False, True])
def test_a_session_is_completed_for_its_user_and_the_application_finds_its_item(
    api: Api, listed: ListedResults, *, hosted: bool
) -> None:
    api.plaid.link_results_listed = listed
    options: dict[str, Any] = {"hosted_link": {}} if hosted else {}
    body = api.went_through_link("user", days_requested=60, **options)
    for _ in range(2):
        completion = complete(api, body["link_token"], body["public_token"])
        assert (completion.retry, completion.code) == (False, None)
    (item_id,) = completion.item_ids
    item = api.item(item_id)
    assert (item.client_user_id, item.days_requested, item.institution_id) == ("user", 60, "ins_1")
    assert set(api.queue.take()) == {(item_id, "linked")}
    assert api.history(item_id)[0]["request"] == "webhook LINK"
    if hosted:
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
    assert len(api.tables.items.stored) == 3
    assert not api.item(existing).removed


@pytest.mark.parametrize("public_tokens", [(), ("public-1",)])
def test_a_session_that_this_stack_did_not_create_is_refused(api: Api, public_tokens: tuple[str, ...]) -> None:
    completion = complete(api, "link-unknown", *public_tokens)
    assert (completion.item_ids, completion.code, completion.retry) == ((), "link_session_unknown", False)
    assert api.plaid.calls == {}


@pytest.mark.parametrize(("code", "retry"), [("INTERNAL_SERVER_ERROR", True), ("INVALID_PUBLIC_TOKEN", False)])
def test_a_failure_that_passes_is_retried_and_another_one_is_not(api: Api, code: str, *, retry: bool) -> None:
    body = api.went_through_link("user")
    api.plaid.refusals["exchange"] = code
    completion = complete(api, body["link_token"], body["public_token"])
    assert (completion.code, completion.retry) == (code, retry)


def test_results_that_are_not_listed_yet_are_retried(api: Api) -> None:
    token = api.link_token("user", hosted_link={})
    assert complete(api, token).retry


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
    event = {"finished_link_session": session, "correlation_id": "webhook"}
    assert parse_finished_session(event) == FinishedSession("link-1", ("public-1",), "webhook")
    assert parse_finished_session({"routeKey": "POST /items", "requestContext": {}, "body": "{}"}) is None
    assert parse_finished_session(event | {"requestContext": {}}) is None
