"""Calls of Plaid's other products: what is passed on and through, what is withheld, and what is recorded."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.errors import OutcomeUnknownError, TransientError
from plaid_sync.domain.item import ItemFailure, ItemState, StateName
from plaid_sync.domain.messages import Cause
from plaid_sync.items_api.broker import ENDPOINTS, MAX_RESPONSE_BYTES
from plaid_sync.items_api.ports import PlaidResponse

from tests.fakes.api import Api, content, problem
from tests.fakes.failing import UNREACHABLE

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId

BALANCE = "/accounts/balance/get"
REFUSED = b'{"error_code":"ITEM_LOGIN_REQUIRED","error_type":"ITEM_ERROR","request_id":"r-1"}'


def call(api: Api, item_id: ItemId, body: object = None, endpoint: str = BALANCE, **how: Any) -> dict[str, Any]:
    return api.request("POST", f"/items/{item_id}/plaid{endpoint}", body, **how)


def error_of_plaid(code: str, status: int = 400) -> PlaidResponse:
    return PlaidResponse(
        status, REFUSED.replace(b"ITEM_LOGIN_REQUIRED", code.encode()), "application/json", "r-1", code
    )


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS))
def test_the_request_gets_the_token_and_the_response_is_passed_through(
    api: Api, item_id: ItemId, endpoint: str
) -> None:
    body = '{"options": {"account_ids": ["a"], "count": 5, "limit": 1.10}}'
    response = call(api, item_id, body, endpoint)
    fields = {"options": {"account_ids": ["a"], "count": 5, "limit": Decimal("1.10")}}
    assert content(response) == {"endpoint": endpoint, "request": fields, "request_id": "call-1"}
    assert response["headers"] == {"content-type": "application/json", "plaid-request-id": "call-1"}
    assert api.plaid.requests == [(f"access-{item_id}", fields)]
    entry = api.history(item_id)[-1]
    assert entry["request"] == "POST /items/{item_id}/plaid/{endpoint+}"
    assert entry["caller"]
    assert (entry["kind"], entry["outcome"], entry["endpoint"]) == ("request", "done", endpoint)
    assert entry["plaid_request_ids"] == ["call-1"]
    assert entry.keys() <= {"at", "kind", "outcome", "request", "caller", "correlation_ids", "endpoint"} | {
        "plaid_request_ids"
    }


def test_a_body_can_be_absent(api: Api, item_id: ItemId) -> None:
    content(call(api, item_id))
    assert api.plaid.requests == [(f"access-{item_id}", {})]


@pytest.mark.parametrize(
    "endpoint",
    [
        "/transactions/sync",
        "/item/access_token/invalidate",
        "/item/remove",
        "/processor/token/create",
        "/Auth/get",
        "/",
    ],
)
def test_what_changes_an_item_or_returns_a_token_is_never_called(api: Api, item_id: ItemId, endpoint: str) -> None:
    api.enabled = ENDPOINTS | {endpoint}
    problem(call(api, item_id, endpoint=f"{endpoint}x" if endpoint == "/" else endpoint), 403, "endpoint_not_enabled")
    assert api.plaid.requests == []


def test_only_what_the_stack_is_configured_for_is_called(api: Api, item_id: ItemId) -> None:
    api.enabled = frozenset({"/liabilities/get"})
    refused = problem(call(api, item_id), 403, "endpoint_not_enabled")
    assert "PlaidEndpoints" in refused["fix"]
    content(call(api, item_id, endpoint="/liabilities/get"))
    assert api.plaid.calls["/liabilities/get"] == 1
    assert BALANCE not in api.plaid.calls


@pytest.mark.parametrize("name", ["access_token", "client_id", "secret"])
def test_what_the_stack_fills_in_is_refused_by_name(api: Api, item_id: ItemId, name: str) -> None:
    assert problem(call(api, item_id, {name: None}), 400, "invalid_request")["field"] == name
    assert api.plaid.requests == []


@pytest.mark.parametrize("body", ["[]", "7", "{", '{"a":' + "[" * 101 + "]" * 101 + "}", '{"a":' + "[" * 9999])
def test_a_body_that_is_no_object_of_bounded_depth_is_refused(api: Api, item_id: ItemId, body: str) -> None:
    assert problem(call(api, item_id, body), 400, "invalid_request")["field"] == "body"
    assert api.plaid.requests == []


def test_an_error_of_plaid_is_passed_through_and_the_worker_looks_at_the_item_once(api: Api, item_id: ItemId) -> None:
    refused = replace(error_of_plaid("ITEM_LOGIN_REQUIRED"), retry_after="7")
    api.plaid.responses = [refused, refused, refused]
    response = call(api, item_id)
    assert (response["statusCode"], response["body"].encode()) == (400, REFUSED)
    assert response["headers"] == {
        "content-type": "application/json",
        "plaid-request-id": "r-1",
        "retry-after": "7",
    }
    entry = api.history(item_id)[-1]
    assert (entry["outcome"], entry["code"], entry["plaid_request_ids"]) == ("refused", "ITEM_LOGIN_REQUIRED", ["r-1"])
    assert api.queue.take() == [(item_id, Cause.ACCOUNTS)]
    api.tables.items.set(item_id, state=ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED"))
    assert call(api, item_id)["statusCode"] == 400
    now = api.tables.clock.now()
    failure = ItemFailure("ITEM_LOGIN_REQUIRED", "client_error", now, now)
    api.tables.items.set(item_id, state=ItemState(StateName.ACTIVE), failure=failure)
    assert call(api, item_id)["statusCode"] == 400
    assert api.queue.take() == [], "it is known"
    api.tables.items.set(item_id, failure=None, accounts_checked_at=now)
    api.plaid.responses = [refused, refused]
    assert call(api, item_id)["statusCode"] == 400
    assert api.queue.take() == [], "the worker just had a look, and found the Item well"
    api.tables.clock.sleep(601)
    assert call(api, item_id)["statusCode"] == 400
    assert api.queue.take() == [(item_id, Cause.ACCOUNTS)]


@pytest.mark.parametrize(
    "code", ["INVALID_FIELD", "NO_LIABILITY_ACCOUNTS", "PRODUCTS_NOT_SUPPORTED", "ADDITIONAL_CONSENT_REQUIRED"]
)
def test_an_error_about_a_product_or_a_request_leads_to_no_sync(api: Api, item_id: ItemId, code: str) -> None:
    api.plaid.responses = [error_of_plaid(code)]
    assert call(api, item_id)["statusCode"] == 400
    assert api.queue.take() == []


def test_an_error_is_passed_through_although_the_queue_takes_nothing(api: Api, item_id: ItemId) -> None:
    api.plaid.responses = [error_of_plaid("ITEM_NOT_FOUND")]
    api.fail("queue", "send")
    assert call(api, item_id)["statusCode"] == 400


def test_a_rate_limit_of_plaid_is_passed_through(api: Api, item_id: ItemId) -> None:
    api.plaid.responses = [error_of_plaid("BALANCE_LIMIT", 429)]
    assert call(api, item_id)["statusCode"] == 429
    assert api.history(item_id)[-1]["code"] == "BALANCE_LIMIT"


def test_a_response_of_a_proxy_is_passed_through_byte_by_byte(api: Api, item_id: ItemId) -> None:
    api.plaid.responses = [PlaidResponse(502, b"\xff<html>", "text/html", code="HTTP_502")]
    response = call(api, item_id)
    assert (response["statusCode"], base64.b64decode(response["body"])) == (502, b"\xff<html>")
    assert response["isBase64Encoded"] is True
    assert response["headers"] == {"content-type": "text/html", "plaid-request-id": "unknown"}


@pytest.mark.parametrize("status", [200, 400])
def test_a_response_with_the_access_token_is_withheld_and_recorded(api: Api, item_id: ItemId, status: int) -> None:
    body = f'{{"message":"access-{item_id} is invalid"}}'.encode()
    api.plaid.responses = [PlaidResponse(status, body, "application/json", "r-1", None if status == 200 else "CODE")]
    refused = problem(call(api, item_id), 502, "plaid_response_withheld")
    assert refused["plaid_request_id"] == "r-1"
    assert "access-" not in str(refused)
    entry = api.history(item_id)[-1]
    assert (entry["outcome"], entry["code"]) == ("withheld", "plaid_response_withheld")
    assert "access-" not in str(entry)


@pytest.mark.parametrize(("filler", "status"), [(b"x", 200), (b'"', 502)])
def test_a_response_that_lambda_cannot_return_is_an_error(
    api: Api, item_id: ItemId, filler: bytes, status: int
) -> None:
    """Each quotation mark takes two bytes in what Lambda returns."""
    api.plaid.responses = [PlaidResponse(200, filler * (MAX_RESPONSE_BYTES // 2 + 1), "application/json", "r-1")]
    response = call(api, item_id)
    if status == 200:
        assert response["statusCode"] == 200
        return
    assert "fewer accounts" in problem(response, 502, "plaid_response_too_large")["fix"]
    assert api.history(item_id)[-1]["outcome"] == "withheld"


def test_a_call_without_a_response_is_recorded(api: Api, item_id: ItemId) -> None:
    api.fail("plaid", "call", OutcomeUnknownError("plaid_unreachable_ReadTimeoutError"))
    response = call(api, item_id)
    problem(response, 503, "plaid_unreachable_ReadTimeoutError")
    assert response["headers"]["retry-after"] == "5"
    entry = api.history(item_id)[-1]
    assert (entry["outcome"], entry["code"]) == ("failed", "plaid_unreachable_ReadTimeoutError")


def test_no_response_is_returned_that_is_not_recorded(api: Api, item_id: ItemId) -> None:
    api.fail("history", "add")
    problem(call(api, item_id), 503, UNREACHABLE.code)


def test_a_removed_item_is_gone_and_calls_nothing(api: Api, item_id: ItemId) -> None:
    api.request("DELETE", f"/items/{item_id}")
    problem(call(api, item_id), 410, "item_removed")
    assert api.plaid.requests == []


def test_while_the_token_is_replaced_nothing_is_called(api: Api, item_id: ItemId) -> None:
    api.tables.items.set(item_id, token_rotation_began_at=api.tables.clock.now())
    problem(call(api, item_id), 503, "access_token_rotating")
    assert api.plaid.requests == []


@pytest.mark.parametrize("completed", [True, False])
def test_a_token_that_was_replaced_meanwhile_is_no_dead_token(api: Api, item_id: ItemId, *, completed: bool) -> None:
    def rotate() -> None:
        if completed:
            api.tables.items.set(item_id, access_token=api.tables.tokens.encrypt(item_id, "access-new"))
        else:
            api.tables.items.set(item_id, token_rotation_began_at=api.tables.clock.now())

    api.plaid.responses = [error_of_plaid("INVALID_ACCESS_TOKEN")]
    api.fail("plaid", "call", None, meanwhile=rotate)
    problem(call(api, item_id), 503, "access_token_rotating")
    assert api.history(item_id)[-1]["code"] == "INVALID_ACCESS_TOKEN"
    assert api.queue.take() == []


def test_a_dead_token_is_recorded_although_the_item_cannot_be_loaded_again(api: Api, item_id: ItemId) -> None:
    api.fail("items", "load", times=0)

    def fail_next_load() -> None:
        api.ports["items"].times = 1

    api.plaid.responses = [error_of_plaid("INVALID_ACCESS_TOKEN")]
    api.fail("plaid", "call", None, meanwhile=fail_next_load)
    problem(call(api, item_id), 503, UNREACHABLE.code)
    entry = api.history(item_id)[-1]
    assert (entry["outcome"], entry["code"], entry["plaid_request_ids"]) == ("refused", "INVALID_ACCESS_TOKEN", ["r-1"])


# ---- recurring streams

RECURRING = "/transactions/recurring/get"
HOUR = timedelta(hours=1)


@pytest.fixture
def cached(api: Api) -> Api:
    api.cache_age = timedelta(hours=6)
    return api


def stream(api: Api, item_id: ItemId, body: object = None, **how: Any) -> tuple[str, str | None]:
    """Return Plaid's id of the call, and the age of the response."""
    response = call(api, item_id, body, RECURRING, **how)
    assert content(response)["request_id"] == response["headers"]["plaid-request-id"]
    return response["headers"]["plaid-request-id"], response["headers"].get("age")


