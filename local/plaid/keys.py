"""The ES256 keys that sign webhooks: creation, rotation and expiry, and forged tokens for tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from local.plaid.errors import PlaidError
from local.plaid.wire import uuid4

if TYPE_CHECKING:
    from random import Random

    from local.plaid.clock import Clock
    from local.plaid.wire import JsonObject

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(slots=True)
class SigningKey:
    kid: str
    private: ec.EllipticCurvePrivateKey
    created_at: datetime
    expires_at: datetime | None = None

    def public(self, now: datetime) -> JsonObject:
        numbers = self.private.public_key().public_numbers()
        expired = self.expires_at is not None and self.expires_at <= now
        return {
            "alg": "ES256",
            "created_at": int(self.created_at.timestamp()),
            "crv": "P-256",
            "expired_at": int(self.expires_at.timestamp()) if self.expires_at and expired else None,
            "kid": self.kid,
            "kty": "EC",
            "use": "sig",
            "x": _base64url(numbers.x.to_bytes(32, "big")),
            "y": _base64url(numbers.y.to_bytes(32, "big")),
        }


class KeyRing:
    """Every key since the start; the newest one signs."""

    def __init__(self, rng: Random, clock: Clock) -> None:
        self._rng = rng
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self.current = self._create()

    def _create(self) -> SigningKey:
        key = SigningKey(uuid4(self._rng), self._private(), self._clock())
        self._keys[key.kid] = key
        return key

    def _private(self) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(self._rng.randrange(1, _P256_ORDER), ec.SECP256R1())

    def kids(self) -> list[str]:
        return list(self._keys)

    def public(self, kid: object) -> JsonObject:
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise PlaidError("INVALID_WEBHOOK_VERIFICATION_KEY_ID")
        return key.public(self._clock())

    def rotate(self, overlap: timedelta = timedelta(0)) -> str:
        """Replace the signing key; the old one expires after `overlap`."""
        self.current.expires_at = self._clock() + overlap
        self.current = self._create()
        return self.current.kid

    def sign(self, body: bytes, iat: datetime | float | None = None, kid: str | None = None) -> str:
        """Return the Plaid-Verification token for a body.

        An unknown `kid` makes the token a forgery: an unpublished key signs it.
        """
        moment = self._clock() if iat is None else iat
        seconds = moment.timestamp() if isinstance(moment, datetime) else moment
        key = self.current if kid is None else self._keys.get(kid)
        return jwt.encode(
            {"iat": int(seconds), "request_body_sha256": hashlib.sha256(body).hexdigest()},
            key.private if key else self._private(),
            algorithm="ES256",
            headers={"kid": key.kid if key else kid, "typ": "JWT"},
        )

    def forge(self, body: bytes, alg: str, iat: datetime | float | None = None) -> str:
        """Return a forged token that names the current key; a receiver must reject it.

        `alg` is `none` (unsigned), `HS256` (with the public key as the secret) or `ES256` (another private key).
        """
        if alg == "ES256":
            claims = jwt.decode(self.sign(body, iat), options={"verify_signature": False})
            return jwt.encode(claims, self._private(), algorithm="ES256", headers={"kid": self.current.kid})
        payload = self.sign(body, iat).split(".")[1]
        header = _base64url(json.dumps({"alg": alg, "kid": self.current.kid, "typ": "JWT"}).encode())
        secret = json.dumps(self.current.public(self._clock())).encode()
        mac = hmac.digest(secret, f"{header}.{payload}".encode(), "sha256") if alg == "HS256" else b""
        return f"{header}.{payload}.{_base64url(mac)}"


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
