"""Calls whose responses are passed through: what is sent, what comes back, and which failures are the stack's."""

from __future__ import annotations

import json
import socket
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import OutcomeUnknownError, TransientError
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.endpoints import PlaidEndpointsClient
from plaid_sync.plaid.items import PlaidItems

from local.plaid import Phase
from tests.fakes.aws import secret_of_plaid
from tests.unit.plaid.test_client import refusing_server

if TYPE_CHECKING:
    from plaid_sync.domain.ports import PlaidCall

    from tests.fakes.localhost import Plaid

BALANCE = "/accounts/balance/get"


@pytest.fixture
def token(plaid: Plaid) -> str:
    return plaid.simulator.link_item(transactions=9, phase=Phase.HISTORICAL).access_token


@pytest.fixture
def endpoints(plaid: Plaid) -> PlaidEndpointsClient:
    return PlaidEndpointsClient(plaid.transport)


def test_the_request_is_sent_digit_for_digit_with_the_headers_of_any_other_call() -> None:
    with refusing_server() as received:
        transport = PlaidTransport(received.base_url, secret_of_plaid())
        fields = {"options": {"count": 5, "limit": Decimal("1.10"), "name": "\ud83d"}}
        assert PlaidEndpointsClient(transport).call(BALANCE, "access", fields).status == 400
        with pytest.raises(Exception, match="HTTP_400"):
            PlaidItems(transport, "sandbox").accounts("access")
    (method, path, headers, body), (_, _, usual, _) = received.requests
    assert (method, path) == ("POST", BALANCE)
    assert body == b'{"access_token":"access","options":{"count":5,"limit":1.10,"name":"\\ud83d"}}'
    assert headers == usual | {"Content-Length": str(len(body))}


def test_a_response_is_returned_byte_by_byte(plaid: Plaid, endpoints: PlaidEndpointsClient, token: str) -> None:
    sent: list[bytes] = []
    plaid.simulator.observer = lambda *call: sent.append(call[3])
    response = endpoints.call(BALANCE, token, {})
    assert [response.body] == sent
    assert response.request_id == exact_json.loads(response.body)["request_id"]
    assert (response.status, response.code, response.retry_after) == (200, None, "")
    assert response.content_type == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"error_code": "ITEM_LOGIN_REQUIRED"}, (400, "ITEM_LOGIN_REQUIRED")),
        ({"error_code": "BALANCE_LIMIT", "retry_after": "7"}, (429, "BALANCE_LIMIT")),
        ({"error_code": "INTERNAL_SERVER_ERROR"}, (500, "INTERNAL_SERVER_ERROR")),
        ({"status": 502}, (502, "HTTP_502")),
        ({"status": 403, "body": "\xff"}, (403, "HTTP_403")),
    ],
)
def test_an_error_is_returned_byte_by_byte(
    plaid: Plaid, endpoints: PlaidEndpointsClient, token: str, fault: dict[str, Any], expected: tuple[int, str]
) -> None:
    sent: list[bytes] = []
    plaid.simulator.observer = lambda *call: sent.append(call[3])
    plaid.simulator.inject_fault(BALANCE, **fault)
    response = endpoints.call(BALANCE, token, {})
    assert ((response.status, response.code), [response.body]) == (expected, sent)
    assert response.retry_after == fault.get("retry_after", "")


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_call_without_a_response_may_have_had_its_effect(
    plaid: Plaid, endpoints: PlaidEndpointsClient, token: str, drop: str
) -> None:
    plaid.simulator.inject_fault(BALANCE, drop=drop)
    with pytest.raises(OutcomeUnknownError):
        endpoints.call(BALANCE, token, {})
    assert plaid.simulator.calls[BALANCE] == 1


def test_a_call_without_a_connection_was_never_sent(plaid: Plaid) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        transport = PlaidTransport(f"http://127.0.0.1:{closed.getsockname()[1]}", plaid.transport.secret)
        with pytest.raises(TransientError) as failed:
            PlaidEndpointsClient(transport).call(BALANCE, "access", {})
    assert not isinstance(failed.value, OutcomeUnknownError)


def test_refused_credentials_are_read_again(plaid: Plaid, endpoints: PlaidEndpointsClient, token: str) -> None:
    plaid.store_secret("retired")
    assert endpoints.call(BALANCE, token, {}).code == "INVALID_API_KEYS"
    plaid.store_secret(plaid.simulator.secret)
    assert endpoints.call(BALANCE, token, {}).code is None


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (None, None),
        ("INVALID_FIELD", None),
        ("ITEM_LOGIN_REQUIRED", None),
        ("NO_LIABILITY_ACCOUNTS", None),
        ("PRODUCTS_NOT_SUPPORTED", None),
        ("INVALID_API_KEYS", "client_error"),
        ("BALANCE_LIMIT", "throttled"),
        ("INSTITUTION_DOWN", "institution_down"),
        ("INTERNAL_SERVER_ERROR", "transient"),
    ],
)
def test_an_error_of_the_callers_request_or_of_the_item_is_no_failure_of_the_stack(
    plaid: Plaid, token: str, code: str | None, failure: str | None
) -> None:
    observed: list[str | None] = []

    def observer(call: PlaidCall) -> None:
        observed.append(call.failure)

    transport = PlaidTransport(plaid.transport.host, plaid.transport.secret, observer)
    if code is not None:
        plaid.simulator.inject_fault(BALANCE, code)
    response = PlaidEndpointsClient(transport).call(BALANCE, token, {})
    assert response.code == code
    assert observed == [failure]
    assert json.loads(response.body).get("error_code") == code
