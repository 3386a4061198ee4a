"""A port that fails at one call: before its effect, or after it, as when the response is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from plaid_sync.domain.errors import TransientError

UNREACHABLE: Final = TransientError("unreachable")


class KilledError(BaseException):
    """The worker is killed at this call: no code of it runs any more."""


@dataclass(slots=True)
class Failing:
    """Wraps a fake.

    Attributes:
        port: the fake.
        name: the call that fails.
        error: what it raises; the response of a call that fails `after` its effect is lost.
        times: how often it fails.
        meanwhile: runs at the first call, before its effect: a concurrent request.
    """

    port: Any
    name: str
    error: BaseException | None = UNREACHABLE
    after: bool = False
    times: int = 1
    meanwhile: Any = None

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.port, name)
        return self._strike if name == self.name else attribute

    def _strike(self, *arguments: Any, **named: Any) -> Any:
        self.times -= 1
        call = getattr(self.port, self.name)
        if self.times < 0:
            return call(*arguments, **named)
        if self.meanwhile is not None:
            self.meanwhile()
        result = None if self.error and not self.after else call(*arguments, **named)
        if self.error is not None:
            raise self.error
        return result