def test_streams_are_served_again_for_a_time_with_their_age_and_recorded(cached: Api, item_id: ItemId) -> None:
    assert stream(cached, item_id) == ("call-1", None)
    cached.tables.clock.time += HOUR
    first = cached.history(item_id)[-1]
    assert stream(cached, item_id) == ("call-1", "3600")
    entry = cached.history(item_id)[-1]
    assert "cached" not in first
    assert (entry["outcome"], entry["cached"], entry["plaid_request_ids"]) == ("done", True, ["call-1"])
    cached.tables.clock.time += 5 * HOUR
    assert stream(cached, item_id) == ("call-2", None)


def test_without_a_cache_each_request_is_a_call(api: Api, item_id: ItemId) -> None:
    assert [stream(api, item_id)[0] for _ in range(2)] == ["call-1", "call-2"]
    assert api.ports["cache"].entries == {}


def test_only_streams_are_stored(cached: Api, item_id: ItemId) -> None:
    for _ in range(2):
        content(call(cached, item_id))
    assert (cached.plaid.calls[BALANCE], cached.ports["cache"].entries) == (2, {})


def test_a_caller_can_want_fresh_streams(cached: Api, item_id: ItemId) -> None:
    stream(cached, item_id)
    assert stream(cached, item_id, headers={"Cache-Control": "max-age=0, no-cache"}) == ("call-2", None)
    assert stream(cached, item_id) == ("call-2", "0")


