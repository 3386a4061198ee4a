"""The HTTP server: Plaid's API, and the control API under /_sim."""

from __future__ import annotations

import contextlib
import hmac
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from local.plaid import control, wire
from local.plaid import request_fields as fields
from local.plaid.endpoints import ENDPOINTS
from local.plaid.errors import PlaidError
from local.plaid.request_fields import Call

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from local.plaid.faults import Fault
    from local.plaid.items import Item
    from local.plaid.simulator import PlaidSimulator
    from local.plaid.wire import JsonObject

_JSON = "application/json; charset=utf-8"


class PlaidApp:
    def __init__(self, sim: PlaidSimulator) -> None:
        self._sim = sim

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        if request.path.startswith(control.PREFIX):
            response = control.respond(self._sim, request)
        else:
            response = self._respond(request)
            self._sim.observer(request.path, request.get_data(), response.status_code, response.get_data())
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        self._sim.count_call(request.path)
        request_id = self._sim.request_id()
        fault: Fault | None = None
        try:
            body = self._read(request)
            fault = self._take_fault(request.path, body)
            if fault is not None:
                _apply_fault(fault, request)
            answer = self._call(request, body)
        except PlaidError as error:
            response = Response(wire.encode(error.body(request_id)), error.status, content_type=_JSON)
        except _RawResponseError as raw:
            response = raw.response
        else:
            response = Response(wire.encode_response({**answer, "request_id": request_id}), 200, content_type=_JSON)
        if fault is not None:
            if fault.drop == "after":
                _drop_connection(request)
            if fault.retry_after is not None:
                response.headers["Retry-After"] = fault.retry_after
        return response

    def _read(self, request: Request) -> JsonObject:
        raw = request.get_data()  # always, or the connection could not be reused
        if request.path not in ENDPOINTS or request.method != "POST":
            raise PlaidError("NOT_FOUND")
        try:
            body = wire.decode(raw)
        except ValueError as error:
            raise PlaidError("INVALID_BODY") from error
        if not isinstance(body, dict):
            raise PlaidError("INVALID_BODY")
        return body

    def _take_fault(self, path: str, body: JsonObject) -> Fault | None:
        with self._sim.lock:
            item_id = None
            token = body.get("access_token")
            if isinstance(token, str):
                with contextlib.suppress(PlaidError):
                    item_id = self._sim.item_by_token(token).item_id
            return self._sim.faults.take(path, item_id)

    def _call(self, request: Request, body: JsonObject) -> JsonObject:
        sim = self._sim
        endpoint = ENDPOINTS[request.path]
        with sim.lock:
            endpoint.check_fields(body)
            self._authenticate(request, body)
            item = self._item(body, required=endpoint.needs_item)
            sim.rate_limiter.check(request.path, item.item_id if item else "", sim.behavior, sim.clock())
            return endpoint.respond(Call(sim, body, item))

    def _authenticate(self, request: Request, body: JsonObject) -> None:
        given = {
            name: body.get(name) or request.headers.get(f"PLAID-{name.replace('_', '-')}")
            for name in ("client_id", "secret")
        }
        fields.require(given, "client_id", "secret")
        valid = (self._sim.client_id, self._sim.secret)
        pairs = zip((str(value) for value in given.values()), valid, strict=True)
        if not all(hmac.compare_digest(actual.encode(), expected.encode()) for actual, expected in pairs):
            raise PlaidError("INVALID_API_KEYS")

    def _item(self, body: JsonObject, *, required: bool) -> Item | None:
        token = fields.optional_text(body, "access_token")
        if token is not None:
            return self._sim.item_by_token(token)
        if required:
            raise PlaidError("MISSING_FIELDS", fields="access_token")
        return None


class _RawResponseError(Exception):
    """Carries a response that is not Plaid's JSON."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _apply_fault(fault: Fault, request: Request) -> None:
    """Apply the part of a fault that comes before the call takes effect."""
    if fault.delay:
        time.sleep(fault.delay)
    if fault.drop == "before":
        _drop_connection(request)
        raise _RawResponseError(Response("", 500))
    if fault.error_code is not None:
        raise PlaidError(fault.error_code, status=fault.status, reason=fault.reason, endpoint=request.path.lstrip("/"))
    if fault.status is not None:
        text = fault.body if fault.body is not None else "<html><body>Bad Gateway</body></html>"
        raise _RawResponseError(Response(text, fault.status, content_type="text/html"))


def _drop_connection(request: Request) -> None:
    connection: socket.socket | None = request.environ.get("werkzeug.socket")
    if connection is not None:
        _shut_down(connection)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive, as Plaid has

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


class _Server(ThreadedWSGIServer):
    """Tracks its connections and closes them when it stops."""

    daemon_threads = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - werkzeug's own signature
        self._connections: set[socket.socket] = set()
        super().__init__(*args, **kwargs)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - socketserver's signature
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            _shut_down(connection)


class PlaidServer:
    """Serves a simulator on a local port within a `with` block.

    Without `background`, webhooks and phases wait for the simulator's `run_due`.
    """

    def __init__(self, sim: PlaidSimulator, port: int = 0, host: str = "127.0.0.1", *, background: bool = True) -> None:
        self.sim = sim
        self._background = background
        self._server = _Server(host, port, PlaidApp(sim), handler=_Handler)
        self.base_url = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="plaid-server", daemon=True
        )

    def start(self) -> Self:
        self._thread.start()
        if self._background:
            self.sim.start()
        return self

    def replace(self, sim: PlaidSimulator) -> None:
        """Serve another simulator on the same port, without its background work. No call may be in progress."""
        self.sim = sim
        self._server.app = PlaidApp(sim)

    def stop(self) -> None:
        self.sim.stop()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
