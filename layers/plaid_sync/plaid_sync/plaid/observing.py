"""How calls to Plaid go, reported to an observer; and Plaid's error codes.

Imports nothing of plaid-python.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.domain.ports import PlaidCall, PlaidCallObserver
from plaid_sync.domain.text import is_error_code

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def error_code(response: object, status: int | None) -> str:
    """Return the `error_code` of a parsed response, or `HTTP_<status>` where it has none.

    A text of another form is not a code: codes are stored, logged and shown, and a proxy may respond in Plaid's place.
    """
    code = response.get("error_code") if isinstance(response, dict) else None
    return code if is_error_code(code) else f"HTTP_{status}"
