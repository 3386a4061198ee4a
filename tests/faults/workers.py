"""Execution environments: where the handlers of a schedule run, each with its own memory and its own clock's error."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3

from tests.faults.bench import Bench, Time, own_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ENVIRONMENTS: Final = 3
_BUILDERS: Final = {
    "sync": ("processor", "build_processor"),
    "webhook": ("receiver", "build_receiver"),
    "items": ("api", "build_api"),
}


@dataclass(slots=True)
class Environment:
    """One execution environment of a function; it lives until its process dies.

    Attributes:
        ahead: how far its clock is ahead of the right time.
        busy: whether an invocation runs in it.
    """

    function: str
    number: int
    time: Time
    ahead: timedelta = timedelta(0)
    busy: bool = False
    built: bool = False

    def now(self) -> datetime:
        """Return the time by this environment's clock."""
        return self.time() + self.ahead

    @property
    def module(self) -> ModuleType:
        """Its module."""
        return own_module(self.function, self.number)


@dataclass(slots=True)
class Fleet:
    """The execution environments of all functions."""

    bench: Bench
    time: Time
    environments: dict[str, list[Environment]] = field(default_factory=dict)

    def free(self, function: str) -> Environment | None:
        """Return the first environment that is not busy; None where all are."""
        known = self.environments.setdefault(
            function, [Environment(function, number, self.time) for number in range(ENVIRONMENTS)]
        )
        return next((environment for environment in known if not environment.busy), None)

    def handler(self, environment: Environment) -> Callable[[dict[str, Any], Any], Any]:
        """Return an environment's handler; a cold one starts."""
        module = environment.module
        if not environment.built:
            attribute, builder = _BUILDERS[environment.function]
            boto3.DEFAULT_SESSION = self.bench.session(environment.function)
            options: dict[str, Any] = {"clock": environment.now}
            if environment.function != "webhook":
                options["pause"] = self._pause
            if environment.function == "sync":
                options["jitter"] = lambda: 1.0
            setattr(
                module, attribute, getattr(module, builder)(self.bench.environment(environment.function), **options)
            )
            environment.built = True
        handler: Callable[[dict[str, Any], Any], Any] = module.lambda_handler
        return handler

    def _pause(self, seconds: float) -> None:
        self.time.advance(seconds)
