"""Encryption to a public key of age (https://age-encryption.org, https://c2sp.org/age)."""

from __future__ import annotations

from dataclasses import dataclass

from plaid_sync.domain.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class AgeCipher:
    """Encrypts to X25519 recipients, in ASCII armor; implements `RecipientCipher`."""

    def encrypt(self, text: str, recipient: str) -> str:
        """See `RecipientCipher`."""
        # Loaded by the one operation that needs it: a cold start does without these 1.8 MB.
        import pyrage  # noqa: PLC0415
        from pyrage import x25519  # noqa: PLC0415

        try:
            key = x25519.Recipient.from_str(recipient)
        except pyrage.RecipientError as error:
            raise InvalidRequestError(
                "recipient", "send an age public key, age1..., as age-keygen prints it"
            ) from error
        return pyrage.encrypt(text.encode(), [key], armored=True).decode()
