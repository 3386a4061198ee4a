"""Ports of the webhook function: Plaid's keys, and what its processes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from plaid_sync.domain.errors import TransientError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from plaid_sync.domain.item import ItemId
    from plaid_sync.webhook.signature import VerificationKey


class SharedStateError(TransientError):
    """The shared state cannot be read or written now."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """Plaid's last response about a key id.

    Attributes:
        key: None where Plaid has no key with this id.
        fetched_at: when Plaid responded, by the clock of the process that made the call.
    """

    key: VerificationKey | None
    fetched_at: datetime


class VerificationKeyApi(Protocol):
    """Plaid's /webhook_verification_key/get."""

    def fetch(self, key_id: str) -> VerificationKey | None:
        """Return the key, or None when Plaid has no key with this id.

        Raises:
            TransientError: the look-up failed.
        """
        ...


class SharedState(Protocol):
    """What all processes of the stack share; every call can raise a `SharedStateError`."""

    def key_record(self, key_id: str) -> KeyRecord | None:
        """Return the saved response about a key id; a moment old, or None where there is none."""
        ...

    def save_key_record(self, key_id: str, record: KeyRecord) -> None:
        """Save a response of Plaid."""
        ...

    def count(self, name: str, expires_at: datetime) -> int:
        """Count one more under a name, and return how many there are; forgotten some time after `expires_at`."""
        ...

    def invalidate_recurring(self, item_id: ItemId, now: datetime) -> None:
        """Let no response about an Item's recurring streams be served that was stored, or requested, before."""
        ...

    def once(self, name: str, period: timedelta, now: datetime) -> bool:
        """Return True to one caller of all processes, and False to all others until the period is over."""
        ...


@dataclass(frozen=True, slots=True)
class LinkOutcome:
    """What became of a link session.

    Attributes:
        code: why the application has to act; None where it does not.
        client_user_id: the application's reference of the session's user; None of a session that is not the stack's.
    """

    code: str | None = None
    client_user_id: str | None = None


class LinkSessions(Protocol):
    """The link sessions of the Items API."""

    def complete(
        self, link_token: str, public_tokens: tuple[str, ...], correlation_id: str, *, ended: bool
    ) -> LinkOutcome:
        """Link what the session of a link token led to, as Plaid's webhook names it; idempotent.

        Args:
            link_token: the session's.
            public_tokens: those that the webhook names.
            correlation_id: the id of the webhook's request.
            ended: whether the session ended; else a webhook reports that follows.

        Raises:
            TransientError: Plaid has to send the webhook again.
        """
        ...


class AttemptRequests(Protocol):
    """Requests that the sweep answers."""

    def request_attempt(self, item_id: ItemId, now: datetime) -> None:
        """Let the sweep enqueue an Item in its next run.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...
