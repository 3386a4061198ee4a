"""Captured webhooks: each rejection is explained at the check that failed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from plaid_sync_cli.errors import CommandError
from plaid_sync_cli.webhook_verification import (
    CapturedWebhook,
    checks,
    describe_effect,
    parse_capture,
    parse_jwk,
    rejection_reason,
)

from local.events import SEED, WRITTEN_AT
from local.plaid import PlaidSimulator, SimulatedClock

if TYPE_CHECKING:
    from plaid_sync.webhook.signature import VerificationKey

EVENTS = Path(__file__).parents[2] / "events"
PLAID = PlaidSimulator(seed=SEED, clock=SimulatedClock(WRITTEN_AT))
PRIVATE = ec.generate_private_key(ec.SECP256R1())
JWK = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(PRIVATE.public_key())) | {"kid": "k", "alg": "ES256"}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = parse_jwk(json.dumps({"key": JWK}).encode())
EXPIRED_KEY = parse_jwk(json.dumps(JWK | {"expired_at": int(NOW.timestamp()) - 1}).encode())
BODY = b'{"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": "a"}'
FINISHED = b'{"webhook_type": "LINK", "webhook_code": "SESSION_FINISHED", "status": "SUCCESS", "link_token": "link-1"}'
CLAIMS = {"iat": int(NOW.timestamp()), "request_body_sha256": "3e0ea9a8"}


def signed(claims: dict[str, Any], algorithm: str = "ES256", key: Any = PRIVATE) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "k"})


@pytest.mark.parametrize(
    ("token", "key", "now", "reason", "passed"),
    [
        (None, KEY, NOW, "missing_header", 1),
        ("not.a.token", KEY, NOW, "malformed_token", 2),
        (signed(CLAIMS, "HS256", "x" * 32), KEY, NOW, "wrong_algorithm", 2),
        (signed(CLAIMS), None, NOW, "unknown_key", 3),
        (signed(CLAIMS), EXPIRED_KEY, NOW, "expired_key", 4),
        (signed(CLAIMS, key=ec.generate_private_key(ec.SECP256R1())), KEY, NOW, "bad_signature", 5),
        (signed({"iat": "soon"}), KEY, NOW, "malformed_claims", 5),
        (signed(CLAIMS), KEY, NOW + timedelta(minutes=6), "stale", 6),
        (signed(CLAIMS), KEY, NOW - timedelta(minutes=1), "issued_in_future", 6),
        (signed(CLAIMS), KEY, NOW, "body_mismatch", 7),
    ],
)
def test_the_first_failed_check_is_named_and_the_rest_is_not_reached(
    token: str | None, key: VerificationKey | None, now: datetime, reason: str, passed: int
) -> None:
    captured = CapturedWebhook(BODY, token)
    assert rejection_reason(captured, lambda _: key, now) == reason
    results = [check.result for check in checks(captured, reason, now)]
    assert results == ["ok"] * passed + ["failed"] + ["not reached"] * (7 - passed)


def test_a_body_that_is_too_large_fails_before_all_other_checks() -> None:
    captured = CapturedWebhook(b"x" * 65_537, None)
    assert rejection_reason(captured, lambda _: KEY, NOW) == "body_too_large"
    first, *rest = checks(captured, "body_too_large", NOW)
    assert (first.result, {check.result for check in rest}) == ("failed", {"not reached"})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("webhook_sync_updates_available", None),
        ("webhook_base64", None),
        ("webhook_unsigned", "missing_header"),
        ("webhook_forged_body", "body_mismatch"),
        ("webhook_forged_signature", "bad_signature"),
    ],
)
def test_sample_events_are_verified_as_of_their_arrival(name: str, reason: str | None) -> None:
    captured = parse_capture((EVENTS / f"{name}.json").read_bytes())
    assert captured.arrived_at == WRITTEN_AT
    key = parse_jwk(json.dumps(PLAID.keys.public(PLAID.keys.kids()[0])).encode())
    assert rejection_reason(captured, lambda key_id: key if key_id == key.key_id else None, WRITTEN_AT) == reason


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"body": "{}"}',
        b'{"headers": {}}',
        b'{"headers": {}, "body": 1}',
        b'{"headers": [], "body": ""}',
        b'{"headers": {}, "body": "*", "isBase64Encoded": true}',
        b'{"headers": {"plaid-verification": 1}, "body": ""}',
    ],
)
def test_a_malformed_capture_is_rejected_with_the_expected_format(content: bytes) -> None:
    with pytest.raises(CommandError, match="Plaid-Verification") as error:
        parse_capture(content)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"kid": "k", "kty": "oct", "k": "AAAA"}'])
def test_a_malformed_key_is_rejected(content: bytes) -> None:
    with pytest.raises(CommandError, match="JWK"):
        parse_jwk(content)


@pytest.mark.parametrize(
    ("body", "effect"),
    [
        (BODY, "ITEM ERROR of a: queued for a sync"),
        (BODY.replace(b"ERROR", b"OTHER"), "ITEM OTHER of a: queued for a sync, published"),
        (BODY.replace(b"ITEM", b"AUTH"), "AUTH ERROR of a: published"),
        (FINISHED, "LINK SESSION_FINISHED of no Item: completes a link session"),
        (FINISHED.replace(b"SUCCESS", b"EXITED"), "LINK SESSION_FINISHED of no Item: published"),
        (b"[]", "rejected with 400"),
    ],
)
def test_the_effect_of_a_valid_webhook_is_described(body: bytes, effect: str) -> None:
    assert describe_effect(body).startswith(effect)
