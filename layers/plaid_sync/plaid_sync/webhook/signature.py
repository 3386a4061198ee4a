"""Signature verification of webhooks: pure, over the raw bytes, before any JSON of the body is read.

Plaid signs the SHA-256 of the body with ES256 (https://plaid.com/docs/api/webhooks/webhook-verification/). The body is
pretty-printed JSON, so only the bytes as delivered hash to the claim.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import PlaidSyncError
from plaid_sync.domain.text import is_printable_ascii
from plaid_sync.webhook import es256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

MAX_AGE: Final = timedelta(minutes=5)
CLOCK_SKEW: Final = timedelta(seconds=5)
"""How far Plaid's clock may be ahead of ours; both are synchronized by NTP."""
MAX_BODY_BYTES: Final = 64 * 1024
"""Plaid's webhooks have some hundred bytes, a few of them some KB."""
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


@dataclass(frozen=True, slots=True)
class Signature:
    """What a `Plaid-Verification` header says, of which nothing is verified.

    Attributes:
        key_id: the key that it claims to be made with.
    """

    key_id: str
    token: es256.Token


def require_size(size: int) -> None:
    """Reject a body that is larger than any of Plaid's, before anything is done with it: to hash it takes time.

    Args:
        size: of the body, in bytes; or what it has at least.

    Raises:
        RejectedError: `body_too_large`.
    """
    if size > MAX_BODY_BYTES:
        raise RejectedError("body_too_large")


def parse_signature(header: str | None) -> Signature:
    """Parse a `Plaid-Verification` header, with the checks that need no key.

    Only the one canonical form of a token is accepted: a replay in another form would pass deduplication.

    Raises:
        RejectedError: `missing_header`, `malformed_token` or `wrong_algorithm`.
    """
    if not header:
        raise RejectedError("missing_header")
    if len(header) > _MAX_TOKEN_LENGTH:
        raise RejectedError("malformed_token")
    try:
        token = es256.parse_token(header)
    except ValueError as error:
        raise RejectedError("malformed_token") from error
    key_id = token.header.get("kid")
    if not is_printable_ascii(key_id):
        raise RejectedError("malformed_token")
    if token.header.get("alg") != es256.ALGORITHM:
        raise RejectedError("wrong_algorithm")
    return Signature(key_id, token)


def verify(
    body: bytes, signature: Signature, key: VerificationKey, now: datetime, max_age: timedelta = MAX_AGE
) -> datetime:
    """Verify that Plaid sent `body`, within the last five minutes, and return when it signed it.

    Args:
        body: the bytes exactly as delivered.
        signature: what came with it.
        key: Plaid's key with the id that the signature names.
        now: the current time, aware.
        max_age: of the signature. A caller that raises it has to reject what is older than `MAX_AGE` itself.

    Raises:
        RejectedError: it is not verified; the reason says why.
    """
    if key.key_id != signature.key_id:
        raise RejectedError("unknown_key")
    if key.is_expired(now):
        raise RejectedError("expired_key")
    if not signature.token.is_signed_with(key.public_key):
        raise RejectedError("bad_signature")
    claims = read_claims(signature)
    issued_at = _issued_at(claims)
    if issued_at > now + CLOCK_SKEW:
        raise RejectedError("issued_in_future")
    if now - issued_at > max_age:
        raise RejectedError("stale")
    _compare_hash(body, claims.get("request_body_sha256"))
    return issued_at


def read_claims(signature: Signature) -> dict[str, Any]:
    """Read the claims, verified or not.

    Raises:
        RejectedError: `malformed_token`.
    """
    try:
        claims = exact_json.loads(signature.token.payload)
    except exact_json.InvalidJsonError as error:
        raise RejectedError("malformed_token") from error
    if not isinstance(claims, dict):
        raise RejectedError("malformed_token")
    return claims


def _issued_at(claims: dict[str, Any]) -> datetime:
    value = claims.get("iat")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RejectedError("malformed_token")
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise RejectedError("malformed_token") from error


def _compare_hash(body: bytes, claimed: object) -> None:
    if not isinstance(claimed, str) or not claimed.isascii():
        raise RejectedError("malformed_token")
    if not hmac.compare_digest(hashlib.sha256(body).hexdigest(), claimed):
        raise RejectedError("body_mismatch")
