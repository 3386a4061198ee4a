"""A webhook that was captured, and whether it is Plaid's: the engine's own verification, told check by check."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import jwt
from plaid_sync.adapters.plaid.verification_key_api import parse_key
from plaid_sync.core import exact_json
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.webhooks.receiver import UnusableError, parse_webhook
from plaid_sync.core.webhooks.verification import CLOCK_SKEW, MAXIMUM_AGE, RejectedError, key_id_of, verify

from plaid_sync_cli.errors import usage_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.core.webhooks.verification import VerificationKey

HEADER: Final = "plaid-verification"
_SHAPE: Final = (
    'It must hold JSON: {"headers": {"Plaid-Verification": ...}, "body": "..."}, or an event of API Gateway.'
)


@dataclass(frozen=True, slots=True)
class Captured:
    """A webhook as it was delivered.

    Attributes:
        body: exactly the bytes.
        token: the header Plaid-Verification, if there was one.
        arrived_at: when, where the capture says so.
    """

    body: bytes
    token: str | None
    arrived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One step of the verification.

    Attributes:
        result: `ok`, `failed` or `not reached`.
    """

    name: str
    result: str
    explanation: str


_CHECKS: Final = (
    (("missing_header",), "the header Plaid-Verification is there"),
    (("malformed_token", "wrong_algorithm"), "it is a token of ES256 that names a key"),
    (("unknown_key",), "Plaid knows the key"),
    (("expired_key",), "the key has not expired"),
    (("bad_signature", "malformed_claims"), "the signature fits the key"),
    (("issued_in_future", "stale"), "it was signed in the last five minutes"),
    (("body_mismatch",), "the body is the one that was signed"),
)
_WHY: Final = {
    "missing_header": "There is no such header: it does not come from Plaid, or something on the way drops headers.",
    "malformed_token": "The header is no such token: forged, or damaged on the way.",
    "wrong_algorithm": "Plaid signs with ES256 and nothing else: forged.",
    "unknown_key": "Plaid has no key of this id in this environment: forged, or of the other environment.",
    "expired_key": "Plaid no longer signs with this key: forged, or very late.",
    "bad_signature": "Not signed with that key: forged.",
    "malformed_claims": "It is signed, and does not say when, or of which body: not Plaid's webhooks.",
    "issued_in_future": "The clock that judges is behind, or the token is forged.",
    "stale": "Too old: replayed, delayed, or the clock that judges is ahead. --at judges as of another time.",
    "body_mismatch": "These bytes were not signed: changed on the way, or parsed and written again.",
}


def read_capture(data: bytes) -> Captured:
    """Read a captured webhook.

    Raises:
        CommandError: it is none.
    """
    try:
        document = exact_json.loads(data)
    except exact_json.InvalidJsonError as error:
        raise usage_error("FILE is not JSON", _SHAPE) from error
    if not isinstance(document, dict) or not isinstance(document.get("headers"), dict):
        raise usage_error("FILE has no headers", _SHAPE)
    if not isinstance(document.get("body"), str):
        raise usage_error("FILE has no body that is a text", _SHAPE)
    headers = {str(name).lower(): value for name, value in document["headers"].items()}
    token = headers.get(HEADER)
    if token is not None and not isinstance(token, str):
        raise usage_error("FILE: the header Plaid-Verification is not a text", _SHAPE)
    return Captured(_bytes(document), token, _arrival(document))


def _bytes(document: dict[str, Any]) -> bytes:
    if not document.get("isBase64Encoded"):
        return str(document["body"]).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(document["body"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise usage_error("FILE: the body is not base64, though isBase64Encoded says so", _SHAPE) from error


def _arrival(document: dict[str, Any]) -> datetime | None:
    context = document.get("requestContext")
    epoch = context.get("timeEpoch") if isinstance(context, dict) else None
    return datetime.fromtimestamp(epoch / 1000, UTC) if isinstance(epoch, int) else None


def read_key(data: bytes) -> VerificationKey:
    """Read a JWK, as Plaid's `/webhook_verification_key/get` answers it or bare.

    Raises:
        CommandError: it is none that can verify a webhook.
    """
    try:
        document = exact_json.loads(data)
        jwk = document.get("key", document)
        return parse_key(str(jwk["kid"]), {"key": jwk})
    except (exact_json.InvalidJsonError, RetryableError, AttributeError, KeyError, TypeError) as error:
        raise usage_error("--key is not a JWK for ES256 with a kid", "Give Plaid's key as JSON.") from error


def judge(captured: Captured, fetch: Callable[[str], VerificationKey | None], now: datetime) -> str | None:
    """Verify; return the reason of the rejection, None for a webhook that is Plaid's.

    Args:
        captured: the webhook.
        fetch: returns the key of an id, None where there is none.
        now: as of when.
    """
    try:
        key_id = key_id_of(captured.token)
    except RejectedError as error:
        return error.reason
    key = fetch(key_id)
    try:
        verify(captured.body, captured.token, {} if key is None else {key.key_id: key}, now)
    except RejectedError as error:
        # What the header can be accused of is behind us.
        return "malformed_claims" if error.reason == "malformed_token" else error.reason
    return None


def checks(captured: Captured, reason: str | None, now: datetime) -> list[Check]:
    """Return each check with its result, in the order in which they are made."""
    made: list[Check] = []
    failed = False
    for reasons, name in _CHECKS:
        if failed:
            made.append(Check(name, "not reached", ""))
        elif reason in reasons:
            failed = True
            made.append(Check(name, "failed", f"{_WHY[str(reason)]}{_evidence(captured, str(reason), now)}"))
        else:
            made.append(Check(name, "ok", ""))
    return made


def _evidence(captured: Captured, reason: str, now: datetime) -> str:
    if reason in {"stale", "issued_in_future"}:
        seconds = round(now.timestamp() - float(_claims(captured.token)["iat"]))
        limits = f"{round(MAXIMUM_AGE.total_seconds())} s old to {round(CLOCK_SKEW.total_seconds())} s ahead"
        return f" Signed {seconds:,} s before {now:%Y-%m-%d %H:%M:%S} UTC; allowed: {limits}."
    if reason == "body_mismatch":
        found = hashlib.sha256(captured.body).hexdigest()
        return f" Signed: {_claims(captured.token).get('request_body_sha256')}, these bytes: {found}."
    return ""


def _claims(token: str | None) -> dict[str, Any]:
    """Return what a token claims, unverified: to be shown, and for nothing else."""
    claims: dict[str, Any] = jwt.decode(str(token), options={"verify_signature": False, "verify_iat": False})
    return claims


def asks_for(body: bytes) -> str:
    """Say what a proven webhook leads to."""
    try:
        webhook = parse_webhook(body)
    except UnusableError as error:
        return f"answered 400: {error}"
    what = f"{webhook.webhook_type} {webhook.webhook_code} of {webhook.item_id or 'no Item'}"
    return f"{what}: {'queued, a sync follows' if webhook.is_queued else 'acknowledged, and only recorded'}"
