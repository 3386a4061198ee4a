"""Calls to Plaid: what is sent is what plaid-python's own `PlaidApi` sends, and what each failure means."""

from __future__ import annotations

import json
import socket
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import plaid as plaid_python
import pytest
from plaid.api.plaid_api import PlaidApi
from plaid_sync.domain.errors import CallBudgetError, FailureClass, OutcomeUnknownError, PlaidError, TransientError
from plaid_sync.domain.item import Cursor
from plaid_sync.linking.requests import LinkTokenParameters, parse_link_token_request
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.items import PlaidItems, PlaidTransactionsClient
from plaid_sync.plaid.link import PlaidLinkClient
from plaid_sync.pull.puller import PullOptions

from tests.fakes.aws import secret_of_plaid
from tests.fakes.localhost import EXCHANGES, KEY_CALLS, Plaid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.domain.ports import PlaidCall

CREDENTIALS = {"clientId": "client", "secret": "local-secret"}
REQUEST = parse_link_token_request(
    {
        "client_user_id": "user",
        "days_requested": 90,
        "redirect_uri": "https://app.example/back",
        "hosted_link": {"delivery_method": "sms"},
    }
)
ACCOUNT_SELECTION = parse_link_token_request({"item_id": "item", "account_selection": True})
WEBHOOK_URL = "https://app.example/webhooks/plaid"


def with_options(transport: PlaidTransport) -> PlaidTransactionsClient:
    return PlaidTransactionsClient(transport, PullOptions(original_description=True, category_version="v2"))


CALLS: dict[str, Callable[[PlaidTransport], object]] = {
    "/transactions/sync": lambda to: PlaidTransactionsClient(to).sync_page("access", None, 90),
    "/transactions/sync from a cursor": lambda to: PlaidTransactionsClient(to).sync_page("access", Cursor("c"), 90),
    "/transactions/sync with options": lambda to: with_options(to).sync_page("access", None, 90),
    "/transactions/sync from a cursor with options": lambda to: with_options(to).sync_page("access", Cursor("c"), 90),
    "/item/get": lambda to: PlaidItems(to, "sandbox").health("access"),
    "/item/remove": lambda to: PlaidItems(to, "sandbox").remove("access"),
    "/accounts/get": lambda to: PlaidItems(to, "sandbox").accounts("access"),
    "/transactions/refresh": lambda to: PlaidItems(to, "sandbox").refresh("access"),
    "/item/webhook/update": lambda to: PlaidItems(to, "sandbox").set_webhook("access", WEBHOOK_URL),
    "/link/token/create": lambda to: PlaidLinkClient(to).create_link_token(
        LinkTokenParameters(REQUEST, "user", "App", WEBHOOK_URL)
    ),
    "/link/token/create to select accounts": lambda to: PlaidLinkClient(to).create_link_token(
        LinkTokenParameters(ACCOUNT_SELECTION, "user", "App", WEBHOOK_URL, "access")
    ),
    "/link/token/get": lambda to: PlaidLinkClient(to).link_results("link"),
    "/item/public_token/exchange": lambda to: PlaidLinkClient(to).exchange("public"),
}


@dataclass(slots=True)
class Received:
    """What a server on localhost received; it refuses everything."""

    base_url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def refusing_server() -> Iterator[Received]:
    received = Received()

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append((self.command, self.path, dict(self.headers), body))
            self.send_response(400)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        received.base_url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield received
        server.shutdown()


@pytest.mark.parametrize("name", CALLS)
def test_plaid_receives_what_plaid_python_sends(name: str) -> None:
    with refusing_server() as received:
        with pytest.raises(PlaidError, match="HTTP_400"):
            CALLS[name](PlaidTransport(received.base_url, secret_of_plaid()))
        path, body = received.requests[0][1], json.loads(received.requests[0][3])
        configuration = plaid_python.Configuration(host=received.base_url, api_key=CREDENTIALS)
        api = PlaidApi(plaid_python.ApiClient(configuration))
        operation: Any = getattr(api, path.strip("/").replace("/", "_"))
        with pytest.raises(plaid_python.ApiException):
            operation(body)
        sent, expected = received.requests
    assert path == name.partition(" ")[0]
    assert sent == expected


@pytest.mark.parametrize(
    ("options", "cursor", "expected"),
    [
        (PullOptions(), None, {"days_requested": 90}),
        (PullOptions(), Cursor("c"), None),
        (PullOptions(original_description=True), Cursor("c"), {"include_original_description": True}),
        (
            PullOptions(category_version="v1"),
            None,
            {"days_requested": 90, "personal_finance_category_version": "v1"},
        ),
    ],
)
def test_the_stacks_options_are_sent_with_every_page(
    options: PullOptions, cursor: Cursor | None, expected: dict[str, Any] | None
) -> None:
    with refusing_server() as received:
        client = PlaidTransactionsClient(PlaidTransport(received.base_url, secret_of_plaid()), options)
        with pytest.raises(PlaidError):
            client.sync_page("access", cursor, 90)
    assert json.loads(received.requests[0][3]).get("options") == expected


