"""Ports that several use cases share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import timedelta

    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import ItemId, RemovalReason
    from plaid_sync.domain.messages import SyncMessage


@dataclass(frozen=True, slots=True)
class PlaidCall:
    """The result of a call to Plaid, for metrics.

    Attributes:
        duration: from the request to the response, or to the timeout.
        failure: the failure class of Plaid's refusal, or `unreachable`; None where it succeeded.
        code: Plaid's error code, or our reason.
    """

    duration: timedelta
    failure: str | None = None
    code: str = ""


class PlaidCallObserver(Protocol):
    """Observes calls to Plaid."""

    def __call__(self, call: PlaidCall) -> None:
        """Record a call."""
        ...


class PlaidCallBudget(Protocol):
    """The calls that Plaid allows (`domain.budget`)."""

    def take(self, endpoint: str) -> None:
        """Take a call before it is made.

        Raises:
            CallBudgetError: it must not be made now.
        """
        ...

    def throttled(self, endpoint: str) -> None:
        """Record that Plaid refused a call because of its limit; does not raise."""
        ...


class TokenDecryptor(Protocol):
    """Decrypts access tokens."""

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:
        """Return the access token of the Item.

        Raises:
            TransientError: the key cannot be used now.
        """
        ...


class TokenEncryptor(Protocol):
    """Encrypts access tokens."""

    def encrypt(self, item_id: ItemId, access_token: str) -> bytes:
        """Return the ciphertext, bound to the Item.

        Raises:
            TransientError: the key cannot be used now.
        """
        ...


class SyncQueue(Protocol):
    """The queue through which every sync is requested."""

    def send(self, message: SyncMessage, deduplication_id: str | None = None) -> None:
        """Send a message; returns only after the queue accepted it.

        Args:
            message: says that the Item may have changed.
            deduplication_id: of messages with the same one, the queue delivers one; None for a duplicate of no other.

        Raises:
            TransientError: the queue has not accepted it.
        """
        ...


class History(Protocol):
    """The history of Items, for entries that are no part of another transaction."""

    def add(self, entry: HistoryEntry) -> None:
        """Add an entry; idempotent.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...


class PlaidRemoval(Protocol):
    """Plaid's /item/remove."""

    def remove(self, access_token: str, reason: RemovalReason | None = None) -> None:
        """Remove the Item at Plaid, which ends its billing; idempotent.

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable.
        """
        ...
