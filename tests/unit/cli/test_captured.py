"""Captured webhooks: each reason of a rejection, explained at the check that found it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from plaid_sync_cli.captured import Captured, asks_for, checks, judge, read_capture, read_key
from plaid_sync_cli.errors import CommandError

from local.events import SEED, WRITTEN_AT
from local.plaid import PlaidSimulator, SimulatedClock

EVENTS = Path(__file__).parents[2] / "events"
PLAID = PlaidSimulator(seed=SEED, clock=SimulatedClock(WRITTEN_AT))
PRIVATE = ec.generate_private_key(ec.SECP256R1())
JWK = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(PRIVATE.public_key())) | {"kid": "k", "alg": "ES256"}
KEY = read_key(json.dumps({"key": JWK}).encode())
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def signed(claims: dict[str, Any], algorithm: str = "ES256", key: Any = PRIVATE) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "k"})


def judged(captured: Captured, now: datetime = NOW) -> tuple[str | None, list[str]]:
    reason = judge(captured, lambda key_id: KEY if key_id == "k" else None, now)
    return reason, [one.result for one in checks(captured, reason, now)]


BODY = b'{"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": "a"}'
CLAIMS = {"iat": int(NOW.timestamp()), "request_body_sha256": "3e0ea9a8"}


@pytest.mark.parametrize(
    ("token", "now", "reason", "passed"),
    [
        (None, NOW, "missing_header", 0),
        ("not.a.token", NOW, "malformed_token", 1),
        (signed(CLAIMS, "HS256", "x" * 32), NOW, "wrong_algorithm", 1),
        (signed(CLAIMS, key=ec.generate_private_key(ec.SECP256R1())), NOW, "bad_signature", 4),
        (signed({"iat": "soon"}), NOW, "malformed_claims", 4),
        (signed(CLAIMS), NOW + timedelta(minutes=6), "stale", 5),
        (signed(CLAIMS), NOW - timedelta(minutes=1), "issued_in_future", 5),
        (signed(CLAIMS), NOW, "body_mismatch", 6),
    ],
)
def test_the_first_check_that_fails_is_named_and_the_rest_is_not_reached(
    token: str | None, now: datetime, reason: str, passed: int
) -> None:
    found, results = judged(Captured(BODY, token), now)
    assert found == reason
    assert results == ["ok"] * passed + ["failed"] + ["not reached"] * (6 - passed)


def test_an_unknown_and_an_expired_key_are_told_apart() -> None:
    captured = Captured(BODY, signed(CLAIMS))
    assert judge(captured, lambda _: None, NOW) == "unknown_key"
    expired = read_key(json.dumps(JWK | {"expired_at": int(NOW.timestamp()) - 1}).encode())
    assert judge(captured, lambda _: expired, NOW) == "expired_key"


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
def test_the_sample_events_are_judged_as_of_their_arrival(name: str, reason: str | None) -> None:
    captured = read_capture((EVENTS / f"{name}.json").read_bytes())
    assert captured.arrived_at == WRITTEN_AT
    jwk = PLAID.keys.public(PLAID.keys.kids()[0])
    key = read_key(json.dumps(jwk).encode())
    assert judge(captured, lambda key_id: key if key_id == key.key_id else None, WRITTEN_AT) == reason


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
def test_what_is_no_capture_is_refused_with_what_it_should_be(content: bytes) -> None:
    with pytest.raises(CommandError, match="Plaid-Verification") as refused:
        read_capture(content)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"kid": "k", "kty": "oct", "k": "AAAA"}'])
def test_what_is_no_key_is_refused(content: bytes) -> None:
    with pytest.raises(CommandError, match="JWK"):
        read_key(content)


def test_what_a_valid_webhook_leads_to_is_told() -> None:
    assert asks_for(BODY) == "ITEM ERROR of a: queued, a sync follows"
    assert asks_for(BODY.replace(b"ERROR", b"OTHER")).endswith("acknowledged, and only recorded")
    assert asks_for(b"[]").startswith("answered 400")