def test_refused_credentials_are_read_again(plaid: Plaid) -> None:
    token = plaid.simulator.create_public_token()
    plaid.store_secret("retired")
    with pytest.raises(PlaidError, match="INVALID_API_KEYS"):
        plaid.link.exchange(token)
    plaid.store_secret(plaid.simulator.secret)
    assert plaid.link.exchange(token).access_token


def test_a_call_whose_response_is_lost_is_not_retried(plaid: Plaid) -> None:
    plaid.simulator.inject_fault(EXCHANGES, drop="after")
    with pytest.raises(TransientError, match="plaid_unreachable"):
        plaid.link.exchange(plaid.simulator.create_public_token())
    assert plaid.simulator.calls[EXCHANGES] == 1


@pytest.mark.parametrize(
    "fault",
    [{"drop": "before"}, {"drop": "after"}, {"status": 200, "body": "<"}, {"status": 200, "body": "{}"}],
    ids=str,
)
def test_a_call_that_was_sent_may_have_had_its_effect(plaid: Plaid, fault: dict[str, Any]) -> None:
    plaid.simulator.inject_fault(EXCHANGES, **fault)
    with pytest.raises(OutcomeUnknownError):
        plaid.link.exchange(plaid.simulator.create_public_token())


def test_a_call_without_a_connection_was_never_sent(plaid: Plaid) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for address in (host, "http://plaid.invalid"):
            link = PlaidLinkClient(PlaidTransport(address, plaid.transport.secret))
            with pytest.raises(TransientError) as failed:
                link.exchange("public-sandbox-1")
            assert not isinstance(failed.value, OutcomeUnknownError)


def test_without_the_secret_no_call_is_sent(plaid: Plaid) -> None:
    plaid.secrets.text = "{}"
    plaid.transport.secret.forget()
    with pytest.raises(TransientError) as failed:
        plaid.link.exchange("public-sandbox-1")
    assert not isinstance(failed.value, OutcomeUnknownError)


INVALID_CODES = ["", "a b", "item_not_found", "_A", "1A", "A\n", "\u00c9", "\ud800", "A" * 65, 7, None, ["A"], {"A": 1}]
VALID_CODES = ["A", "PRODUCT_2_NOT_READY", "A" * 64]


def test_an_error_code_is_kept_and_one_of_an_invalid_form_is_replaced_by_both_clients(plaid: Plaid) -> None:
    for code, expected in [*((code, "HTTP_418") for code in INVALID_CODES), *((code, code) for code in VALID_CODES)]:
        for path in (EXCHANGES, KEY_CALLS):
            plaid.simulator.inject_fault(path, status=418, body=json.dumps({"error_code": code}))
        with pytest.raises(PlaidError) as refused:
            plaid.link.exchange("public-sandbox-1")
        assert refused.value.code == expected
        with pytest.raises(TransientError) as failed:
            plaid.key_api.fetch("kid")
        assert failed.value.code == f"verification_key_{expected}"


def test_an_error_has_everything_that_plaid_says_about_it(plaid: Plaid) -> None:
    body = {
        "error_type": "ITEM_ERROR",
        "error_code": "ITEM_LOGIN_REQUIRED",
        "error_code_reason": "OAUTH_USER_REVOKED",
        "request_id": "r1",
    }
    plaid.simulator.inject_fault(EXCHANGES, status=400, body=json.dumps(body))
    with pytest.raises(PlaidError) as refused:
        plaid.link.exchange("public-sandbox-1")
    error = refused.value
    assert (error.error_type, error.code, error.code_reason) == tuple(body.values())[:3]
    assert (error.status, error.endpoint, error.request_id) == (400, EXCHANGES, "r1")


