"""How a world invokes the functions: here in the test's own process; `artifact.py` has the other way."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Protocol

from plaid_sync.aws import clients
from plaid_sync.domain.errors import TransientError
from plaid_sync.webhook.ports import LinkOutcome

from tests.integration.in_process import function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tests.integration.harness import World

PATIENCE = 300.0


class Functions(Protocol):
    """Invokes functions.

    Attributes:
        plaid_port: where a world's Plaid has to listen, 0 for anywhere.
        real_time: whether waits take as long as they do in Lambda.
    """

    plaid_port: int
    real_time: bool

    def invoke(
        self, world: World, name: str, event: object, time_left: float | None, changes: Mapping[str, str]
    ) -> Any:
        """Invoke a function, with so many seconds left and some of its environment changed, and return its answer."""

    def restart(self, world: World, name: str, changes: Mapping[str, str]) -> None:
        """Start a function with an empty memory, and with some of its environment changed until it starts again."""


def lambda_context(seconds: float = PATIENCE) -> SimpleNamespace:
    """Return a context with so much time left, by the real clock."""
    end = time.monotonic() + seconds
    return lambda_context_by(lambda: end - time.monotonic())


def lambda_context_by(time_left: Callable[[], float]) -> SimpleNamespace:
    """Return a context whose remaining seconds the caller decides."""
    return SimpleNamespace(
        function_name="function",
        memory_limit_in_mb=1024,
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:function:live",
        aws_request_id="request",
        get_remaining_time_in_millis=lambda: int(time_left() * 1000),
    )


@dataclass(frozen=True, slots=True)
class FunctionClock:
    """A world's clock, as the functions read it; implements `plaid_sync.domain.clock.Clock`.

    Attributes:
        time: returns the current time.
        pause: waits, or only pretends to.
    """

    time: Callable[[], datetime]
    pause: Callable[[float], None]

    def now(self) -> datetime:
        """Return the current time."""
        return self.time()

    def sleep(self, seconds: float) -> None:
        """Wait as the world does."""
        self.pause(seconds)


_WIRING: Final = {
    "audit": ("sampler", "build_sampler"),
    "changes": ("publishers", "build_publishers"),
    "items": ("api", "build_api"),
    "outbound": ("deliverer", "build_deliverer"),
    "sweep": ("sweep", "build_sweep"),
    "sync": ("processor", "build_processor"),
    "webhook": ("receiver", "build_receiver"),
}
"""What each function's module builds at its start, and with what."""
_UNCHANGED: Final[Mapping[str, str]] = MappingProxyType({})


def wired(world: World, name: str, changes: Mapping[str, str] = _UNCHANGED) -> Any:
    """Wire a function to a world, with some of its environment changed, and return its module."""
    module = function(name)
    _act_as(world, name)
    attribute, build = _WIRING[name]
    options: dict[str, Any] = {"clock": world.function_clock}
    if name == "webhook":
        options["links"] = LinkSessionsOf(world)
    if name in {"audit", "sync"}:
        options["spread"] = lambda: 0.0
    setattr(module, attribute, getattr(module, build)({**world.environment(name), **changes}, **options))
    return module


@dataclass(frozen=True, slots=True)
class LinkSessionsOf:
    """The items function of a world, as the webhook function invokes it in Lambda."""

    world: World

    def complete(
        self, link_token: str, public_tokens: tuple[str, ...], correlation_id: str, *, ended: bool
    ) -> LinkOutcome:
        """See `LinkSessions`: the payload and its answer are JSON."""
        session = {"link_token": link_token, "public_tokens": list(public_tokens), "ended": ended}
        event = {"finished_link_session": session, "correlation_id": correlation_id}
        answer = json.loads(json.dumps(self.world.invoke("items", json.loads(json.dumps(event)))))
        _act_as(self.world, "webhook")
        if answer["retry"]:
            raise TransientError(answer["code"])
        return LinkOutcome(answer["code"], answer["client_user_id"])


def _act_as(world: World, name: str) -> None:
    """Let the clients that are made from now on have a function's role, and no more rights than it."""
    clients.session = world.deployment.sessions[name]


@dataclass(slots=True)
class InProcess:
    """The functions' handlers in this process, by the world's clock and without waits between retries.

    Each invocation finds an empty memory, but for the webhook function's, whose memory is what some tests are about.
    """

    plaid_port: int = 0
    real_time: bool = False

    def invoke(
        self, world: World, name: str, event: object, time_left: float | None, changes: Mapping[str, str]
    ) -> Any:
        """Hand an event to a function's handler."""
        if name == "webhook":
            _act_as(world, name)
            module = function(name)
        else:
            module = wired(world, name, changes)
        return module.lambda_handler(event, lambda_context(time_left or PATIENCE))

    def restart(self, world: World, name: str, changes: Mapping[str, str]) -> None:
        """Wire a function to a world."""
        wired(world, name, changes)
