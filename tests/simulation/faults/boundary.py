"""Fault injection at the boundary: each call of a handler to Plaid or AWS waits until the schedule decides its result.

A handler runs in a thread of its own, an `Actor`, but never at the same time as anything else: it runs up to its next
call, and waits there. So a schedule decides the order of all calls of all workers, and each schedule is deterministic.
The calls that are sent are real, over HTTP.
"""

from __future__ import annotations

import io
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import botocore.endpoint
import urllib3
from plaid_sync.domain import exact_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAID: Final = "Plaid"
_Pool = urllib3.HTTPConnectionPool
_ME: Final = threading.local()
_MESSAGE: Final = "injected"


class Fault(StrEnum):
    """What is injected into a call."""

    CRASH_BEFORE = "crash before the call"
    CRASH_AFTER = "crash after the call"
    NOT_SENT = "call not sent"
    RESPONSE_LOST = "response lost"
    THROTTLED = "throttled"
    SERVER_ERROR = "server error"
    CONFLICT = "transaction conflict"
    PROXY_ERROR = "error page of a proxy"
    CURSOR_REJECTED = "cursor rejected"
    CURSOR_MISSING = "cursor missing"
    CURSOR_REPEATED = "cursor repeated"
    UNKNOWN_ERROR = "unknown error"
    NOT_READY = "not ready"
    STATUS_UNKNOWN = "status unknown"
    STATUS_MISSING = "status missing"


class KilledError(BaseException):
    pass


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a handler is about to make.

    Attributes:
        operation: AWS's operation (`DynamoDB.GetItem`) or Plaid's path (`/transactions/sync`).
    """

    operation: str
    body: dict[str, Any]

    @property
    def service(self) -> str:
        return PLAID if self.operation.startswith("/") else self.operation.partition(".")[0]

    @property
    def to_plaid(self) -> bool:
        return self.service == PLAID

    @property
    def is_page(self) -> bool:
        """Whether it requests a page of an Item's transactions."""
        return self.operation == "/transactions/sync"


@dataclass(slots=True, kw_only=True)
class Actor:
    """One invocation of a handler.

    Attributes:
        waiting: the call that it is about to make; None before it begins and after it ends.
        latest: the call that it came to last.
        succeeded: the call of its last step, if it was sent and its response, even a lost one, had the status 200.
        response: what the handler returned; None if it was killed.
        failure: what the handler raised.
    """

    run: Callable[[], Any]
    sleep: Callable[[float], None]
    waiting: Call | None = None
    latest: Call | None = None
    succeeded: Call | None = None
    response: Any = None
    failure: BaseException | None = None
    ended: bool = False
    killed: bool = False
    _fault: Fault | None = None
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def begin(self) -> None:
        threading.Thread(target=self._main, daemon=True).start()
        self._back.acquire()

    def proceed(self, fault: Fault | None = None) -> None:
        """Make the call that is waiting, or inject a fault into it, and run up to the next one."""
        assert not self.ended
        self._fault, self.succeeded = fault, None
        self._go.release()
        self._back.acquire()

    def _main(self) -> None:
        _ME.actor = self
        try:
            self.response = self.run()
        except KilledError:
            self.killed = True
        except BaseException as error:  # noqa: BLE001 - the schedule reports it
            self.failure = error
        self.waiting, self.ended = None, True
        self._back.release()

    def at_boundary(self, call: Call, send: Callable[[], Any]) -> Any:
        """Wait for the schedule's decision and carry it out; runs in the actor's thread."""
        if self.killed:
            raise KilledError
        self.waiting = self.latest = call
        self._back.release()
        self._go.acquire()
        self.waiting = None
        return self._carry_out(call, send)

    def _carry_out(self, call: Call, send: Callable[[], Any]) -> Any:
        fault = self._fault
        if fault is Fault.CRASH_BEFORE:
            self._die()
        if fault is Fault.NOT_SENT:
            raise urllib3.exceptions.NewConnectionError(SimpleNamespace(), _MESSAGE)  # type: ignore[arg-type] # only printed
        error = _error_response(call, fault)
        if error is not None:
            return error
        response = send()
        self.succeeded = call if response.status == 200 else None
        if fault in (Fault.CRASH_AFTER, Fault.RESPONSE_LOST):
            response.data  # noqa: B018 - waits for the effect
            if fault is Fault.CRASH_AFTER:
                self._die()
            raise urllib3.exceptions.ReadTimeoutError(_Pool("127.0.0.1"), "/", _MESSAGE)
        return _misleading_page(call, response, fault) if call.is_page else response

    def _die(self) -> None:
        self.killed = True
        raise KilledError


