"""The engine calls Plaid by `ApiClient.call_api`: what it sends is what plaid-python's own `PlaidApi` sends."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import boto3
import plaid
import pytest
from plaid.api.plaid_api import PlaidApi
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.items import PlaidItems
from plaid_sync.adapters.plaid.link import PlaidLinkClient
from plaid_sync.adapters.plaid.transactions import PlaidTransactionsClient
from plaid_sync.adapters.plaid.transport import PlaidTransport
from plaid_sync.core.failures import PlaidError
from plaid_sync.core.items import Cursor
from plaid_sync.core.linking.link_requests import LinkTokenRequest
from plaid_sync.core.linking.link_tokens import LinkTokenOrder

from local.plaid import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CREDENTIALS = {"client_id": "client", "secret": "secret"}
ASKED = LinkTokenRequest(
    client_user_id="user",
    item_id=None,
    products=("transactions",),
    country_codes=("US",),
    language="en",
    days_requested=90,
    redirect_uri="https://app.example/back",
    hosted_link=True,
    account_selection=False,
    client_name=None,
)
SELECTING = replace(
    ASKED, products=(), days_requested=None, redirect_uri=None, hosted_link=False, account_selection=True
)
HOOK = "https://app.example/webhooks/plaid"
CALLS: dict[str, Callable[[PlaidTransport], object]] = {
    "/transactions/sync": lambda to: PlaidTransactionsClient(to).sync_page("access", None, 90),
    "/transactions/sync from a cursor": lambda to: PlaidTransactionsClient(to).sync_page("access", Cursor("c"), 90),
    "/item/get": lambda to: PlaidItems(to, "sandbox").health("access"),
    "/item/remove": lambda to: PlaidItems(to, "sandbox").remove("access"),
    "/accounts/get": lambda to: PlaidItems(to, "sandbox").accounts("access"),
    "/transactions/refresh": lambda to: PlaidItems(to, "sandbox").refresh("access"),
    "/item/webhook/update": lambda to: PlaidItems(to, "sandbox").set_webhook("access", HOOK),
    "/link/token/create": lambda to: PlaidLinkClient(to).create_link_token(LinkTokenOrder(ASKED, "user", "App", HOOK)),
    "/link/token/create to select accounts": lambda to: PlaidLinkClient(to).create_link_token(
        LinkTokenOrder(SELECTING, "user", "App", HOOK, "access")
    ),
    "/link/token/get": lambda to: PlaidLinkClient(to).link_results("link"),
    "/item/public_token/exchange": lambda to: PlaidLinkClient(to).exchange("public"),
}


@dataclass(slots=True)
class Received:
    """What a server on localhost was sent; it refuses everything."""

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


@pytest.fixture
def secret(aws: None) -> PlaidSecret:  # noqa: ARG001 - the mock has to be up first
    secrets = boto3.client("secretsmanager")
    secrets.create_secret(Name="plaid", SecretString=json.dumps(CREDENTIALS))
    return PlaidSecret(lambda: secrets, "plaid", utc_now)


@pytest.mark.parametrize("name", CALLS)
def test_plaid_is_sent_what_plaid_python_sends(name: str, secret: PlaidSecret) -> None:
    with refusing_server() as received:
        with pytest.raises(PlaidError, match="HTTP_400"):
            CALLS[name](PlaidTransport(received.base_url, secret))
        path, body = received.requests[0][1], json.loads(received.requests[0][3])
        keys = {"clientId": CREDENTIALS["client_id"], "secret": CREDENTIALS["secret"]}
        api = PlaidApi(plaid.ApiClient(plaid.Configuration(host=received.base_url, api_key=keys)))
        operation: Any = getattr(api, path.strip("/").replace("/", "_"))
        with pytest.raises(plaid.ApiException):
            operation(body)
        ours, theirs = received.requests
    assert path == name.partition(" ")[0]
    assert ours == theirs
