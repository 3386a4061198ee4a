"""The boundary: every call of a handler to Plaid or AWS, held until the schedule decides what becomes of it.

A handler runs in a thread of its own, an `Actor`, but never at the same time as anything else: it runs up to its next
call, and waits there. So a schedule decides the order of all calls of all workers, and each schedule runs the same way
again. The calls that go through are real, over HTTP.
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

import botocore.endpoint
import urllib3

from tests.component.crashes import KilledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Pool = urllib3.HTTPConnectionPool
_ME: Final = threading.local()


class Strike(StrEnum):
    """What becomes of a call that does not simply go through."""

    CRASH_BEFORE = "the worker dies before the call"
    CRASH_AFTER = "the worker dies after the call took effect"
    UNREACHABLE = "the call is never sent"
    REPLY_LOST = "the call takes effect, its reply is lost"
    THROTTLED = "the call is throttled"
    SERVER_ERROR = "the call is answered with a 500"
    CONFLICT = "the call meets a transaction conflict"
    GARBAGE = "the call is answered by a proxy's error page"
    CURSOR_REJECTED = "Plaid rejects the cursor"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a handler is about to make.

    Attributes:
        operation: AWS's operation (`DynamoDB.GetItem`) or Plaid's path (`/transactions/sync`).
    """

    operation: str
    body: dict[str, Any]

    @property
    def to_plaid(self) -> bool:
        """Whether it goes to Plaid."""
        return self.operation.startswith("/")


@dataclass(frozen=True, slots=True)
class Effect:
    """A call that took effect, and its answer's status."""

    call: Call
    status: int


@dataclass(slots=True)
class Actor:
    """One invocation of a handler.

    Attributes:
        waiting: the call that it is about to make; None before it begins and after it ends.
        effect: what its last step did, if that was a call that took effect.
        answer: what the handler returned; None if it was killed.
        failure: what the handler raised.
    """

    name: str
    run: Callable[[], Any]
    sleep: Callable[[float], None]
    waiting: Call | None = None
    effect: Effect | None = None
    answer: Any = None
    failure: BaseException | None = None
    ended: bool = False
    killed: bool = False
    _strike: Strike | None = None
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def begin(self) -> None:
        """Run up to the first call."""
        threading.Thread(target=self._main, name=self.name, daemon=True).start()
        self._back.acquire()

    def step(self, strike: Strike | None = None) -> None:
        """Let the call that is waiting go through, or strike it, and run up to the next one."""
        assert not self.ended
        self._strike, self.effect = strike, None
        self._go.release()
        self._back.acquire()

    def _main(self) -> None:
        _ME.actor = self
        try:
            self.answer = self.run()
        except KilledError:
            self.killed = True
        except BaseException as error:  # noqa: BLE001 - whatever it is, the schedule has to tell
            self.failure = error
        self.waiting, self.ended = None, True
        self._back.release()

    def at_boundary(self, call: Call, send: Callable[[], Any]) -> Any:
        """Wait for the schedule's decision and carry it out; runs in the actor's thread."""
        if self.killed:
            raise KilledError
        self.waiting = call
        self._back.release()
        self._go.acquire()
        self.waiting = None
        return self._carry_out(call, send)

    def _carry_out(self, call: Call, send: Callable[[], Any]) -> Any:
        strike = self._strike
        if strike is Strike.CRASH_BEFORE:
            self._die()
        if strike is Strike.UNREACHABLE:
            raise urllib3.exceptions.NewConnectionError(SimpleNamespace(), "struck")  # type: ignore[arg-type] # only printed
        refusal = _refusal(call, strike)
        if refusal is not None:
            return refusal
        answer = send()
        self.effect = Effect(call, answer.status)
        if strike in (Strike.CRASH_AFTER, Strike.REPLY_LOST):
            answer.data  # noqa: B018 - waits for the effect
            if strike is Strike.CRASH_AFTER:
                self._die()
            raise urllib3.exceptions.ReadTimeoutError(_Pool("127.0.0.1"), "/", "struck")
        return answer

    def _die(self) -> None:
        self.killed = True
        raise KilledError


@contextmanager
def held_at_the_boundary() -> Iterator[None]:
    """Hold the calls of all actors, whichever SDK makes them, and let the SDK's waits pass in the schedule's time."""
    endpoint: Any = botocore.endpoint  # its stubs leave out what it imports
    urlopen, time = _Pool.urlopen, endpoint.time

    def holding(pool: Any, method: str, url: str, *args: Any, **named: Any) -> Any:
        actor: Actor | None = getattr(_ME, "actor", None)
        if actor is None:
            return urlopen(pool, method, url, *args, **named)
        return actor.at_boundary(_call(url, named), lambda: urlopen(pool, method, url, *args, **named))

    def sleeping(seconds: float) -> None:
        _ME.actor.sleep(seconds)

    _Pool.urlopen = holding  # type: ignore[method-assign, assignment] # the one place that both SDKs call through
    endpoint.time = SimpleNamespace(sleep=sleeping)
    try:
        yield
    finally:
        _Pool.urlopen = urlopen  # type: ignore[method-assign]
        endpoint.time = time


def _call(url: str, named: dict[str, Any]) -> Call:
    target = (named.get("headers") or {}).get("X-Amz-Target", b"")
    text = target.decode() if isinstance(target, bytes) else str(target)
    service, _, operation = text.partition(".")
    body = named.get("body") or b"{}"
    return Call(f"{service.partition('_')[0]}.{operation}" if operation else url, json.loads(body))


def _refusal(call: Call, strike: Strike | None) -> Any:
    """Return the answer of a call that is refused without effect; None where it is not."""
    if strike is Strike.CONFLICT:
        return _conflict(call)
    if strike is Strike.CURSOR_REJECTED and call.to_plaid:
        return _plaid_error(400, "INVALID_FIELD")
    if strike is Strike.GARBAGE:
        return _answer(502, b"<html><body>Bad Gateway</body></html>", "text/html")
    if strike is Strike.THROTTLED:
        return _plaid_error(429, "TRANSACTIONS_SYNC_LIMIT") if call.to_plaid else _aws_error(400, "ThrottlingException")
    if strike is Strike.SERVER_ERROR:
        return _plaid_error(500, "INTERNAL_SERVER_ERROR") if call.to_plaid else _aws_error(500, "InternalServerError")
    return None


def _conflict(call: Call) -> Any:
    if call.to_plaid:
        return _plaid_error(400, "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
    actions = call.body.get("TransactItems")
    if actions is None:
        return _aws_error(400, "TransactionConflictException")
    reasons = [{"Code": "None"} for _ in actions[1:]] + [{"Code": "TransactionConflict", "Message": "struck"}]
    return _aws_error(400, "TransactionCanceledException", CancellationReasons=reasons)


def _plaid_error(status: int, code: str) -> Any:
    body = {"error_type": "API_ERROR", "error_code": code, "error_message": "struck", "request_id": "struck"}
    return _answer(status, json.dumps(body).encode(), "application/json")


def _aws_error(status: int, code: str, **more: object) -> Any:
    body = {"__type": f"com.amazonaws#{code}", "message": "struck", **more}
    return _answer(status, json.dumps(body).encode(), "application/x-amz-json-1.0")


def _answer(status: int, body: bytes, content_type: str) -> Any:
    headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    return urllib3.HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)
