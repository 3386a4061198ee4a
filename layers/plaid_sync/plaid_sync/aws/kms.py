"""Access tokens encrypted with KMS, bound to their Item: a ciphertext moved to another row does not decrypt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.aws.clients import aws_errors

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

    from plaid_sync.domain.item import ItemId


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