@contextmanager
def unobserved() -> Iterator[None]:
    """Let the calls in this block, in an actor's thread, be another one's."""
    actor, _ME.actor = getattr(_ME, "actor", None), None
    try:
        yield
    finally:
        _ME.actor = actor


@contextmanager
def intercepted_calls() -> Iterator[None]:
    """Intercept the calls of all actors, whichever SDK makes them, and let the SDK's waits pass in simulated time."""
    endpoint: Any = botocore.endpoint  # its stubs omit what it imports
    urlopen = _Pool.urlopen

    def intercept(pool: Any, method: str, url: str, *args: Any, **named: Any) -> Any:
        actor: Actor | None = getattr(_ME, "actor", None)
        if actor is None:
            return urlopen(pool, method, url, *args, **named)
        return actor.at_boundary(_call(url, named), lambda: urlopen(pool, method, url, *args, **named))

    def sleep(seconds: float) -> None:
        _ME.actor.sleep(seconds)

    # The one place that both SDKs call through.
    with patch.object(_Pool, "urlopen", intercept), patch.object(endpoint, "time", SimpleNamespace(sleep=sleep)):
        yield


def _call(url: str, named: dict[str, Any]) -> Call:
    target = (named.get("headers") or {}).get("X-Amz-Target", b"")
    text = target.decode() if isinstance(target, bytes) else str(target)
    service, _, operation = text.partition(".")
    body = named.get("body") or b"{}"
    return Call(f"{service.partition('_')[0]}.{operation}" if operation else url, json.loads(body))


def _error_response(call: Call, fault: Fault | None) -> Any:
    """Return the response of a call that has no effect; None where the call is sent."""
    if fault is Fault.CONFLICT:
        return _conflict(call)
    if call.to_plaid and fault in _REFUSALS:
        return _plaid_error(400, _REFUSALS[fault])
    if fault is Fault.PROXY_ERROR:
        return _response(502, b"<html><body>Bad Gateway</body></html>", "text/html")
    if fault is Fault.THROTTLED:
        return _plaid_error(429, "TRANSACTIONS_SYNC_LIMIT") if call.to_plaid else _aws_error(400, "ThrottlingException")
    if fault is Fault.SERVER_ERROR:
        return _plaid_error(500, "INTERNAL_SERVER_ERROR") if call.to_plaid else _aws_error(500, "InternalServerError")
    return None


_REFUSALS: Final = {Fault.CURSOR_REJECTED: "INVALID_FIELD", Fault.UNKNOWN_ERROR: "SOMETHING_NEW"}


def _misleading_page(call: Call, response: Any, fault: Fault | None) -> Any:
    """Return another page, or the same with another status of the history; Plaid has served the call."""
    if response.status != 200:
        return response
    page = exact_json.loads(response.data)
    nothing = {"added": [], "modified": [], "removed": [], "has_more": False}
    if fault is Fault.CURSOR_REPEATED:
        page |= nothing | {"next_cursor": call.body.get("cursor") or "", "has_more": True}
    elif fault is Fault.CURSOR_MISSING:
        page |= nothing | {"next_cursor": ""}
    elif fault is Fault.NOT_READY:
        page |= nothing | {"next_cursor": "", "transactions_update_status": "NOT_READY"}
    elif fault is Fault.STATUS_UNKNOWN:
        page["transactions_update_status"] = "TRANSACTIONS_UPDATE_STATUS_UNKNOWN"
    elif fault is Fault.STATUS_MISSING:
        del page["transactions_update_status"]
    return _response(200, exact_json.dumps(page).encode(), "application/json")


def _conflict(call: Call) -> Any:
    if call.to_plaid:
        return _plaid_error(400, "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
    actions = call.body.get("TransactItems")
    if actions is None:
        return _aws_error(400, "TransactionConflictException")
    reasons = [{"Code": "None"} for _ in actions[1:]] + [{"Code": "TransactionConflict", "Message": _MESSAGE}]
    return _aws_error(400, "TransactionCanceledException", CancellationReasons=reasons)


def _plaid_error(status: int, code: str) -> Any:
    body = {"error_type": "API_ERROR", "error_code": code, "error_message": _MESSAGE, "request_id": _MESSAGE}
    return _response(status, json.dumps(body).encode(), "application/json")


def _aws_error(status: int, code: str, **more: object) -> Any:
    body = {"__type": f"com.amazonaws#{code}", "message": _MESSAGE, **more}
    return _response(status, json.dumps(body).encode(), "application/x-amz-json-1.0")


def _response(status: int, body: bytes, content_type: str) -> Any:
    headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    return urllib3.HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)
