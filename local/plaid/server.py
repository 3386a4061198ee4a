"""The HTTP server: Plaid's API, and the control surface under /_sim."""

from __future__ import annotations

import contextlib
import hmac
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from local.plaid import control, fields, schema, wire
from local.plaid.calls import Call
from local.plaid.endpoints import ENDPOINTS, NEEDS_NO_ITEM
from local.plaid.errors import PlaidError

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
    """The WSGI application."""

    def __init__(self, sim: PlaidSimulator) -> None:
        self._sim = sim

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        if request.path.startswith(control.PREFIX):
            response = control.respond(self._sim, request)
        else:
            response = self._respond(request)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        self._sim.count_call(request.path)
        request_id = self._sim.request_id()
        fault: Fault | None = None
        try:
            body = self._read(request)
            fault = self._fault(request.path, body)
            if fault is not None:
                self._strike(fault, request)
            answer = self._call(request, body)
        except PlaidError as error:
            response = Response(wire.encode(error.body(request_id)), error.status, content_type=_JSON)
        except _RawAnswerError as raw:
            response = raw.response
        else:
            body_sent = wire.encode_response({**answer, "request_id": request_id})
            response = Response(body_sent, 200, content_type=_JSON)
        if fault is not None:
            if fault.drop == "after":
                _cut(request)
            if fault.retry_after is not None:
                response.headers["Retry-After"] = fault.retry_after
        return response

    def _read(self, request: Request) -> JsonObject:
        raw = request.get_data()  # always, or the connection could not be used again
        if request.path not in ENDPOINTS or request.method != "POST":
            raise PlaidError("NOT_FOUND")
        try:
            body = wire.decode(raw)
        except ValueError as error:
            raise PlaidError("INVALID_BODY") from error
        if not isinstance(body, dict):
            raise PlaidError("INVALID_BODY")
        return body

    def _fault(self, path: str, body: JsonObject) -> Fault | None:
        with self._sim.lock:
            item_id = None
            token = body.get("access_token")
            if isinstance(token, str):
                with contextlib.suppress(PlaidError):
                    item_id = self._sim.item_by_token(token).item_id
            return self._sim.faults.take(path, item_id)

    def _strike(self, fault: Fault, request: Request) -> None:
        if fault.delay:
            time.sleep(fault.delay)
        if fault.drop == "before":
            _cut(request)
            raise _RawAnswerError(Response("", 500))
        if fault.error_code is not None:
            raise PlaidError(fault.error_code, status=fault.status, endpoint=request.path.lstrip("/"))
        if fault.status is not None:
            text = fault.body if fault.body is not None else "<html><body>Bad Gateway</body></html>"
            raise _RawAnswerError(Response(text, fault.status, content_type="text/html"))

    def _call(self, request: Request, body: JsonObject) -> JsonObject:
        sim = self._sim
        with sim.lock:
            schema.check(request.path, body)
            self._authenticate(request, body)
            item = self._item(request.path, body)
            if item is not None:
                sim.limits.check(request.path, item.item_id, sim.behaviour, sim.clock())
            return ENDPOINTS[request.path](Call(sim, body, item))

    def _authenticate(self, request: Request, body: JsonObject) -> None:
        given = {
            name: body.get(name) or request.headers.get(f"PLAID-{name.replace('_', '-')}")
            for name in ("client_id", "secret")
        }
        fields.require(given, "client_id", "secret")
        expected = (self._sim.client_id, self._sim.secret)
        pairs = zip((str(value) for value in given.values()), expected, strict=True)
        if not all(hmac.compare_digest(ours.encode(), theirs.encode()) for ours, theirs in pairs):
            raise PlaidError("INVALID_API_KEYS")

    def _item(self, path: str, body: JsonObject) -> Item | None:
        token = fields.optional_text(body, "access_token")
        if token is not None:
            return self._sim.item_by_token(token)
        if path not in NEEDS_NO_ITEM:
            raise PlaidError("MISSING_FIELDS", fields="access_token")
        return None


class _RawAnswerError(Exception):
    """Answers with something that is not Plaid's JSON."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def _cut(request: Request) -> None:
    connection: socket.socket | None = request.environ.get("werkzeug.socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open, as Plaid does

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent: bodies and paths are the tests' business."""


class _Server(ThreadedWSGIServer):
    """Remembers its connections, so that stopping leaves none open."""

    daemon_threads = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - werkzeug's own signature
        self._connections: set[socket.socket] = set()
        super().__init__(*args, **kwargs)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Remember a connection."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - socketserver's signature
        """Forget a connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Cut every connection that is still open."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class PlaidServer:
    """A simulator on a port of localhost, for as long as the `with` block lasts.

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
        """Serve, and start the simulator's background work."""
        self._thread.start()
        if self._background:
            self.sim.start()
        return self

    def replace(self, sim: PlaidSimulator) -> None:
        """Serve another simulator on the same port; nobody may be calling, and nothing runs in the background."""
        self.sim = sim
        self._server.app = PlaidApp(sim)

    def stop(self) -> None:
        """Stop serving and the background work."""
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
