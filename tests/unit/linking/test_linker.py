"""`POST /items`: an Item is linked, or nothing is left of it at Plaid; never an orphan that is billed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from plaid_sync.domain.errors import OutcomeUnknownError, PlaidError, TransientError
from plaid_sync.domain.item import ItemId

from tests.fakes.api import Api, content, problem

TOKEN = "public-1"
BODY = {"public_token": TOKEN}


@pytest.fixture
def api() -> Api:
    api = Api()
    api.plaid.add_public_token(TOKEN)
    return api


ITEM = ItemId("item-1")
ACCESS_TOKEN = f"access-{ITEM}"


def test_a_linked_item_is_stored_encrypted_and_its_first_sync_is_enqueued(api: Api) -> None:
    response = api.request("POST", "/items", BODY)
    assert content(response, 201) == {"item_id": ITEM}
    assert response["headers"]["location"] == f"/items/{ITEM}"
    item = api.item(ITEM)
    assert (item.generation, item.state.name, item.days_requested, item.client_user_id) == (0, "active", 730, None)
    assert ACCESS_TOKEN.encode() not in item.access_token
    assert api.tables.tokens.decrypt(ITEM, item.access_token) == ACCESS_TOKEN
    assert api.queue.take() == [(ITEM, "linked")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{", "body"),
        ("[]", "body"),
        (None, "body"),
        ({"public_token": "access-sandbox-1"}, "public_token"),
        ({"public_token": TOKEN, "days_requested": 1000}, "days_requested"),
    ],
    ids=str,
)
def test_a_bad_request_names_field_and_fix_and_changes_nothing(api: Api, body: object, field: str) -> None:
    refused = problem(api.request("POST", "/items", body), 400, "invalid_request")
    assert (refused["field"], bool(refused["fix"])) == (field, True)
    assert (api.plaid.calls, api.tables.items.stored) == ({}, {})


@pytest.mark.parametrize("event", [{"body": "\u00e9", "isBase64Encoded": True}, {"body": None}, {}])
def test_an_unreadable_event_is_400(api: Api, event: dict[str, Any]) -> None:
    problem(api.serve({"routeKey": "POST /items"} | event), 400, "invalid_request")


def test_an_unknown_public_token_is_rejected_by_field(api: Api) -> None:
    refused = problem(api.request("POST", "/items", {"public_token": "public-unknown"}), 400, "INVALID_PUBLIC_TOKEN")
    assert (refused["field"], refused["plaid_request_id"]) == ("public_token", "refusal")


def test_a_retry_with_the_same_public_token_gives_the_same_item(api: Api) -> None:
    first, second = (api.request("POST", "/items", BODY) for _ in range(2))
    assert first == second
    assert api.plaid.calls["exchange"] == 1
    assert api.queue.take() == [(ITEM, "linked")] * 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("port", "call"), [("index", "id_by_link"), ("queue", "send"), ("tokens", "encrypt"), ("registrations", "register")]
)
def test_a_link_that_fails_at_any_call_leaves_no_orphan(api: Api, port: str, call: str, *, after: bool) -> None:
    api.fail(port, call, after=after)
    response = api.request("POST", "/items", BODY)
    if call == "register" and after:
        # It is stored, and the linker finds that out: nothing is rolled back.
        assert content(response, 201) == {"item_id": ITEM}
        assert api.plaid.removed == []
    elif call in {"encrypt", "register"}:
        assert problem(response, 503, "link_rolled_back")["fix"] == "run Link again"
        assert (api.plaid.removed, api.tables.items.stored) == ([ACCESS_TOKEN], {})
        return
    else:
        assert problem(response, 503, "unreachable")["fix"] == "send the same request again"
        assert content(api.request("POST", "/items", BODY), 201) == {"item_id": ITEM}
    assert api.item(ITEM).state.name == "active"
    assert api.plaid.removed == []
    assert (ITEM, "linked") in api.queue.take()


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknownError("plaid_response_not_json"), PlaidError("HTTP_504"), PlaidError("HTTP_503", "gateway")],
    ids=lambda error: error.code,
)
def test_an_exchange_whose_response_is_lost_is_reported_with_what_to_do(api: Api, error: Exception) -> None:
    api.fail("plaid", "exchange", error, after=True)
    response = api.request("POST", "/items", BODY)
    lost = problem(response, 503, "exchange_unknown")
    assert response["headers"]["retry-after"] == "5"
    for part in ("send the same request again", "INVALID_PUBLIC_TOKEN", "billed", "Link again", "support"):
        assert part in lost["fix"]
    assert TOKEN not in json.dumps(response)
    problem(api.request("POST", "/items", BODY), 400, "INVALID_PUBLIC_TOKEN")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PlaidError("INTERNAL_SERVER_ERROR"), 503),
        (PlaidError("RATE_LIMIT_EXCEEDED"), 429),
        (TransientError("plaid_unreachable"), 503),
    ],
    ids=lambda value: str(getattr(value, "code", value)),
)
def test_an_exchange_that_plaid_refuses_or_never_receives_did_not_happen(api: Api, error: Any, status: int) -> None:
    api.fail("plaid", "exchange", error)
    problem(api.request("POST", "/items", BODY), status, error.code)
    assert content(api.request("POST", "/items", BODY), 201) == {"item_id": ITEM}


def test_an_exchange_without_a_usable_item_id_is_rolled_back(api: Api) -> None:
    api.plaid.exchangeable[TOKEN] = replace(api.plaid.exchangeable[TOKEN], item_id=None)
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert (api.plaid.removed, api.tables.items.stored, api.queue.take()) == ([ACCESS_TOKEN], {}, [])


def test_a_rollback_is_retried_and_an_item_that_cannot_be_removed_is_reported(api: Api) -> None:
    api.fail("tokens", "encrypt", times=2)
    api.fail("plaid", "remove", PlaidError("INTERNAL_SERVER_ERROR"), times=2)
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert (api.plaid.removed, api.tables.clock.pauses) == ([ACCESS_TOKEN], [0.5, 0.5])
    api.plaid.add_public_token(TOKEN)
    api.plaid.refusals["remove"] = "INTERNAL_SERVER_ERROR"
    orphaned = problem(api.request("POST", "/items", BODY), 500, "item_orphaned")
    assert ITEM in orphaned["detail"]
    assert orphaned["plaid_request_id"] == "exchanged"


def test_an_item_whose_registration_is_unknown_is_rolled_back_rather_than_orphaned(api: Api) -> None:
    api.fail("registrations", "register")
    api.fail("registrations", "block_registration")
    api.fail("items", "load")
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert api.plaid.removed == [ACCESS_TOKEN]


def test_a_registration_that_arrives_after_the_rollback_is_blocked(api: Api) -> None:
    api.fail("registrations", "register")
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    api.plaid.add_public_token(TOKEN)
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert api.tables.items.stored == {}


def test_with_too_little_time_for_a_rollback_nothing_is_exchanged(api: Api) -> None:
    problem(api.request("POST", "/items", BODY, seconds=104), 503, "not_enough_time_to_exchange")
    assert api.plaid.calls == {}
    content(api.request("POST", "/items", BODY, seconds=106), 201)


def test_an_item_that_a_concurrent_repeat_returned_is_not_rolled_back(api: Api) -> None:
    """The first request's write arrives and its response does not; meanwhile its repeat is served."""
    api.fail("registrations", "register", after=True)
    api.fail(
        "registrations", "block_registration", None, meanwhile=lambda: content(api.request("POST", "/items", BODY), 201)
    )
    assert content(api.request("POST", "/items", BODY), 201) == {"item_id": ITEM}
    assert api.plaid.removed == []


@pytest.mark.parametrize("pauses", [1, 3])
def test_a_request_whose_concurrent_repeat_used_the_token_waits_for_the_item(api: Api, pauses: int) -> None:
    content(api.request("POST", "/items", BODY), 201)
    api.tables.items.index_lags = True

    def arrives() -> None:
        api.tables.items.index_lags = len(api.tables.clock.pauses) < pauses - 1

    api.fail("clock", "sleep", None, times=pauses, meanwhile=arrives)
    assert content(api.request("POST", "/items", BODY), 201) == {"item_id": ITEM}
    assert len(api.tables.clock.pauses) == pauses
