"""Plaid's /webhook_verification_key/get with urllib3 alone: the webhook function does without plaid-python."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import jwt
import urllib3
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from plaid_sync.adapters.plaid.errors import error_code
from plaid_sync.adapters.plaid.observing import observed, unobserved
from plaid_sync.core import exact_json
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.webhooks.verification import ALGORITHM, VerificationKey

if TYPE_CHECKING:
    from plaid_sync.adapters.plaid.credentials import PlaidCredentials, PlaidKeys
    from plaid_sync.ports.common import PlaidCalls

_TIMEOUT: Final = urllib3.Timeout(connect=0.5, read=1.5)
_OK: Final = 200
_UNKNOWN_KEY_CODES: Final = frozenset({"INVALID_WEBHOOK_VERIFICATION_KEY_ID", "INVALID_FIELD"})


@dataclass(frozen=True, slots=True)
class PlaidVerificationKeyApi:
    """Fetches keys; fulfils `VerificationKeyApi`.

    Attributes:
        host: scheme and host of Plaid's API.
        tell: is told how each call went.
    """

    host: str
    secret: PlaidKeys
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))
    tell: PlaidCalls = unobserved

    def fetch(self, key_id: str) -> VerificationKey | None:
        """See `ports.webhooks.VerificationKeyApi`."""
        credentials = self.secret.get()
        try:
            with observed(self.tell):
                return self._ask(key_id, credentials)
        except PlaidError as error:
            self.secret.forget()
            raise RetryableError(f"verification_key_{error.code}") from error

    def _ask(self, key_id: str, credentials: PlaidCredentials) -> VerificationKey | None:
        body = {"client_id": credentials.client_id, "secret": credentials.secret, "key_id": key_id}
        try:
            answer = self.http.request(
                "POST",
                f"{self.host}/webhook_verification_key/get",
                body=exact_json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT,
            )
            document = exact_json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, exact_json.InvalidJsonError) as error:
            raise RetryableError(f"verification_key_{type(error).__name__}") from error
        if answer.status == _OK:
            return parse_key(key_id, document)
        code = error_code(document, answer.status)
        if code in _UNKNOWN_KEY_CODES:
            return None
        raise PlaidError(code)


def parse_key(key_id: str, document: Any) -> VerificationKey:  # noqa: ANN401 - foreign JSON
    """Read Plaid's answer, `{"key": JWK}`.

    Raises:
        RetryableError: it has no P-256 key for ES256, which is all that we can use.
    """
    try:
        jwk = document["key"]
        expired_at = jwk.get("expired_at")
        public_key = jwt.PyJWK.from_dict(jwk, algorithm=ALGORITHM).key
        expiry = None if expired_at is None else _moment(expired_at)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RetryableError("verification_key_malformed") from error
    if not isinstance(public_key, EllipticCurvePublicKey) or not isinstance(public_key.curve, SECP256R1):
        raise RetryableError("verification_key_malformed")
    return VerificationKey(key_id, public_key, expiry)


def _moment(seconds: object) -> datetime:
    """Read a time in whole seconds; a fraction or an exponent is none, and could take forever to write out."""
    if not isinstance(seconds, int):
        raise TypeError("not a whole number")
    return datetime.fromtimestamp(seconds, UTC)
