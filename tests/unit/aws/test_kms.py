"""Access tokens, encrypted with KMS."""

from __future__ import annotations

from dataclasses import dataclass, field

import boto3
import pytest
from plaid_sync.aws.kms import MAX_TOKENS_KEPT, TOKEN_KEPT, KmsTokenCipher, RecentTokens
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import ItemId

from tests.fakes.clock import FakeClock

ITEM = ItemId("item")


@pytest.mark.usefixtures("aws")
def test_a_token_decrypts_for_its_own_item_only() -> None:
    client = boto3.client("kms")
    tokens = KmsTokenCipher(client, client.create_key()["KeyMetadata"]["KeyId"])
    ciphertext = tokens.encrypt(ItemId("item"), "access-sandbox-1")
    assert b"access-sandbox-1" not in ciphertext
    assert tokens.decrypt(ItemId("item"), ciphertext) == "access-sandbox-1"
    with pytest.raises(TransientError):
        tokens.decrypt(ItemId("another"), ciphertext)


@dataclass(slots=True)
class Cipher:
    """Decrypts by a prefix, and counts."""

    decrypted: list[str] = field(default_factory=list)

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:
        self.decrypted.append(f"{item_id} {ciphertext.decode()}")
        return f"token {ciphertext.decode()}"


def test_a_token_is_decrypted_once_in_five_minutes() -> None:
    cipher, clock = Cipher(), FakeClock()
    tokens = RecentTokens(cipher, clock)
    assert [tokens.decrypt(ITEM, b"1") for _ in range(3)] == ["token 1"] * 3
    assert cipher.decrypted == ["item 1"]
    clock.time += TOKEN_KEPT
    tokens.decrypt(ItemId("another"), b"2")
    assert "token 1" not in str([kept.token for kept in tokens.kept.values()])
    tokens.decrypt(ITEM, b"1")
    assert cipher.decrypted == ["item 1", "another 2", "item 1"]


def test_a_kept_token_is_of_its_item_and_its_ciphertext() -> None:
    cipher = Cipher()
    tokens = RecentTokens(cipher, FakeClock())
    assert tokens.decrypt(ITEM, b"1") == "token 1"
    assert tokens.decrypt(ITEM, b"rotated") == "token rotated"
    assert tokens.decrypt(ItemId("another"), b"rotated") == "token rotated"
    assert cipher.decrypted == ["item 1", "item rotated", "another rotated"]


def test_a_forgotten_token_is_decrypted_again_and_few_are_kept() -> None:
    cipher = Cipher()
    tokens = RecentTokens(cipher, FakeClock())
    tokens.decrypt(ITEM, b"1")
    tokens.forget(ITEM)
    tokens.forget(ITEM)
    for number in range(MAX_TOKENS_KEPT + 1):
        tokens.decrypt(ItemId(str(number)), b"1")
    assert len(tokens.kept) == MAX_TOKENS_KEPT
    assert "token" not in repr(tokens)
    tokens.decrypt(ItemId("0"), b"1")
    assert cipher.decrypted[-2:] == ["1000 1", "0 1"]
