"""What several parts of the core need from the outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.triggers import SyncTrigger


class Clock(Protocol):
    """The time now, aware, in UTC."""

    def __call__(self) -> datetime:
        """Return the time."""
        ...


@dataclass(frozen=True, slots=True)
class PlaidCall:
    """How a call to Plaid went.

    Attributes:
        took: from the request to the answer, or to the end of waiting for one.
        failure: the class of Plaid's refusal, or `unreachable`; None where it succeeded.
        code: Plaid's error code, or our reason.
    """

    took: timedelta
    failure: str | None = None
    code: str = ""


class PlaidCalls(Protocol):
    """Whoever wants to know how calls to Plaid go."""

    def __call__(self, call: PlaidCall) -> None:
        """Take note of a call."""
        ...


class TokenDecryptor(Protocol):
    """Opens access tokens."""

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:
        """Return the access token of the Item.

        Raises:
            RetryableError: the key cannot be used now.
        """
        ...


class TokenEncryptor(Protocol):
    """Seals access tokens."""

    def encrypt(self, item_id: ItemId, access_token: str) -> bytes:
        """Return the ciphertext, bound to the Item.

        Raises:
            RetryableError: the key cannot be used now.
        """
        ...


class SyncQueue(Protocol):
    """The one queue through which every sync is triggered."""

    def send(self, trigger: SyncTrigger, deduplication_id: str) -> None:
        """Enqueue; returns only after the queue has accepted the message.

        Raises:
            RetryableError: it has not.
        """
        ...
