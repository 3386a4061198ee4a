"""Plaid as an operator's machine asks it: with the keys in the stack's secret, and never for an Item's data."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import urllib3
from plaid_sync.adapters.aws import utc_now
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.errors import error_code
from plaid_sync.adapters.plaid.verification_key_api import PlaidVerificationKeyApi
from plaid_sync.core import exact_json

from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from plaid_sync.adapters.plaid.credentials import PlaidCredentials, PlaidKeys

    from plaid_sync_cli.deployment import Deployment

_TIMEOUT: Final = urllib3.Timeout(connect=3, read=15)


@dataclass(frozen=True, slots=True)
class GivenKeys:
    """Keys that need not be read from anywhere; fulfils `PlaidKeys`."""

    credentials: PlaidCredentials

    def get(self) -> PlaidCredentials:
        """Return them."""
        return self.credentials

    def forget(self) -> None:
        """Keep them: there are no newer ones."""


@dataclass(frozen=True, slots=True)
class Plaid:
    """Plaid's API.

    Attributes:
        host: scheme and host.
        secret: the stack's keys, or others of the same client.
    """

    host: str
    secret: PlaidKeys
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    @classmethod
    def of(cls, deployment: Deployment) -> Plaid:
        """Return the Plaid that a deployment talks to, with its keys."""
        secret_id = deployment.output("PlaidSecretId")
        return cls(deployment.plaid_host, PlaidSecret(lambda: deployment.client("secretsmanager"), secret_id, utc_now))

    @property
    def keys(self) -> PlaidVerificationKeyApi:
        """Where Plaid's public keys are had from, as the webhook function does it."""
        return PlaidVerificationKeyApi(self.host, self.secret, self.http)

    def call(self, path: str, **fields: object) -> Any:  # noqa: ANN401 - JSON
        """Make a call.

        Raises:
            CommandError: Plaid refuses; its code is in the message.
            RetryableError: the secret can't be read.
            urllib3.exceptions.HTTPError: Plaid can't be reached.
        """
        credentials = self.secret.get()
        body = {"client_id": credentials.client_id, "secret": credentials.secret, **fields}
        answer = self._post(path, exact_json.dumps(body).encode())
        try:
            document = exact_json.loads(answer.data)
        except exact_json.InvalidJsonError:
            document = {}
        if answer.status == HTTPStatus.OK:
            return document
        code = error_code(document, answer.status)
        raise CommandError(
            f"Plaid answered {path} with {code} (request_id {document.get('request_id', 'none')})",
            "See https://plaid.com/docs/errors/; plaid-sync doctor checks the keys.",
            ExitCode.UNREACHABLE,
        )

    def clock(self) -> tuple[datetime, timedelta]:
        """Return Plaid's time, to the second, and how far it is ahead of this machine's."""
        answer = self._post("/", b"{}")
        theirs = parsedate_to_datetime(answer.headers["date"])
        return theirs, theirs - utc_now()

    def _post(self, path: str, body: bytes) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/json"}
        return self.http.request("POST", f"{self.host}{path}", body=body, headers=headers, timeout=_TIMEOUT)
