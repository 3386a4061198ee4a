"""Plaid's keys and the access tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from plaid_sync.adapters.plaid.credentials import KEPT_FOR, PlaidCredentials, PlaidSecret
from plaid_sync.adapters.token_cipher import KmsTokens
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items import ItemId

from local.plaid import SimulatedClock


def secret_holding(value: str, clock: SimulatedClock) -> tuple[Any, PlaidSecret]:
    client = boto3.client("secretsmanager")
    client.create_secret(Name="plaid", SecretString=value)
    return client, PlaidSecret(lambda: client, "plaid", clock)


def test_a_rotated_secret_is_picked_up_within_minutes_or_at_once_when_it_is_refused(aws: None) -> None:  # noqa: ARG001
    clock = SimulatedClock(datetime(2026, 3, 1, tzinfo=UTC))
    client, secret = secret_holding('{"client_id": "c", "secret": "old"}', clock)
    assert secret.get() == PlaidCredentials("c", "old")
    client.put_secret_value(SecretId="plaid", SecretString='{"client_id": "c", "secret": "new"}')
    assert secret.get().secret == "old"
    clock.advance(KEPT_FOR)
    assert secret.get().secret == "new"
    client.put_secret_value(SecretId="plaid", SecretString='{"client_id": "c", "secret": "newest"}')
    secret.forget()
    assert secret.get().secret == "newest"
    assert "newest" not in repr(secret.get())


@pytest.mark.parametrize("value", ["plain text", "[]", '{"client_id": "c"}', '{"client_id": "c", "secret": 7}'])
def test_a_secret_of_another_shape_is_named_so(aws: None, value: str) -> None:  # noqa: ARG001
    _, secret = secret_holding(value, SimulatedClock())
    with pytest.raises(RetryableError, match="plaid_secret_malformed"):
        secret.get()


def test_a_missing_secret_is_not_the_end_of_the_process(aws: None) -> None:  # noqa: ARG001
    secret = PlaidSecret(lambda: boto3.client("secretsmanager"), "unknown", SimulatedClock())
    with pytest.raises(RetryableError, match="ResourceNotFoundException"):
        secret.get()


def test_a_token_opens_for_its_own_item_only(aws: None) -> None:  # noqa: ARG001
    client = boto3.client("kms")
    tokens = KmsTokens(client, client.create_key()["KeyMetadata"]["KeyId"])
    sealed = tokens.encrypt(ItemId("item"), "access-sandbox-1")
    assert b"access-sandbox-1" not in sealed
    assert tokens.decrypt(ItemId("item"), sealed) == "access-sandbox-1"
    with pytest.raises(RetryableError):
        tokens.decrypt(ItemId("another"), sealed)
