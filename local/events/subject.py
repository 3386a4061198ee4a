"""What sample events are about, and who signs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class LinkSession:
    """A session of Plaid Link that the user has finished."""

    link_token: str
    client_user_id: str
    public_token: str


class Subject(Protocol):
    """One or two Items, and their Plaid."""

    @property
    def now(self) -> datetime:
        """When the events happen."""

    @property
    def item_id(self) -> str:
        """The Item."""

    @property
    def other_item_id(self) -> str:
        """Another one, where an event is about two."""

    def body(self, kind: str, code: str) -> bytes:
        """Return a webhook's body."""

    def sign(self, body: bytes) -> str:
        """Return the token of `Plaid-Verification`."""

    def forge(self, body: bytes) -> str:
        """Return a token in the name of Plaid's key, by another one."""

    def public_token(self) -> str:
        """Return what Link gives to an application when a user has linked an Item."""

    def link_session(self) -> LinkSession:
        """Return a session in which a user has linked an Item."""
