"""Plaid's client_id and secret, from Secrets Manager, kept for minutes so that a rotation is picked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.aws.clients import aws_errors
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_secretsmanager import SecretsManagerClient

    from plaid_sync.domain.clock import Clock

CREDENTIALS_TTL: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class PlaidCredentials:
    """Plaid's client_id and secret."""

    client_id: str
    secret: str = field(repr=False)


class CredentialsSource(Protocol):
    """The source of the credentials."""

    def get(self) -> PlaidCredentials:
        """Return the credentials.

        Raises:
            TransientError: no usable credentials exist.
        """

    def forget(self) -> None:
        """Read newer ones next time: Plaid refused these."""


@dataclass(slots=True)
class PlaidSecret:
    """Reads the secret when it is first needed; implements `CredentialsSource`.

    Attributes:
        connect: creates the client, so that a function that never needs the secret never pays for it.
    """

    connect: Callable[[], SecretsManagerClient]
    secret_id: str
    clock: Clock
    _cached: PlaidCredentials | None = None
    _expires_at: datetime | None = None
    _client: SecretsManagerClient | None = None

    def get(self) -> PlaidCredentials:
        """Return the credentials.

        Raises:
            TransientError: the secret cannot be read, or is not `{"client_id", "secret"}`.
        """
        now = self.clock.now()
        if self._cached is None or self._expires_at is None or now >= self._expires_at:
            self._cached, self._expires_at = self._read(), now + CREDENTIALS_TTL
        return self._cached

    def forget(self) -> None:
        """Read again next time: Plaid refused these."""
        self._cached = None

    def _read(self) -> PlaidCredentials:
        self._client = self._client or self.connect()
        with aws_errors():
            response = self._client.get_secret_value(SecretId=self.secret_id)
        try:
            document = exact_json.loads(response["SecretString"])
            client_id, secret = document["client_id"], document["secret"]
        except (exact_json.InvalidJsonError, KeyError, TypeError) as error:
            raise TransientError("plaid_secret_malformed") from error
        if not isinstance(client_id, str) or not isinstance(secret, str):
            raise TransientError("plaid_secret_malformed")
        return PlaidCredentials(client_id, secret)
