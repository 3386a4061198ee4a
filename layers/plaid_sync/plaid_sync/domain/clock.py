"""Time: the clock, the deadline of an invocation, and timestamps as the tables store them."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.text import is_printable_ascii

if TYPE_CHECKING:
    from collections.abc import Callable

OUT_OF_TIME: Final = "out_of_time"
MAX_CLOCK_SKEW: Final = timedelta(seconds=120)
"""Two clocks (SQS's and a worker's, or two workers'), each trusted to a minute."""
RANDOM: Final = random.SystemRandom()
"""The kernel's random numbers: environments that Lambda restores from one snapshot share the state of any other source
(https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html)."""


class Clock(Protocol):
    """The current time, and waiting."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock; implements `Clock`."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return utc_now()

    def sleep(self, seconds: float) -> None:
        """Block the process for so many seconds."""
        time.sleep(seconds)


def utc_now() -> datetime:
    """Return the machine's current time, aware, in UTC."""
    return datetime.now(UTC)


def jitter() -> float:
    """Return a random factor around 1, which spreads the retries of workers."""
    return RANDOM.uniform(0.8, 1.2)


@dataclass(frozen=True, slots=True)
class Deadline:
    """When Lambda ends the invocation.

    Attributes:
        remaining_seconds: returns the seconds left until then.
    """

    remaining_seconds: Callable[[], float]

    def allows(self, seconds: float) -> bool:
        """Return whether a step that takes so many seconds at worst still fits."""
        return self.remaining_seconds() >= seconds

    def require(self, seconds: float) -> None:
        """Stop while there is still time to stop in order.

        Raises:
            TransientError: the worker would probably be killed in the middle of a step of so many seconds.
        """
        if not self.allows(seconds):
            raise TransientError(OUT_OF_TIME)


def format_timestamp(moment: datetime) -> str:
    """Return a time as all tables store it: ISO 8601, UTC, cut to milliseconds, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_optional_timestamp(moment: datetime | None) -> str | None:
    """Return a time as all tables store it, if there is one."""
    return None if moment is None else format_timestamp(moment)


def read_timestamp(text: str) -> datetime:
    """Return the time that `format_timestamp` formatted.

    Raises:
        ValueError: the text is not ISO 8601.
    """
    return datetime.fromisoformat(text)


def parse_timestamp(value: object) -> datetime | None:
    """Return a foreign time in ISO 8601 (without an offset: UTC) in UTC, or None for any other value."""
    if not is_printable_ascii(value):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
