"""What proving a webhook needs from the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from plaid_sync.core.webhooks.verification import VerificationKey


class VerificationKeyApi(Protocol):
    """Plaid's /webhook_verification_key/get."""

    def fetch(self, key_id: str) -> VerificationKey | None:
        """Return the key, or None when Plaid knows none of that id.

        Raises:
            RetryableError: Plaid could not be asked.
        """
        ...
