"""Verifies a captured webhook with the engine's own code, and explains the result check by check."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError
from plaid_sync.plaid.verification_keys import parse_key
from plaid_sync.webhook.receiver import UnprocessableWebhookError, parse_webhook
from plaid_sync.webhook.signature import (
    CLOCK_SKEW,
    MAX_AGE,
    MAX_BODY_BYTES,
    RejectedError,
    parse_signature,
    read_claims,
    require_size,
    verify,
)

from plaid_sync_cli.errors import usage_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.webhook.signature import VerificationKey

HEADER: Final = "plaid-verification"
_EXPECTED_FORM: Final = (
    'It must hold JSON: {"headers": {"Plaid-Verification": ...}, "body": "..."}, or an event of API Gateway.'
)


@dataclass(frozen=True, slots=True)
class CapturedWebhook:
    """A webhook as it was delivered.

    Attributes:
        body: the exact bytes.
        token: the header Plaid-Verification, if present.
        arrived_at: when it arrived; None if the file does not say.
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
    (("body_too_large",), "the body is not too large"),
    (("missing_header",), "the header Plaid-Verification is present"),
    (("malformed_token", "wrong_algorithm"), "it is an ES256 token with a key id"),
    (("unknown_key",), "Plaid has the key"),
    (("expired_key",), "the key has not expired"),
    (("bad_signature", "malformed_claims"), "the signature is valid"),
    (("issued_in_future", "stale"), "it was signed within five minutes"),
    (("body_mismatch",), "the body is the signed one"),
)
_EXPLANATIONS: Final = {
    "body_too_large": f"It has more than {MAX_BODY_BYTES:,} bytes, which no webhook of Plaid's has: forged.",
    "missing_header": "The header is missing: the request is not from Plaid, or a proxy drops headers.",
    "malformed_token": "The header is not a JWT: forged, or changed in transit.",
    "wrong_algorithm": "Plaid signs with ES256 only: forged.",
    "unknown_key": "Plaid has no key of this id in this environment: forged, or from another environment.",
    "expired_key": "Plaid no longer signs with this key: forged, or delayed.",
    "bad_signature": "It is not signed with this key: forged.",
    "malformed_claims": "The token lacks the time or the body's hash: not a webhook of Plaid's.",
    "issued_in_future": "The verifying clock is slow, or the token is forged.",
    "stale": "Too old: replayed, delayed, or the verifying clock is fast. --at verifies as of another time.",
    "body_mismatch": "These bytes were not signed: changed in transit, or parsed and serialized again.",
}


def parse_capture(data: bytes) -> CapturedWebhook:
    """Parse a captured webhook.

    Raises:
        CommandError: it is malformed.
    """
    try:
        document = exact_json.loads(data)
    except exact_json.InvalidJsonError as error:
        raise usage_error("FILE is not JSON", _EXPECTED_FORM) from error
    if not isinstance(document, dict) or not isinstance(document.get("headers"), dict):
        raise usage_error("FILE has no headers", _EXPECTED_FORM)
    if not isinstance(document.get("body"), str):
        raise usage_error("FILE has no body that is a string", _EXPECTED_FORM)
    headers = {str(name).lower(): value for name, value in document["headers"].items()}
    token = headers.get(HEADER)
    if token is not None and not isinstance(token, str):
        raise usage_error("FILE: the header Plaid-Verification is not a string", _EXPECTED_FORM)
    return CapturedWebhook(_bytes(document), token, _arrival(document))


def _bytes(document: dict[str, Any]) -> bytes:
    if not document.get("isBase64Encoded"):
        return str(document["body"]).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(document["body"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise usage_error("FILE: the body is not base64, although isBase64Encoded is true", _EXPECTED_FORM) from error


def _arrival(document: dict[str, Any]) -> datetime | None:
    context = document.get("requestContext")
    epoch = context.get("timeEpoch") if isinstance(context, dict) else None
    return datetime.fromtimestamp(epoch / 1000, UTC) if isinstance(epoch, int) else None


def parse_jwk(data: bytes) -> VerificationKey:
    """Parse a JWK: a response of Plaid's `/webhook_verification_key/get`, or its `key`.

    Raises:
        CommandError: it is not a key for ES256.
    """
    try:
        document = exact_json.loads(data)
        jwk = document.get("key", document)
        return parse_key(str(jwk["kid"]), {"key": jwk})
    except (exact_json.InvalidJsonError, TransientError, AttributeError, KeyError, TypeError) as error:
        raise usage_error("--key is not a JWK for ES256 with a kid", "Give Plaid's key as JSON.") from error


def rejection_reason(
    captured: CapturedWebhook, fetch: Callable[[str], VerificationKey | None], now: datetime
) -> str | None:
    """Verify a webhook; return why it is rejected, or None if it is Plaid's.

    Args:
        captured: the webhook.
        fetch: returns the key with an id, or None.
        now: the time of the verification.
    """
    try:
        require_size(len(captured.body))
        signature = parse_signature(captured.token)
    except RejectedError as error:
        return error.reason
    key = fetch(signature.key_id)
    if key is None:
        return "unknown_key"
    try:
        verify(captured.body, signature, key, now)
    except RejectedError as error:
        # The token was parsed above: only the claims can be malformed.
        return "malformed_claims" if error.reason == "malformed_token" else error.reason
    return None


def checks(captured: CapturedWebhook, reason: str | None, now: datetime) -> list[Check]:
    """Return all checks with their results, in order."""
    results: list[Check] = []
    failed = False
    for reasons, name in _CHECKS:
        if failed:
            results.append(Check(name, "not reached", ""))
        elif reason in reasons:
            failed = True
            results.append(
                Check(name, "failed", f"{_EXPLANATIONS[str(reason)]}{_evidence(captured, str(reason), now)}")
            )
        else:
            results.append(Check(name, "ok", ""))
    return results


def _evidence(captured: CapturedWebhook, reason: str, now: datetime) -> str:
    if reason in {"stale", "issued_in_future"}:
        seconds = round(now.timestamp() - float(_claims(captured.token)["iat"]))
        limits = f"{round(MAX_AGE.total_seconds())} s old to {round(CLOCK_SKEW.total_seconds())} s ahead"
        return f" Signed {seconds:,} s before {now:%Y-%m-%d %H:%M:%S} UTC; allowed: {limits}."
    if reason == "body_mismatch":
        found = hashlib.sha256(captured.body).hexdigest()
        return f" Signed: {_claims(captured.token).get('request_body_sha256')}, these bytes: {found}."
    return ""


def _claims(token: str | None) -> dict[str, Any]:
    """Return the unverified claims of a token, for display only."""
    return read_claims(parse_signature(token))


def describe_effect(body: bytes) -> str:
    """Return what a valid webhook leads to."""
    try:
        webhook = parse_webhook(body)
    except UnprocessableWebhookError as error:
        return f"rejected with 400: {error}"
    what = f"{webhook.webhook_type} {webhook.webhook_code} of {webhook.item_id or 'no Item'}"
    effects = {
        "queued for a sync": webhook.is_queued,
        "completes a link session": webhook.is_finished_link,
        "published": not (webhook.is_handled or webhook.is_finished_link),
    }
    return f"{what}: {', '.join(effect for effect, happens in effects.items() if happens)}"
