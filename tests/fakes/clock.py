"""Time in the tests: a clock that only moves when it is moved, and deadlines."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from plaid_sync.domain.clock import Deadline

NOON: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
PLENTY: Final = Deadline(lambda: 900.0)
"""The deadline of an invocation that has just begun."""


@dataclass(slots=True)
class FakeClock:
    """Implements `Clock`: waiting moves it.

    Attributes:
        time: the current time.
        pauses: the seconds of each wait.
    """

    time: datetime = NOON
    pauses: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += timedelta(seconds=seconds)

    def deadline(self, seconds: float) -> Deadline:
        end = self.time + timedelta(seconds=seconds)

        def remaining_seconds() -> float:
            return (end - self.time).total_seconds()

        return Deadline(remaining_seconds)
