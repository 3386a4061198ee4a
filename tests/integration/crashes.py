"""Strikes a handler at one of its calls to the outside: kills it there, or lets something else happen first."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import urllib3

from tests.integration.in_process import reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Pool = urllib3.HTTPConnectionPool


class KilledError(BaseException):
    """The process died: nothing may catch this."""


@dataclass(slots=True)
class Crash:
    """Where a handler is struck, and what was seen of it.

    Attributes:
        at: which call, counted from 1; 0 for every call.
        target: only calls to this AWS operation or path count.
        before: whether it is struck before the call is sent; otherwise after its effect, with the answer lost.
        calls: the calls seen, by path and AWS target.
        struck: whether it came to that call.
    """

    at: int
    before: bool
    calls: list[str] = field(default_factory=list)
    struck: bool = False
    target: str = ""


@contextmanager
def killed_at(crash: Crash) -> Iterator[None]:
    """Kill the handler that runs in this block; the block ends quietly."""

    def die() -> None:
        raise KilledError

    with _struck(crash, die):
        try:
            yield
        except KilledError:
            return


@contextmanager
def unreachable(
    target: str, *, before: bool, meanwhile: Callable[[], None] = lambda: None, at: int = 0
) -> Iterator[None]:
    """Let calls to an AWS operation or a path time out, before they are sent or after their effect: all, or one."""

    def refuse() -> None:
        meanwhile()
        raise _timeout()

    with _struck(Crash(at, before, target=target), refuse):
        yield


@contextmanager
def delivered_again(target: str, before: str) -> Iterator[list[bool]]:
    """Deliver the first call to one AWS operation a second time, just before the first call to another."""
    done = list[bool]()
    first: list[Callable[[], Any]] = []

    def repeating(send: Callable[[], Any], call: str, _body: Any) -> Any:
        if target in call and not first:
            first.append(send)
        if before in call and first and not done:
            done.append(True)
            first[0]().data  # noqa: B018 - waits for the effect
        return send()

    with intercepted(repeating):
        yield done


@contextmanager
def delivered_late(target: str, at: int = 1) -> Iterator[Callable[[], int]]:
    """Hold back a call to an AWS operation and its repeats; what is yielded delivers it and returns its status."""
    held: list[Callable[[], Any]] = []
    earlier = at - 1
    tokens: set[str] = set()

    def holding(send: Callable[[], Any], call: str, body: Any) -> Any:
        nonlocal earlier
        if target in call and earlier:
            earlier -= 1
        elif target in call:
            token = json.loads(body).get("ClientRequestToken", "")
            if not held or token in tokens:
                tokens.add(token)
                held.append(send)
                raise _timeout()
        return send()

    with intercepted(holding):
        yield lambda: int(held[0]().status)


@contextmanager
def asleep_at(call: int, meanwhile: Callable[[], None], target: str = "") -> Iterator[Crash]:
    """Let the handler that runs in this block sleep before a call, while something else happens; then it goes on."""
    crash = Crash(call, before=True, target=target)
    with _struck(crash, meanwhile):
        yield crash


@contextmanager
def _struck(crash: Crash, action: Callable[[], None]) -> Iterator[None]:
    """Count this thread's HTTP calls, whichever SDK makes them, and act at one of them."""
    thread = threading.get_ident()

    def counting(send: Callable[[], Any], call: str, _body: Any) -> Any:
        if threading.get_ident() != thread or (crash.struck and crash.at) or crash.target not in call:
            return send()
        crash.calls.append(call)
        strikes = crash.at in (0, len(crash.calls))
        crash.struck |= strikes
        if strikes and crash.before:
            action()
        answer = send()
        if strikes and not crash.before:
            answer.data  # noqa: B018 - waits for the effect
            action()
        return answer

    with intercepted(counting):
        yield


@contextmanager
def intercepted(handle: Callable[[Callable[[], Any], str, Any], Any]) -> Iterator[None]:
    """Give each HTTP call to `handle`: how to send it, its path with its AWS target, and its body."""
    reach("crashes.py")
    urlopen = _Pool.urlopen

    def intercepting(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        target = (kwargs.get("headers") or {}).get("X-Amz-Target", b"")
        call = f"{url} {target.decode() if isinstance(target, bytes) else target}"
        return handle(lambda: urlopen(pool, method, url, *args, **kwargs), call, kwargs.get("body"))

    _Pool.urlopen = intercepting  # type: ignore[method-assign, assignment] # the one place that both SDKs call through
    try:
        yield
    finally:
        _Pool.urlopen = urlopen  # type: ignore[method-assign]


def _timeout() -> urllib3.exceptions.ReadTimeoutError:
    return urllib3.exceptions.ReadTimeoutError(_Pool("127.0.0.1"), "/", "struck by a test")
