"""What a case is: a question to a DynamoDB, AWS's own answer to it, and whether the engine lives by that answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from botocore.exceptions import ClientError
from plaid_sync.core.failures import RetryableError, SupersededError

from tests.conformance.bench import Bench

Question: TypeAlias = Callable[[Bench], str]


@dataclass(frozen=True, slots=True)
class Case:
    """One question.

    Attributes:
        name: the question in words.
        group: what it is about.
        ask: puts the question; the answer has no ids, times or texts of messages in it.
        documented: AWS's answer, as its documentation has it; None where it does not say.
        relied_on: whether the engine is only right where this is the answer.
        slow: whether it moves megabytes.
    """

    name: str
    group: str
    ask: Question
    documented: str | None
    relied_on: bool
    slow: bool

    @property
    def quick(self) -> bool:
        """Whether it is in the subset that every test run can afford."""
        return self.relied_on and not self.slow


def relies_on(documented: str, *, slow: bool = False) -> Callable[[Question], Case]:
    """Make a case of a function whose answer the engine relies on."""
    return lambda ask: _case(ask, documented, relied_on=True, slow=slow)


def compares(documented: str | None, *, slow: bool = False) -> Callable[[Question], Case]:
    """Make a case of a function whose answer is good to know, and on which nothing depends."""
    return lambda ask: _case(ask, documented, relied_on=False, slow=slow)


def _case(ask: Question, documented: str | None, *, relied_on: bool, slow: bool) -> Case:
    group = ask.__module__.rpartition("_")[2]
    return Case(ask.__name__.replace("_", " "), group, ask, documented, relied_on, slow)


def outcome(call: Callable[[], Any]) -> str:
    """Return `ok`, or how the call was refused: AWS's error code, or the adapter's word for it."""
    try:
        call()
    except ClientError as error:
        return error_code(error)
    except SupersededError:
        return "superseded"
    except RetryableError as error:
        return f"retry: {error.code}"
    return "ok"


def error_code(error: ClientError) -> str:
    """Return AWS's error code; for a cancelled transaction with the codes of its actions."""
    code = error.response["Error"]["Code"]
    reasons: Any = error.response.get("CancellationReasons")
    if not reasons:
        return code
    return f"{code} [{', '.join(reason.get('Code', 'absent') for reason in reasons)}]"


def refused(call: Callable[[], Any]) -> ClientError:
    """Return the error of a call that must fail."""
    try:
        call()
    except ClientError as error:
        return error
    raise AssertionError("it was not refused")
