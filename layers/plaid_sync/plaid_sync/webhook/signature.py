"""Signature verification of webhooks: pure, over the raw bytes, before any JSON is read.

Plaid signs the SHA-256 of the body with ES256 (https://plaid.com/docs/api/webhooks/webhook-verification/). The body is
pretty-printed JSON, so only the bytes as delivered hash to the claim.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import jwt

from plaid_sync.domain.errors import PlaidSyncError
from plaid_sync.domain.text import is_printable_ascii

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

ALGORITHM: Final = "ES256"
MAX_AGE: Final = timedelta(minutes=5)
CLOCK_SKEW: Final = timedelta(seconds=5)
"""How far Plaid's clock may be ahead of ours; both are synchronized by NTP."""
_MAX_TOKEN_LENGTH: Final = 4096


class RejectedError(PlaidSyncError):
    """The webhook is not verified.

    Attributes:
        reason: a short, stable word for the response, logs and metrics.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"webhook rejected: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One of Plaid's public keys.

    Attributes:
        expired_at: from when Plaid no longer signs with it; None while it is in use.
    """

    key_id: str
    public_key: EllipticCurvePublicKey
    expired_at: datetime | None

    def is_expired(self, now: datetime) -> bool:
        """Return whether the key is no longer trusted."""
        return self.expired_at is not None and self.expired_at <= now


def key_id_of(token: str | None) -> str:
    """Return the key id that a `Plaid-Verification` header names, after the checks that need no key.

    Raises:
        RejectedError: `missing_header`, `malformed_token` or `wrong_algorithm`.
    """
    if not token:
        raise RejectedError("missing_header")
    try:
        header = jwt.get_unverified_header(token) if _is_canonical(token) else {}
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise RejectedError("malformed_token") from error
    key_id = header.get("kid")
    if not is_printable_ascii(key_id):
        raise RejectedError("malformed_token")
    if header.get("alg") != ALGORITHM:
        raise RejectedError("wrong_algorithm")
    return key_id


def verify(
    body: bytes,
    token: str | None,
    keys: Mapping[str, VerificationKey],
    now: datetime,
    max_age: timedelta = MAX_AGE,
) -> datetime:
    """Verify that Plaid sent `body`, within the last five minutes, and return when it signed it.

    Args:
        body: the bytes exactly as delivered.
        token: the value of the `Plaid-Verification` header.
        keys: Plaid's keys by id; at least the one that the token names.
        now: the current time, aware.
        max_age: of the signature. A caller that raises it has to reject what is older than `MAX_AGE` itself.

    Raises:
        RejectedError: it is not verified; the reason says why.
    """
    key = keys.get(key_id_of(token))
    if key is None:
        raise RejectedError("unknown_key")
    if key.is_expired(now):
        raise RejectedError("expired_key")
    claims = _signed_claims(str(token), key)
    issued_at = _issued_at(claims)
    if issued_at > now + CLOCK_SKEW:
        raise RejectedError("issued_in_future")
    if now - issued_at > max_age:
        raise RejectedError("stale")
    _compare_hash(body, claims.get("request_body_sha256"))
    return issued_at


def _is_canonical(token: str) -> bool:
    """Return whether the token is in its one canonical form: a replay in another form would pass deduplication.

    PyJWT rejects all other forms except padding, which a signed token never has (RFC 7515, section 2).
    """
    return len(token) <= _MAX_TOKEN_LENGTH and not token.endswith("=")


def _signed_claims(token: str, key: VerificationKey) -> dict[str, Any]:
    # The times are checked by the caller's clock, below; PyJWT checks the signature only.
    options: Any = {"verify_signature": True} | dict.fromkeys(
        ("verify_iat", "verify_exp", "verify_nbf", "verify_aud", "verify_iss", "verify_sub", "verify_jti"),
        False,
    )
    try:
        claims: dict[str, Any] = jwt.decode(token, key.public_key, algorithms=[ALGORITHM], options=options)
    except jwt.InvalidSignatureError as error:
        raise RejectedError("bad_signature") from error
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
        raise RejectedError("malformed_token") from error
    return claims


def _issued_at(claims: dict[str, Any]) -> datetime:
    value = claims.get("iat")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RejectedError("malformed_token")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise RejectedError("malformed_token") from error


def _compare_hash(body: bytes, claimed: object) -> None:
    if not isinstance(claimed, str) or not claimed.isascii():
        raise RejectedError("malformed_token")
    if not hmac.compare_digest(hashlib.sha256(body).hexdigest(), claimed):
        raise RejectedError("body_mismatch")
