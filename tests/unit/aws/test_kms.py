"""Access tokens, encrypted with KMS."""

from __future__ import annotations

import boto3
import pytest
from plaid_sync.aws.kms import KmsTokenCipher
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import ItemId


@pytest.mark.usefixtures("aws")
def test_a_token_decrypts_for_its_own_item_only() -> None:
    client = boto3.client("kms")
    tokens = KmsTokenCipher(client, client.create_key()["KeyMetadata"]["KeyId"])
    ciphertext = tokens.encrypt(ItemId("item"), "access-sandbox-1")
    assert b"access-sandbox-1" not in ciphertext
    assert tokens.decrypt(ItemId("item"), ciphertext) == "access-sandbox-1"
    with pytest.raises(TransientError):
        tokens.decrypt(ItemId("another"), ciphertext)
