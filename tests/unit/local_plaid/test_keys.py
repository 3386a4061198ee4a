"""Signing keys: their public form, their life, and forgeries."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import jwt
import pytest

from local.plaid import PlaidError

if TYPE_CHECKING:
    from local.plaid import PlaidSimulator, SimulatedClock

BODY = b'{\n  "item_id": "x"\n}'


def accepts(sim: PlaidSimulator, token: str, body: bytes = BODY) -> bool:
    """Verify as a client that looks the key up and trusts nothing but ES256."""
    try:
        kid = jwt.get_unverified_header(token)["kid"]
        key = jwt.PyJWK.from_dict(sim.keys.public(kid))
        claims = jwt.decode(token, key, algorithms=["ES256"], options={"verify_iat": False})
    except (PlaidError, jwt.InvalidTokenError):
        return False
    return bool(claims["request_body_sha256"] == hashlib.sha256(body).hexdigest())


def test_a_signature_holds_for_its_body_only(sim: PlaidSimulator) -> None:
    token = sim.sign(BODY)
    assert accepts(sim, token)
    assert not accepts(sim, token, BODY + b" ")


def test_any_moment_can_be_signed(sim: PlaidSimulator, clock: SimulatedClock) -> None:
    early = jwt.decode(sim.sign(BODY, iat=clock().timestamp() - 301), options={"verify_signature": False})
    assert early["iat"] == int(clock().timestamp()) - 301
    assert jwt.decode(sim.sign(BODY, iat=clock()), options={"verify_signature": False})["iat"] == early["iat"] + 301


def test_rotation_signs_with_a_new_key_and_expires_the_old_after_the_overlap(
    sim: PlaidSimulator, clock: SimulatedClock
) -> None:
    old = sim.keys.current.kid
    new = sim.rotate_keys(overlap=60)
    assert jwt.get_unverified_header(sim.sign(BODY))["kid"] == new
    assert jwt.get_unverified_header(sim.sign(BODY, kid=old))["kid"] == old
    assert sim.keys.public(old)["expired_at"] is None
    clock.advance(60)
    assert sim.keys.public(old)["expired_at"] == int(clock().timestamp())
    assert sim.keys.public(new)["expired_at"] is None
    sim.expire_key(new)
    assert sim.keys.public(new)["expired_at"] == int(clock().timestamp())


def test_an_unknown_kid_is_unknown_to_the_endpoint_too(sim: PlaidSimulator) -> None:
    token = sim.sign(BODY, kid="never-issued")
    assert jwt.get_unverified_header(token)["kid"] == "never-issued"
    with pytest.raises(PlaidError, match="INVALID_WEBHOOK_VERIFICATION_KEY_ID"):
        sim.keys.public("never-issued")


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256"])
def test_forgeries_name_the_real_key_and_do_not_verify(sim: PlaidSimulator, alg: str) -> None:
    token = sim.forge(BODY, alg)
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == (alg, sim.keys.current.kid)
    assert not accepts(sim, token)
