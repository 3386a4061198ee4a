"""What a target has seen, and what it must not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter

RUNS = "runs"


class FindingError(AssertionError):
    """The code under test did what it must never do.

    Attributes:
        shown: the input, for people.
    """

    def __init__(self, what: str, shown: object) -> None:
        super().__init__(what)
        self.shown = repr(shown)


class Target(Protocol):
    """Something that hostile inputs are given to.

    Attributes:
        tally: how many inputs there were (`runs`), and what became of them.
    """

    tally: Counter[str]

    def run(self, case: bytes) -> None:
        """Make the inputs of a case, give them to the code under test and judge what it does.

        Raises:
            FindingError: it did what it must never do.
        """
        ...

    def seeds(self) -> list[bytes]:
        """Return cases to begin with, one for each kind of input."""
        ...


def require(*, holds: bool, what: str, shown: object) -> None:
    """Raise a `FindingError` unless it holds."""
    if not holds:
        raise FindingError(what, shown)
