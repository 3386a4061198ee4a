"""Strikes a handler at one of its calls to the outside: kills it there, or lets something else happen first."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import urllib3

from tests.component.inside import reach

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
def unreachable(target: str, *, before: bool, meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let every call to an AWS operation or a path time out, before it is sent or after its effect."""

    def refuse() -> None:
        meanwhile()
        raise urllib3.exceptions.ReadTimeoutError(_Pool("127.0.0.1"), "/", "struck by a test")

    with _struck(Crash(0, before, target=target), refuse):
        yield


@contextmanager
def answers_lost_once(target: str) -> Iterator[None]:
    """Let the answer to the first call to an AWS operation be lost; the SDK sends it again."""

    def lose() -> None:
        raise urllib3.exceptions.ReadTimeoutError(_Pool("127.0.0.1"), "/", "struck by a test")

    with _struck(Crash(1, before=False, target=target), lose):
        yield


@contextmanager
def delivered_again(target: str, before: str) -> Iterator[list[bool]]:
    """Deliver the first call to one AWS operation a second time, just before the first call to another."""
    reach("crashes.py")
    urlopen, done = _Pool.urlopen, list[bool]()
    first: list[Any] = []

    def repeating(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        operation = _target(kwargs.get("headers") or {})
        if target in operation and not first:
            first.append((pool, method, url, args, kwargs))
        if before in operation and first and not done:
            done.append(True)
            (late, late_method, late_url, late_args, late_kwargs) = first[0]
            urlopen(late, late_method, late_url, *late_args, **late_kwargs).data  # noqa: B018 - waits for the effect
        return urlopen(pool, method, url, *args, **kwargs)

    _Pool.urlopen = repeating  # type: ignore[method-assign, assignment] # as in _struck
    try:
        yield done
    finally:
        _Pool.urlopen = urlopen  # type: ignore[method-assign]


@contextmanager
def delivered_late(target: str) -> Iterator[Callable[[], int]]:
    """Hold back a call to an AWS operation and its repeats; what is yielded delivers it, and tells the status."""
    reach("crashes.py")
    urlopen, held = _Pool.urlopen, list[Any]()
    tokens = set[str]()

    def deliver() -> int:
        pool, method, url, args, kwargs = held[0]
        return int(urlopen(pool, method, url, *args, **kwargs).status)

    def holding(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if target in _target(kwargs.get("headers") or {}):
            token = json.loads(kwargs["body"]).get("ClientRequestToken", "")
            if not held or token in tokens:
                tokens.add(token)
                held.append((pool, method, url, args, kwargs))
                raise urllib3.exceptions.ReadTimeoutError(_Pool("127.0.0.1"), "/", "struck by a test")
        return urlopen(pool, method, url, *args, **kwargs)

    _Pool.urlopen = holding  # type: ignore[method-assign, assignment] # as in _struck
    try:
        yield deliver
    finally:
        _Pool.urlopen = urlopen  # type: ignore[method-assign]


@contextmanager
def asleep_at(call: int, meanwhile: Callable[[], None], target: str = "") -> Iterator[Crash]:
    """Let the handler that runs in this block sleep before a call, while something else happens; then it goes on."""
    crash = Crash(call, before=True, target=target)
    with _struck(crash, meanwhile):
        yield crash


@contextmanager
def _struck(crash: Crash, action: Callable[[], None]) -> Iterator[None]:
    """Count this thread's HTTP calls, whichever SDK makes them, and act at one of them."""
    reach("crashes.py")
    thread, urlopen = threading.get_ident(), _Pool.urlopen

    def counting(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        call = f"{url} {_target(kwargs.get('headers') or {})}"
        if threading.get_ident() != thread or (crash.struck and crash.at) or crash.target not in call:
            return urlopen(pool, method, url, *args, **kwargs)
        crash.calls.append(call)
        strikes = crash.at in (0, len(crash.calls))
        crash.struck |= strikes
        if strikes and crash.before:
            action()
        answer = urlopen(pool, method, url, *args, **kwargs)
        if strikes and not crash.before:
            answer.data  # noqa: B018 - waits for the effect
            action()
        return answer

    _Pool.urlopen = counting  # type: ignore[method-assign, assignment] # the one place that both SDKs call through
    try:
        yield
    finally:
        _Pool.urlopen = urlopen  # type: ignore[method-assign]


def _target(headers: Any) -> str:
    value = headers.get("X-Amz-Target", b"")
    return value.decode() if isinstance(value, bytes) else str(value)
