"""How calls to Plaid go, told to whoever wants to know."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.ports.common import PlaidCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plaid_sync.ports.common import PlaidCalls

UNREACHABLE: Final = "unreachable"
"""The class of a failure in which Plaid has not answered, or not as documented."""


def unobserved(call: PlaidCall) -> None:
    """Tell nobody."""


@contextmanager
def observed(tell: PlaidCalls) -> Iterator[None]:
    """Tell how the call within went; its failure goes on."""
    began = time.perf_counter()

    def took() -> timedelta:
        return timedelta(seconds=time.perf_counter() - began)

    try:
        yield
    except PlaidError as error:
        tell(PlaidCall(took(), error.failure_class.value, error.code))
        raise
    except RetryableError as error:
        tell(PlaidCall(took(), UNREACHABLE, error.code))
        raise
    tell(PlaidCall(took()))
