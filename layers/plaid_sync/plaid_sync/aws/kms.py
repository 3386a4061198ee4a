"""Access tokens encrypted with KMS, bound to their Item: a ciphertext moved to another row does not decrypt."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from plaid_sync.aws.clients import aws_errors

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_kms import KMSClient

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import ItemId
    from plaid_sync.domain.ports import TokenDecryptor

TOKEN_KEPT: Final = timedelta(minutes=5)
"""How long a decrypted token is used again: so long a disabled key has no effect on a running process."""
MAX_TOKENS_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class KmsTokenCipher:
    """Encrypts and decrypts tokens; implements `TokenEncryptor` and `TokenDecryptor`. Each role allows one of both."""

    client: KMSClient
    key_id: str

    def encrypt(self, item_id: ItemId, access_token: str) -> bytes:
        """See `TokenEncryptor`."""
        with aws_errors():
            response = self.client.encrypt(
                KeyId=self.key_id,
                Plaintext=access_token.encode(),
                EncryptionContext={"item_id": item_id},
            )
        return response["CiphertextBlob"]

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:
        """See `TokenDecryptor`."""
        with aws_errors():
            response = self.client.decrypt(
                KeyId=self.key_id, CiphertextBlob=ciphertext, EncryptionContext={"item_id": item_id}
            )
        return response["Plaintext"].decode()


@dataclass(frozen=True, slots=True)
class _KeptToken:
    ciphertext: bytes
    token: str = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True)
class RecentTokens:
    """Decrypts tokens, and keeps those of the last minutes in memory; implements `AccessTokens`."""

    cipher: TokenDecryptor
    clock: Clock
    kept: dict[ItemId, _KeptToken] = field(default_factory=dict, repr=False)
    """The oldest first."""

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:
        """See `TokenDecryptor`."""
        now = self.clock.now()
        for each in list(takewhile(lambda each: self.kept[each].until <= now, self.kept)):
            self.forget(each)
        kept = self.kept.get(item_id)
        if kept is not None and kept.ciphertext == ciphertext:
            return kept.token
        token = self.cipher.decrypt(item_id, ciphertext)
        self.forget(item_id)
        if len(self.kept) == MAX_TOKENS_KEPT:
            self.forget(next(iter(self.kept)))
        self.kept[item_id] = _KeptToken(ciphertext, token, now + TOKEN_KEPT)
        return token

    def forget(self, item_id: ItemId) -> None:
        """See `AccessTokens`."""
        self.kept.pop(item_id, None)
