"""Plaid's client_id and secret, in Secrets Manager."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from plaid_sync.domain.errors import TransientError
from plaid_sync.plaid.credentials import CREDENTIALS_TTL, PlaidCredentials, PlaidSecret

from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.usefixtures("aws")


def stored_secret(value: str, clock: FakeClock) -> tuple[Any, PlaidSecret]:
    client = boto3.client("secretsmanager")
    client.create_secret(Name="plaid", SecretString=value)
    return client, PlaidSecret(lambda: client, "plaid", clock)


def test_a_rotated_secret_is_read_within_minutes_or_at_once_when_plaid_refuses_the_old_one() -> None:
    clock = FakeClock()
    client, secret = stored_secret('{"client_id": "c", "secret": "old"}', clock)
    assert secret.get() == PlaidCredentials("c", "old")
    client.put_secret_value(SecretId="plaid", SecretString='{"client_id": "c", "secret": "new"}')
    assert secret.get().secret == "old"
    clock.time += CREDENTIALS_TTL
    assert secret.get().secret == "new"
    client.put_secret_value(SecretId="plaid", SecretString='{"client_id": "c", "secret": "newest"}')
    secret.forget()
    assert secret.get().secret == "newest"
    assert "newest" not in repr(secret.get())


@pytest.mark.parametrize("value", ["plain text", "[]", '{"client_id": "c"}', '{"client_id": "c", "secret": 7}'])
def test_a_malformed_secret_has_its_own_code(value: str) -> None:
    _, secret = stored_secret(value, FakeClock())
    with pytest.raises(TransientError, match="plaid_secret_malformed"):
        secret.get()


def test_a_missing_secret_is_a_transient_error() -> None:
    secret = PlaidSecret(lambda: boto3.client("secretsmanager"), "unknown", FakeClock())
    with pytest.raises(TransientError, match="ResourceNotFoundException"):
        secret.get()
