"""Access tokens under KMS, bound to their Item: a ciphertext moved to another row does not open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.adapters.aws import aws_errors

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

    from plaid_sync.core.items import ItemId


@dataclass(frozen=True, slots=True)
class KmsTokens:
    """Seals and opens tokens; fulfils `TokenEncryptor` and `TokenDecryptor`. Roles decide who may do which."""

    client: KMSClient
    key_id: str

    def encrypt(self, item_id: ItemId, access_token: str) -> bytes:
        """See `ports.common.TokenEncryptor`."""
        with aws_errors():
            answer = self.client.encrypt(
                KeyId=self.key_id,
                Plaintext=access_token.encode(),
                EncryptionContext={"item_id": item_id},
            )
        return answer["CiphertextBlob"]

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:
        """See `ports.common.TokenDecryptor`."""
        with aws_errors():
            answer = self.client.decrypt(
                KeyId=self.key_id, CiphertextBlob=ciphertext, EncryptionContext={"item_id": item_id}
            )
        return answer["Plaintext"].decode()