def test_another_request_has_another_response(cached: Api, item_id: ItemId) -> None:
    stream(cached, item_id, {"account_ids": ["a"]})
    assert stream(cached, item_id, {"account_ids": ["b"]}) == ("call-2", None)
    assert stream(cached, item_id, {"account_ids": ["b"]}) == ("call-2", "0")


def test_a_webhook_ends_a_stored_response(cached: Api, item_id: ItemId) -> None:
    stream(cached, item_id)
    cached.ports["cache"].invalidations[item_id] += 1
    assert stream(cached, item_id) == ("call-2", None)
    assert stream(cached, item_id) == ("call-2", "0")


def test_a_webhook_that_arrives_during_a_call_leaves_no_outdated_response(cached: Api, item_id: ItemId) -> None:
    invalidations = cached.ports["cache"].invalidations
    cached.fail("plaid", "call", None, meanwhile=lambda: invalidations.update([item_id]))
    assert stream(cached, item_id) == ("call-1", None)
    assert stream(cached, item_id) == ("call-2", None)


def test_a_slow_call_that_is_stored_after_a_newer_one_is_not_served(cached: Api, item_id: ItemId) -> None:
    def newer() -> None:
        cached.ports["cache"].invalidations[item_id] += 1
        assert stream(cached, item_id) == ("call-1", None)

    cached.fail("plaid", "call", None, meanwhile=newer)
    assert stream(cached, item_id) == ("call-2", None)
    assert stream(cached, item_id) == ("call-3", None)


