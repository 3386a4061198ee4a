"""What a check of a deployment or of an account found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        fix: what to do; empty for `ok`.
        error: why the check could not be made; None where it was.
    """

    result: Result
    what: str
    fix: str = ""
    error: Exception | None = None

    def document(self) -> dict[str, str | None]:
        """Return it for JSON."""
        return {"result": self.result.value, "what": self.what, "fix": self.fix or None}


def ok(what: str) -> Finding:
    """Return the finding of a check that passed."""
    return Finding(Result.OK, what)


def warning(what: str, fix: str) -> Finding:
    """Return a finding that requires attention, and not at once."""
    return Finding(Result.WARNING, what, fix)


def failed(what: str, fix: str) -> Finding:
    """Return a finding that requires action."""
    return Finding(Result.FAILED, what, fix)
