"""A client of Plaid's API for the operator's machine: it uses the stack's secret, and never reads an Item's data."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import urllib3
from plaid_sync.domain import exact_json
from plaid_sync.domain.clock import SystemClock, utc_now
from plaid_sync.plaid.credentials import PlaidSecret
from plaid_sync.plaid.observing import parse_error
from plaid_sync.plaid.verification_keys import PlaidVerificationKeyApi

from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from plaid_sync.plaid.credentials import CredentialsSource, PlaidCredentials

    from plaid_sync_cli.deployment import Deployment

SANDBOX_BANK: Final = "ins_109508"
"""Plaid's First Platypus Bank (https://plaid.com/docs/sandbox/institutions/)."""
_TIMEOUT: Final = urllib3.Timeout(connect=3, read=15)


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """Keys held in memory; implements `PlaidKeys`."""

    credentials: PlaidCredentials

    def get(self) -> PlaidCredentials:
        """Return them."""
        return self.credentials

    def forget(self) -> None:
        """Do nothing: there are no newer ones."""


@dataclass(frozen=True, slots=True)
class Plaid:
    """Plaid's API.

    Attributes:
        host: scheme and host.
        secret: the stack's keys, or others of the same client.
    """

    host: str
    secret: CredentialsSource
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    @classmethod
    def of(cls, deployment: Deployment) -> Plaid:
        """Return the Plaid API that a deployment calls, with its keys."""
        secret_id = deployment.output("PlaidSecretId")
        secret = PlaidSecret(lambda: deployment.client("secretsmanager"), secret_id, SystemClock())
        return cls(deployment.plaid_host, secret)

    @property
    def keys(self) -> PlaidVerificationKeyApi:
        """Fetches Plaid's public keys, as the webhook function does."""
        return PlaidVerificationKeyApi(self.host, self.secret, self.http)

    def call(self, path: str, **fields: object) -> Any:  # noqa: ANN401 - JSON
        """Call an endpoint.

        Raises:
            CommandError: Plaid returns an error; the message has its code.
            TransientError: the secret is not readable.
            urllib3.exceptions.HTTPError: Plaid is unreachable.
        """
        credentials = self.secret.get()
        body = {"client_id": credentials.client_id, "secret": credentials.secret, **fields}
        response = self._post(path, exact_json.dumps(body).encode())
        try:
            document = exact_json.loads(response.data)
        except exact_json.InvalidJsonError:
            document = {}
        if response.status == HTTPStatus.OK:
            return document
        error = parse_error(document, response.status, path)
        raise CommandError(
            f"Plaid returned {error.code} for {path} (request_id {error.request_id or 'none'})",
            "See https://plaid.com/docs/errors/; plaid-sync doctor checks the keys.",
            ExitCode.UNREACHABLE,
        )

    def create_sandbox_token(self, institution: str, webhook: str, days: int) -> str:
        """Return a public_token of a new Item of Plaid's sandbox."""
        created = self.call(
            "/sandbox/public_token/create",
            institution_id=institution,
            initial_products=["transactions"],
            options={"webhook": webhook, "transactions": {"days_requested": days}},
        )
        return str(created["public_token"])

    def clock(self) -> tuple[datetime, timedelta]:
        """Return Plaid's time, to the second, and how far it is ahead of this machine's clock."""
        response = self._post("/", b"{}")
        plaid_time = parsedate_to_datetime(response.headers["date"])
        return plaid_time, plaid_time - utc_now()

    def _post(self, path: str, body: bytes) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/json"}
        return self.http.request("POST", f"{self.host}{path}", body=body, headers=headers, timeout=_TIMEOUT)
