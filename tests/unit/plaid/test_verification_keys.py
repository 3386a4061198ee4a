"""Plaid's /webhook_verification_key/get: which keys are accepted, and what a failed look-up means."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from plaid_sync.domain.errors import TransientError

from tests.fakes.localhost import KEY_CALLS, Plaid


def jwk(public_key: Any, **fields: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(public_key, rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
    document: dict[str, Any] = json.loads(algorithm.to_jwk(public_key))
    return document | {"alg": "ES256", "kid": "kid", "use": "sig", "created_at": 1, "expired_at": None} | fields


P_256 = jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
P_384 = jwk(ec.generate_private_key(ec.SECP384R1()).public_key())
RSA = jwk(rsa.generate_private_key(65537, 2048).public_key())


LARGE_NUMBER = "1e999999999999999999"
EXPIRIES: list[object] = ["soon", "1", 1.5, [], 10**30, 10**400, LARGE_NUMBER]
MALFORMED: list[object] = [
    {"key": P_384},
    {"key": P_384 | {"alg": "ES384"}},
    {"key": P_256 | {"crv": "secp256k1"}},
    {"key": RSA},
    {"key": P_256 | {"x": "AAAA"}},  # not on the curve
    *({"key": P_256 | {"expired_at": expiry}} for expiry in EXPIRIES),
    {"key": None},
    {},
    [],
]


def test_a_p_256_key_is_accepted_and_one_that_es256_cannot_use_is_rejected(plaid: Plaid) -> None:
    plaid.simulator.inject_fault(KEY_CALLS, status=200, body=json.dumps({"key": P_256}))
    assert plaid.key_api.fetch("kid") is not None
    for document in MALFORMED:
        plaid.simulator.inject_fault(
            KEY_CALLS, status=200, body=json.dumps(document).replace(f'"{LARGE_NUMBER}"', LARGE_NUMBER)
        )
        with pytest.raises(TransientError, match="verification_key_malformed"):
            plaid.key_api.fetch("kid")


@pytest.mark.parametrize(
    "fault", [{"drop": "before"}, {"status": 502, "body": "<html>"}, {"error_code": "INTERNAL_SERVER_ERROR"}], ids=str
)
def test_a_key_whose_look_up_fails_is_not_unknown(plaid: Plaid, fault: dict[str, Any]) -> None:
    plaid.simulator.inject_fault(KEY_CALLS, **fault)
    with pytest.raises(TransientError):
        plaid.key_api.fetch(plaid.simulator.keys.current.kid)
    assert plaid.key_api.fetch(plaid.simulator.keys.current.kid) is not None
    assert plaid.key_api.fetch("unknown") is None


def test_refused_credentials_are_read_again(plaid: Plaid) -> None:
    kid = plaid.simulator.keys.current.kid
    plaid.store_secret("retired")
    with pytest.raises(TransientError, match="INVALID_API_KEYS"):
        plaid.key_api.fetch(kid)
    plaid.store_secret(plaid.simulator.secret)
    assert plaid.key_api.fetch(kid) is not None
