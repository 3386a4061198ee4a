"""Signature verification: what is verified, and every way in which a forgery is rejected."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.webhook import signature
from plaid_sync.webhook.signature import CLOCK_SKEW, MAX_AGE, RejectedError, VerificationKey, parse_signature

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())
KEY = VerificationKey("kid-1", PRIVATE_KEY.public_key(), expired_at=None)
BODY = b'{\n  "webhook_type": "TRANSACTIONS"\n}'


def sign(body: bytes = BODY, *, signer: Any = PRIVATE_KEY, algorithm: str = "ES256", **changes: Any) -> str:
    claims: dict[str, Any] = {
        "iat": int(NOW.timestamp()),
        "request_body_sha256": hashlib.sha256(body).hexdigest(),
    }
    header = {"kid": "kid-1"} | changes.pop("header", {})
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, signer, algorithm=algorithm, headers=header)


def verify(
    body: bytes, token: str | None, now: datetime = NOW, max_age: timedelta = MAX_AGE, key: VerificationKey = KEY
) -> datetime:
    return signature.verify(body, parse_signature(token), key, now, max_age)


def reason(token: str | None, body: bytes = BODY, key: VerificationKey = KEY, now: datetime = NOW) -> str:
    with pytest.raises(RejectedError) as rejected:
        verify(body, token, now, key=key)
    return rejected.value.reason


def test_a_genuine_webhook_is_verified_with_its_time_of_signing() -> None:
    assert verify(BODY, sign()) == NOW


def test_the_published_vector_hashes_as_two_space_indented_json() -> None:
    published = {
        "error": None,
        "item_id": "xVDbz8kaZRf69Nd18x81I3y83kZaxEF688545",
        "new_transactions": 0,
        "webhook_code": "DEFAULT_UPDATE",
        "webhook_type": "TRANSACTIONS",
    }
    claimed = "c43741964e9b173d7bc1e840a21ce1ad26cfa27c1a379bba8cb5f5715aade40a"
    body = json.dumps(published, indent=2).encode()
    assert verify(body, sign(request_body_sha256=claimed)) == NOW
    compact = json.dumps(published).encode()
    assert reason(sign(request_body_sha256=claimed), compact) == "body_mismatch"


def forged_without_signature() -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iat": int(NOW.timestamp()), "request_body_sha256": hashlib.sha256(BODY).hexdigest()}
    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': 'kid-1'})}.{part(claims)}."


def test_a_forged_webhook_is_rejected_with_its_reason() -> None:
    assert reason(None) == reason("") == "missing_header"
    assert reason("garbage") == reason("a.b.c") == reason("é" * 20) == reason("x" * 100_000) == "malformed_token"
    assert reason(forged_without_signature()) == "wrong_algorithm"
    assert reason(sign(signer="a secret of at least thirty-two bytes", algorithm="HS256")) == "wrong_algorithm"
    assert reason(sign(signer=ec.generate_private_key(ec.SECP256R1()))) == "bad_signature"
    assert reason(sign(header={"kid": "kid-2"})) == "unknown_key"
    assert reason(sign(), BODY + b" ") == "body_mismatch"


def test_an_expired_key_verifies_nothing_from_its_expiry_on() -> None:
    assert reason(sign(), key=replace(KEY, expired_at=NOW)) == "expired_key"
    later = replace(KEY, expired_at=NOW + timedelta(hours=1))
    assert verify(BODY, sign(), key=later) == NOW


def test_only_the_last_five_minutes_count() -> None:
    token = sign()
    assert verify(BODY, token, NOW + timedelta(minutes=5)) == NOW
    assert reason(token, now=NOW + timedelta(minutes=5, seconds=1)) == "stale"
    later = NOW + timedelta(hours=1)
    assert verify(BODY, token, later, timedelta(hours=1)) == NOW
    assert verify(BODY, token, NOW - CLOCK_SKEW) == NOW
    assert reason(token, now=NOW - CLOCK_SKEW - timedelta(seconds=1)) == "issued_in_future"
    # Numbers of their own, which no constant of the engine can move.
    assert verify(BODY, token, NOW - timedelta(seconds=3)) == NOW
    assert reason(token, now=NOW - timedelta(seconds=30)) == "issued_in_future"


def test_a_header_that_is_much_longer_than_plaids_is_not_decoded() -> None:
    assert verify(BODY, sign(jti="x" * 1_000)) == NOW
    assert reason(sign(jti="x" * 10_000)) == "malformed_token"


@pytest.mark.parametrize("form", ["{}=", "{}==", " {}", "{}\n"])
def test_a_token_has_one_canonical_form(form: str) -> None:
    assert reason(form.format(sign())) == "malformed_token"


@pytest.mark.parametrize(
    "changes",
    [
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"iat": 1e300},
        {"request_body_sha256": None},
        {"request_body_sha256": "é"},
        {"header": {"kid": ""}},
        *({"header": {"kid": key_id}} for key_id in ("k" * 129, "\ud800", "\u00e9", "a\nb", "\x00")),
    ],
)
def test_signed_but_unusable_claims_are_rejected(changes: dict[str, Any]) -> None:
    assert reason(sign(**changes)) == "malformed_token"


@given(st.one_of(st.text(), st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True)))
def test_any_other_header_is_rejected(token: str) -> None:
    with pytest.raises(RejectedError):
        verify(BODY, token)
