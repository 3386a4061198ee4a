"""What all routes of the Items API have in common: unknown Items, states, refusals, retries, secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import ItemState, StateName
from plaid_sync.domain.transitions import TRANSITIONS, Action, EventType

from tests.fakes.api import Api, problem
from tests.fakes.clock import NOON
from tests.fakes.items import new_item

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId

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
CALLS_PLAID = ("refresh", "webhook", "accounts")
EVENTS = {
    "/sync": EventType.SYNC,
    "/refresh": EventType.REFRESH,
    "/resync": EventType.RESYNC,
    "/webhook": EventType.SET_WEBHOOK,
    "/accounts": EventType.FETCH_ACCOUNTS,
}


@pytest.mark.parametrize(("method", "rest"), ON_AN_ITEM)
@pytest.mark.parametrize("unknown", ["unknown", "no id", "i" * 129, "\u00e9"])
def test_an_item_that_does_not_exist_is_404(api: Api, method: str, rest: str, unknown: str) -> None:
    assert problem(api.request(method, f"/items/{unknown}{rest}"), 404, "item_not_found")["fix"]
    assert api.plaid.calls == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *((method, f"/items/unknown{rest}", None) for method, rest in ON_AN_ITEM),
        ("GET", "/items", None),
        ("POST", "/items", {"public_token": "public-1"}),
        ("POST", "/link-tokens", {"client_user_id": "user"}),
    ],
)
def test_an_unknown_query_parameter_is_rejected_by_name(api: Api, method: str, path: str, body: object) -> None:
    refused = problem(api.request(method, path, body, {"colour": "red"}), 400, "invalid_request")
    assert refused["field"] == "colour"


@pytest.mark.parametrize(("method", "rest"), [pair for pair in ON_AN_ITEM if pair[0] != "GET"])
@pytest.mark.parametrize(("body", "field"), [({"colour": "red"}, "colour"), ([], "body"), ("{", "body"), (7, "body")])
def test_a_body_that_a_route_does_not_have_is_rejected(
    api: Api, method: str, rest: str, body: object, field: str
) -> None:
    refused = problem(api.request(method, f"/items/unknown{rest}", body), 400, "invalid_request")
    assert refused["field"] == field


def test_a_route_that_does_not_exist_is_404(api: Api) -> None:
    problem(api.request("PATCH", "/items/one"), 404, "route_unknown")
    problem(api.serve({"routeKey": "$default"}), 404, "route_unknown")


@pytest.mark.parametrize("rest", EVENTS)
@pytest.mark.parametrize("name", [*StateName, "frozen"])
def test_a_state_refuses_the_events_that_the_transition_table_refuses(
    api: Api, item_id: ItemId, rest: str, name: str
) -> None:
    """An unknown state refuses all of them."""
    api.tables.items.set(item_id, state=ItemState(name, "ITEM_LOCKED"))
    response = api.request("POST", f"/items/{item_id}{rest}")
    cell = TRANSITIONS.get((name, EVENTS[rest]))
    if cell is not None and cell.action is not Action.REFUSE:
        assert response["statusCode"] in {200, 202}
        return
    refused = problem(response, 410 if name == StateName.REMOVED else 409, f"item_{name}")
    assert refused["fix"]
    remedies: dict[str, str | None] = {StateName.REVOKED: "relink", StateName.REMOVED: None}
    assert refused.get("remedy") == remedies.get(name, "bank_then_update_mode")
    assert api.plaid.calls.keys().isdisjoint(CALLS_PLAID)
    assert api.queue.take() == []


def test_an_item_in_an_unknown_state_is_shown_as_it_is_and_not_removed(api: Api, item_id: ItemId) -> None:
    api.tables.items.set(item_id, state=ItemState("frozen", "A_NEW_CODE", NOON))
    assert (
        api.get(f"/items/{item_id}").items()
        >= {"state": "frozen", "code": "A_NEW_CODE", "since": "2026-06-01T12:00:00.000Z"}.items()
    )
    (listed,) = api.get("/items")["items"]
    assert (listed["state"], listed["code"], listed["remedy"]) == ("frozen", "A_NEW_CODE", "wait")
    before = api.item(item_id)
    problem(api.request("DELETE", f"/items/{item_id}"), 409, "item_frozen")
    problem(api.request("POST", f"/items/{item_id}/sync", {"link_token": "link-1"}), 409, "item_frozen")
    assert (api.item(item_id), api.queue.take()) == (before, [])


@pytest.mark.parametrize("call", CALLS_PLAID)
@pytest.mark.parametrize(
    ("code", "status", "retry_after", "remedy"),
    [
        ("ITEM_LOGIN_REQUIRED", 409, None, "update_mode"),
        ("ITEM_NOT_FOUND", 409, None, "relink"),
        ("TRANSACTIONS_LIMIT", 429, "60", None),
        ("INSTITUTION_DOWN", 503, "3600", None),
        ("INTERNAL_SERVER_ERROR", 503, "5", None),
        ("SOMETHING_NEW", 503, "5", None),
        ("INVALID_ACCESS_TOKEN", 502, None, None),
    ],
)
def test_a_refusal_of_plaid_is_shown_with_its_fix_and_recorded(  # noqa: PLR0913, PLR0917 - a row of the table
    api: Api, item_id: ItemId, call: str, code: str, status: int, retry_after: str | None, remedy: str | None
) -> None:
    api.plaid.refusals[call] = code
    response = api.request("POST", f"/items/{item_id}/{call}")
    refused = problem(response, status, code)
    assert response["headers"].get("retry-after") == retry_after
    assert (refused["plaid_request_id"], bool(refused["fix"])) == ("refusal", True)
    assert refused.get("remedy") == remedy
    entry = api.history(item_id)[-1]
    assert (entry["outcome"], entry["code"], entry["plaid_request_ids"]) == ("refused", code, ["refusal"])


@pytest.mark.parametrize("call", CALLS_PLAID)
def test_a_transient_failure_is_503(api: Api, item_id: ItemId, call: str) -> None:
    names = {"webhook": "set_webhook"}
    api.fail("plaid", names.get(call, call), TransientError("plaid_unreachable"))
    response = api.request("POST", f"/items/{item_id}/{call}")
    assert problem(response, 503, "plaid_unreachable")["fix"] == "send the same request again"
    assert response["headers"]["retry-after"] == "5"


@pytest.mark.parametrize(
    ("rest", "port", "call"),
    [
        ("/sync", "items", "load"),
        ("/sync", "history", "add"),
        ("/sync", "queue", "send"),
        ("/resync", "items", "change"),
        ("/resync", "queue", "send"),
        ("/accounts", "tokens", "decrypt"),
        ("/accounts", "history", "add"),
        ("/accounts", "queue", "send"),
    ],
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_request_that_fails_at_any_call_is_completed_by_its_retry(  # noqa: PLR0913, PLR0917 - a row of the table
    api: Api,
    item_id: ItemId,
    rest: str,
    port: str,
    call: str,
    after: bool,  # noqa: FBT001 - a parameter
) -> None:
    api.fail(port, call, after=after)
    problem(api.request("POST", f"/items/{item_id}{rest}"), 503, "unreachable")
    assert api.request("POST", f"/items/{item_id}{rest}")["statusCode"] in {200, 202}
    assert (item_id, "accounts" if rest == "/accounts" else "request") in api.queue.take()
    assert rest != "/resync" or api.item(item_id).reconcile


def test_no_route_shows_a_token(api: Api, item_id: ItemId) -> None:
    api.tables.items.put(new_item("other"))
    token = api.link_token("user", item_id=item_id)
    public_token = api.plaid.complete(token)
    paths = [(method, f"/items/{item_id}{rest}") for method, rest in ON_AN_ITEM if method != "DELETE"]
    responses = [api.request(method, path) for method, path in [("GET", "/items"), *paths]]
    responses.append(api.request("POST", f"/items/{item_id}/sync", {"link_token": token}))
    responses.append(api.request("DELETE", f"/items/{item_id}"))
    body = api.went_through_link("another")
    responses += [api.request("POST", "/items", body) for _ in range(2)]
    assert all(response["statusCode"] in {200, 201, 202} for response in responses)
    secrets = (token, public_token, f"access-{item_id}", f"access-{item_id}"[::-1])
    for secret in (*secrets, body["link_token"], body["public_token"]):
        assert secret not in json.dumps(responses)
