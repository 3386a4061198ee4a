"""How calls to Plaid go, reported to an observer; and Plaid's errors.

Imports nothing of plaid-python.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.domain.ports import PlaidCall, PlaidCallObserver
from plaid_sync.domain.text import is_error_code, printable_or_empty

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNREACHABLE: Final = "unreachable"
"""The class of a failure in which Plaid did not respond, or not as documented."""


def no_op(call: PlaidCall) -> None:
    """Observe nothing."""


@contextmanager
def observed(observer: PlaidCallObserver) -> Iterator[None]:
    """Report the result of the call within to the observer; its failure is raised again."""
    began = time.perf_counter()

    def duration() -> timedelta:
        return timedelta(seconds=time.perf_counter() - began)

    try:
        yield
    except PlaidError as error:
        observer(PlaidCall(duration(), error.failure_class.value, error.code))
        raise
    except TransientError as error:
        observer(PlaidCall(duration(), UNREACHABLE, error.code))
        raise
    observer(PlaidCall(duration()))


def parse_error(response: object, status: int | None, endpoint: str) -> PlaidError:
    """Return the error of a parsed response; its code is `HTTP_<status>` where it has none.

    A text of another form is not a code: codes are stored, logged and shown, and a proxy may respond in Plaid's place.
    """
    body = response if isinstance(response, dict) else {}
    code = body.get("error_code")
    return PlaidError(
        code if is_error_code(code) else f"HTTP_{status}",
        printable_or_empty(body.get("request_id")),
        error_type=error_type_of(body),
        code_reason=code_reason_of(body),
        status=status,
        endpoint=endpoint,
    )


def error_type_of(error: Mapping[str, Any]) -> str:
    """Return Plaid's `error_type`; empty where there is none that is readable."""
    error_type = error.get("error_type")
    return error_type if is_error_code(error_type) else ""


def code_reason_of(error: Mapping[str, Any]) -> str | None:
    """Return Plaid's `error_code_reason`; None where there is none that is readable."""
    reason = error.get("error_code_reason")
    return reason if is_error_code(reason) else None
