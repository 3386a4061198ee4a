"""Signing keys: their public form, rotation and expiry, and forged tokens."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import jwt
import pytest

from local.plaid import PlaidError

from .conftest import error_code

if TYPE_CHECKING:
    from local.plaid import PlaidSimulator, SimulatedClock

BODY = b'{\n  "item_id": "x"\n}'


def accepts(sim: PlaidSimulator, token: str, body: bytes = BODY) -> bool:
    """Verify a token as a client that accepts nothing but ES256."""
    try:
        key = jwt.PyJWK.from_dict(sim.keys.public(jwt.get_unverified_header(token)["kid"]))
        claims = jwt.decode(token, key, algorithms=["ES256"], options={"verify_iat": False})
    except (PlaidError, jwt.InvalidTokenError):
        return False
    return bool(claims["request_body_sha256"] == hashlib.sha256(body).hexdigest())


def test_a_signature_is_valid_for_its_body_only(sim: PlaidSimulator) -> None:
    token = sim.sign(BODY)
    assert (accepts(sim, token), accepts(sim, token, BODY + b" ")) == (True, False)


def test_a_token_can_have_any_iat(sim: PlaidSimulator, clock: SimulatedClock) -> None:
    now = int(clock().timestamp())
    for iat, seconds in ((clock().timestamp() - 301, now - 301), (clock(), now)):
        assert jwt.decode(sim.sign(BODY, iat=iat), options={"verify_signature": False})["iat"] == seconds


def test_rotation_replaces_the_key_and_expires_the_old_one_after_the_overlap(
    sim: PlaidSimulator, clock: SimulatedClock
) -> None:
    old = sim.keys.current.kid
    new = sim.rotate_keys(overlap=60)
    assert jwt.get_unverified_header(sim.sign(BODY))["kid"] == new
    assert jwt.get_unverified_header(sim.sign(BODY, kid=old))["kid"] == old
    assert sim.keys.public(old)["expired_at"] is None
    clock.advance(60)
    now = int(clock().timestamp())
    assert (sim.keys.public(old)["expired_at"], sim.keys.public(new)["expired_at"]) == (now, None)
    sim.expire_key(new)
    assert sim.keys.public(new)["expired_at"] == now


def test_an_unknown_kid_has_no_public_key(sim: PlaidSimulator) -> None:
    token = sim.sign(BODY, kid="never-issued")
    assert jwt.get_unverified_header(token)["kid"] == "never-issued"
    assert error_code(lambda: sim.keys.public("never-issued")) == "INVALID_WEBHOOK_VERIFICATION_KEY_ID"


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256"])
def test_a_forged_token_names_the_real_key_and_does_not_verify(sim: PlaidSimulator, alg: str) -> None:
    token = sim.forge(BODY, alg)
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == (alg, sim.keys.current.kid)
    assert not accepts(sim, token)
