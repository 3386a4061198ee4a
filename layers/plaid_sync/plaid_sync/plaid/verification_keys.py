"""Plaid's /webhook_verification_key/get with urllib3 alone: the webhook function does not import plaid-python."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import urllib3

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.plaid.observing import no_op, observed, parse_error
from plaid_sync.webhook import es256
from plaid_sync.webhook.signature import VerificationKey

if TYPE_CHECKING:
    from plaid_sync.domain.ports import PlaidCallObserver
    from plaid_sync.plaid.credentials import CredentialsSource, PlaidCredentials

_PATH: Final = "/webhook_verification_key/get"
_TIMEOUT: Final = urllib3.Timeout(connect=0.5, read=1.5)
_OK: Final = 200
_UNKNOWN_KEY_CODES: Final = frozenset({"INVALID_WEBHOOK_VERIFICATION_KEY_ID", "INVALID_FIELD"})


@dataclass(frozen=True, slots=True)
class PlaidVerificationKeyApi:
    """Fetches keys; implements `VerificationKeyApi`.

    Attributes:
        host: scheme and host of Plaid's API.
        observer: is called with the result of each call.
    """

    host: str
    secret: CredentialsSource
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))
    observer: PlaidCallObserver = no_op

    def fetch(self, key_id: str) -> VerificationKey | None:
        """See `VerificationKeyApi`."""
        credentials = self.secret.get()
        try:
            with observed(self.observer):
                return self._look_up(key_id, credentials)
        except PlaidError as error:
            self.secret.forget()
            raise TransientError(f"verification_key_{error.code}") from error

    def _look_up(self, key_id: str, credentials: PlaidCredentials) -> VerificationKey | None:
        body = {"client_id": credentials.client_id, "secret": credentials.secret, "key_id": key_id}
        try:
            response = self.http.request(
                "POST",
                f"{self.host}{_PATH}",
                body=exact_json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT,
            )
            document = exact_json.loads(response.data)
        except (urllib3.exceptions.HTTPError, exact_json.InvalidJsonError) as error:
            raise TransientError(f"verification_key_{type(error).__name__}") from error
        if response.status == _OK:
            return parse_key(key_id, document)
        refusal = parse_error(document, response.status, _PATH)
        if refusal.code in _UNKNOWN_KEY_CODES:
            return None
        raise refusal


def parse_key(key_id: str, document: Any) -> VerificationKey:  # noqa: ANN401 - foreign JSON
    """Parse Plaid's response, `{"key": JWK}`.

    Raises:
        TransientError: it has no P-256 key for ES256, the only kind that Plaid signs with.
    """
    try:
        jwk = document["key"]
        expired_at = jwk.get("expired_at")
        public_key = es256.parse_jwk(jwk)
        expiry = None if expired_at is None else _expiry_of(expired_at)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TransientError("verification_key_malformed") from error
    return VerificationKey(key_id, public_key, expiry)


def _expiry_of(seconds: object) -> datetime:
    """Return a time in integer seconds; a number with an exponent could take forever to write out."""
    if not isinstance(seconds, int):
        raise TypeError("not an integer")
    return datetime.fromtimestamp(seconds, UTC)
