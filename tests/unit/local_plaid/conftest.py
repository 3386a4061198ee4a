"""Fixtures for the tests of the local Plaid: a simulated clock, a webhook receiver and an HTTP client."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import pytest
import simplejson
import urllib3

from local.plaid import Behavior, LinkedItem, Phase, PlaidError, PlaidServer, PlaidSimulator, SimulatedClock
from local.plaid.sync import SyncRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Nothing listens on the discard port.
NO_RECEIVER = "http://127.0.0.1:9/webhooks/plaid"
MANUAL = Behavior(initial_seconds=None, historical_seconds=None)


@dataclass
class Received:
    """One received webhook."""

    body: bytes
    token: str

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = simplejson.loads(self.body, use_decimal=True)
        return payload

    @property
    def code(self) -> str:
        return str(self.payload["webhook_code"])


@dataclass
class Receiver:
    """An HTTP endpoint that records webhooks; it returns each of `responses` once, then 200."""

    responses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(Received(body, self.headers["Plaid-Verification"]))
                status, headers = receiver.responses.pop(0) if receiver.responses else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/plaid"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def codes(self) -> list[str]:
        return [webhook.code for webhook in self.received]


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def sim(clock: SimulatedClock) -> Iterator[PlaidSimulator]:
    simulator = PlaidSimulator(seed=5, clock=clock, behavior=MANUAL)
    yield simulator
    simulator.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as endpoint:
        yield endpoint


@pytest.fixture
def linked(sim: PlaidSimulator) -> LinkedItem:
    return sim.link_item(NO_RECEIVER, transactions=120, phase=Phase.HISTORICAL)


class Http:
    """A plain HTTP client of the server and of its control API."""

    def __init__(self, server: PlaidServer) -> None:
        self._pool = urllib3.PoolManager(retries=False, maxsize=8)
        self.base_url = server.base_url
        self.credentials = {"client_id": server.sim.client_id, "secret": server.sim.secret}

    def __call__(self, path: str, **fields: object) -> tuple[int, dict[str, Any]]:
        return self.raw(path, simplejson.dumps({**self.credentials, **fields}, use_decimal=True).encode())

    def raw(
        self, path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> tuple[int, dict[str, Any]]:
        response = self._pool.request(method, self.base_url + path, body=body, headers=headers or {})
        return response.status, simplejson.loads(response.data, use_decimal=True)

    def error(self, path: str, **fields: object) -> str:
        """Return the error code of a call that fails with 400."""
        status, body = self(path, **fields)
        assert status == 400, body
        return str(body["error_code"])

    def control(self, path: str, method: str = "POST", **fields: object) -> Any:
        """Call the control API, which must succeed."""
        status, answer = self.raw(f"/_sim{path}", simplejson.dumps(fields).encode(), method=method)
        assert status == 200, answer
        return answer

    def close(self) -> None:
        self._pool.clear()


@pytest.fixture
def http(sim: PlaidSimulator) -> Iterator[Http]:
    with PlaidServer(sim) as server:
        client = Http(server)
        yield client
        client.close()


def loop(
    sim: PlaidSimulator, item_id: str, cursor: str = "", count: int = 500, account_id: str | None = None
) -> list[dict[str, Any]]:
    """Return all pages of one pagination loop."""
    pages: list[dict[str, Any]] = []
    while not pages or pages[-1]["has_more"]:
        pages.append(sim.sync(sim.item(item_id), SyncRequest(cursor, count, account_id)))
        cursor = pages[-1]["next_cursor"]
    return pages


def fold(rows: dict[str, Any], pages: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply pages as a client must: added, modified, then removed."""
    rows = dict(rows)
    for page in pages:
        for row in [*page["added"], *page["modified"]]:
            rows[row["transaction_id"]] = row
        for gone in page["removed"]:
            rows.pop(gone["transaction_id"], None)
    return rows


def ids(pages: list[dict[str, Any]], kind: str) -> list[str]:
    """Return the transaction ids in one array of all pages."""
    return [row["transaction_id"] for page in pages for row in page[kind]]


def error_code(call: Callable[[], object]) -> str:
    """Return the code of the Plaid error that a call raises."""
    with pytest.raises(PlaidError) as caught:
        call()
    return caught.value.code


def payloads(sim: PlaidSimulator) -> list[dict[str, Any]]:
    return [delivery.payload for delivery in sim.webhooks()]