@pytest.mark.parametrize("value", [None, 7, "", "a b", "\ud800", ["A"]], ids=ascii)
def test_a_type_or_reason_of_an_invalid_form_is_omitted(plaid: Plaid, value: object) -> None:
    body = {"error_code": "ITEM_LOGIN_REQUIRED", "error_type": value, "error_code_reason": value}
    plaid.simulator.inject_fault(EXCHANGES, status=400, body=json.dumps(body))
    with pytest.raises(PlaidError) as refused:
        plaid.link.exchange("public-sandbox-1")
    assert (refused.value.error_type, refused.value.code_reason) == ("", None)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (429, "slow down", FailureClass.THROTTLED),
        (429, {"error_code": "A_LIMIT_OF_NEXT_YEAR", "error_type": "API_ERROR"}, FailureClass.THROTTLED),
        (400, {"error_code": "A_LIMIT_OF_NEXT_YEAR", "error_type": "RATE_LIMIT_EXCEEDED"}, FailureClass.THROTTLED),
        (400, {"error_code": "A_CODE_OF_NEXT_YEAR", "error_type": "ITEM_ERROR"}, FailureClass.NEEDS_USER),
        (400, {"error_code": "A_CODE_OF_NEXT_YEAR", "error_type": "INVALID_INPUT"}, FailureClass.CLIENT_ERROR),
        (400, {"error_code": "A_CODE_OF_NEXT_YEAR"}, FailureClass.TRANSIENT),
        (502, "<html>", FailureClass.TRANSIENT),
    ],
    ids=str,
)
def test_an_error_is_classified_by_all_of_it(plaid: Plaid, status: int, body: object, failure: FailureClass) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    plaid.simulator.inject_fault(EXCHANGES, status=status, body=text)
    with pytest.raises(PlaidError) as refused:
        plaid.link.exchange("public-sandbox-1")
    assert refused.value.failure_class is failure


def test_a_request_id_that_no_log_line_can_hold_is_omitted(plaid: Plaid) -> None:
    valid = "r" * 128
    for request_id in (valid, "r" * 129, "\ud800", "\u00e9", "a\nb", ["r"], 7, None):
        body = json.dumps({"error_code": "ITEM_LOGIN_REQUIRED", "request_id": request_id})
        plaid.simulator.inject_fault(EXCHANGES, status=400, body=body)
        with pytest.raises(PlaidError, match="ITEM_LOGIN_REQUIRED") as refused:
            plaid.link.exchange("public-sandbox-1")
        assert refused.value.request_id == (valid if request_id == valid else "")


# ---- the call budget


@dataclass(slots=True)
class Budget:
    """Implements `PlaidCallBudget`.

    Attributes:
        refuses: every call is one too many.
        taken: the endpoints of the calls; likewise `refused_by_plaid`.
    """

    refuses: bool = False
    taken: list[str] = field(default_factory=list)
    refused_by_plaid: list[str] = field(default_factory=list)

    def take(self, endpoint: str) -> None:
        if self.refuses:
            raise CallBudgetError(endpoint, 3.0, waits=False)
        self.taken.append(endpoint)

    def throttled(self, endpoint: str) -> None:
        self.refused_by_plaid.append(endpoint)


def test_a_call_that_the_budget_refuses_is_not_made_and_is_no_failure_of_plaid(plaid: Plaid) -> None:
    observed: list[PlaidCall] = []

    def observe(call: PlaidCall) -> None:
        observed.append(call)

    transport = PlaidTransport(plaid.transport.host, plaid.transport.secret, observe, Budget(refuses=True))
    with pytest.raises(CallBudgetError):
        PlaidItems(transport, "sandbox").health("access-sandbox-1")
    assert (observed, plaid.simulator.calls) == ([], Counter())


@pytest.mark.parametrize(
    ("code", "counts"),
    [("ITEM_GET_LIMIT", True), ("INSTITUTION_RATE_LIMIT", False), ("ITEM_LOGIN_REQUIRED", False)],
)
def test_plaids_own_limit_is_reported_to_the_budget_and_a_banks_is_not(
    plaid: Plaid, code: str, *, counts: bool
) -> None:
    budget = Budget()
    plaid.simulator.inject_fault("/item/get", code)
    with pytest.raises(PlaidError, match=code):
        PlaidItems(PlaidTransport(plaid.transport.host, plaid.transport.secret, budget=budget), "sandbox").health("a")
    assert budget.taken == ["/item/get"]
    assert budget.refused_by_plaid == (["/item/get"] if counts else [])


def test_a_forwarded_call_takes_part_in_the_budget(plaid: Plaid) -> None:
    budget = Budget()
    transport = PlaidTransport(plaid.transport.host, plaid.transport.secret, budget=budget)
    plaid.simulator.inject_fault("/auth/get", "AUTH_LIMIT")
    _, error = transport.forward("/auth/get", b"{}", 5.0)
    assert error is not None
    assert (budget.taken, budget.refused_by_plaid) == (["/auth/get"], ["/auth/get"])
    budget.refuses = True
    with pytest.raises(CallBudgetError):
        transport.forward("/auth/get", b"{}", 5.0)
    assert plaid.simulator.calls["/auth/get"] == 1