def test_a_refusal_is_not_stored(cached: Api, item_id: ItemId) -> None:
    cached.plaid.responses = [error_of_plaid("PRODUCT_NOT_READY")]
    assert call(cached, item_id, endpoint=RECURRING)["statusCode"] == 400
    assert stream(cached, item_id) == ("call-2", None)


def test_a_page_of_a_proxy_is_not_stored(cached: Api, item_id: ItemId) -> None:
    cached.plaid.responses = [PlaidResponse(200, b"<html>", "text/html")]
    assert call(cached, item_id, endpoint=RECURRING)["body"] == "<html>"
    assert stream(cached, item_id) == ("call-2", None)


def test_an_account_that_is_no_longer_shared_ends_a_stored_response(cached: Api, item_id: ItemId) -> None:
    stream(cached, item_id)
    (account, *_) = cached.item(item_id).accounts
    content(cached.request("DELETE", f"/items/{item_id}/accounts/{account.account_id}"), 202)
    assert stream(cached, item_id) == ("call-2", None)


@pytest.mark.parametrize("name", [StateName.NEEDS_USER, StateName.REVOKED])
def test_an_item_that_plaid_does_not_serve_has_no_stored_response(
    cached: Api, item_id: ItemId, name: StateName
) -> None:
    stream(cached, item_id)
    cached.tables.items.set(item_id, state=ItemState(name, "ITEM_LOGIN_REQUIRED"))
    assert stream(cached, item_id) == ("call-2", None)


def test_a_removed_item_has_no_stored_response(cached: Api, item_id: ItemId) -> None:
    stream(cached, item_id)
    cached.request("DELETE", f"/items/{item_id}")
    problem(call(cached, item_id, endpoint=RECURRING), 410, "item_removed")


@pytest.mark.parametrize("name", ["look_up", "store"])
def test_without_the_table_plaid_is_called(cached: Api, item_id: ItemId, name: str) -> None:
    cached.fail("cache", name, TransientError("unreachable"))
    assert [stream(cached, item_id)[0] for _ in range(2)] == ["call-1", "call-2"]
