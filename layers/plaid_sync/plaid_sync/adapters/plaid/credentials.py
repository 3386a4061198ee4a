"""Plaid's client_id and secret, from Secrets Manager, kept for minutes so that a rotation is picked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.core import exact_json
from plaid_sync.core.failures import RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_secretsmanager import SecretsManagerClient

    from plaid_sync.ports.common import Clock

KEPT_FOR: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class PlaidCredentials:
    """What authenticates us to Plaid."""

    client_id: str
    secret: str = field(repr=False)


class PlaidKeys(Protocol):
    """Where credentials come from."""

    def get(self) -> PlaidCredentials:
        """Return them.

        Raises:
            RetryableError: there are none that can be used.
        """

    def forget(self) -> None:
        """Look for newer ones next time: Plaid has refused these."""


@dataclass(slots=True)
class PlaidSecret:
    """Reads the secret when it is first needed; fulfils `PlaidKeys`.

    Attributes:
        connect: makes the client, so that a function that never needs the secret never pays for one.
    """

    connect: Callable[[], SecretsManagerClient]
    secret_id: str
    clock: Clock
    _kept: PlaidCredentials | None = None
    _kept_until: datetime | None = None
    _client: SecretsManagerClient | None = None

    def get(self) -> PlaidCredentials:
        """Return the credentials.

        Raises:
            RetryableError: the secret can't be read, or is not `{"client_id", "secret"}`.
        """
        now = self.clock()
        if self._kept is None or self._kept_until is None or now >= self._kept_until:
            self._kept, self._kept_until = self._read(), now + KEPT_FOR
        return self._kept

    def forget(self) -> None:
        """Read again next time: Plaid has refused these."""
        self._kept = None

    def _read(self) -> PlaidCredentials:
        self._client = self._client or self.connect()
        with aws_errors():
            answer = self._client.get_secret_value(SecretId=self.secret_id)
        try:
            document = exact_json.loads(answer["SecretString"])
            client_id, secret = document["client_id"], document["secret"]
        except (exact_json.InvalidJsonError, KeyError, TypeError) as error:
            raise RetryableError("plaid_secret_malformed") from error
        if not isinstance(client_id, str) or not isinstance(secret, str):
            raise RetryableError("plaid_secret_malformed")
        return PlaidCredentials(client_id, secret)
