"""A Plaid on localhost, and the engine's clients of it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.credentials import PlaidSecret
from plaid_sync.plaid.items import PlaidItems
from plaid_sync.plaid.link import PlaidLinkClient
from plaid_sync.plaid.verification_keys import PlaidVerificationKeyApi

from local.plaid import PlaidServer, PlaidSimulator
from tests.fakes.aws import Secrets
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_CALLS = "/webhook_verification_key/get"
EXCHANGES = "/item/public_token/exchange"


@dataclass(frozen=True, slots=True)
class Plaid:
    """A Plaid, and the engine's clients of it.

    Attributes:
        secrets: Secrets Manager, which holds the credentials.
    """

    simulator: PlaidSimulator
    secrets: Secrets
    transport: PlaidTransport
    link: PlaidLinkClient
    items: PlaidItems
    key_api: PlaidVerificationKeyApi

    def store_secret(self, secret: str) -> None:
        self.secrets.text = json.dumps({"client_id": self.simulator.client_id, "secret": secret})


@contextmanager
def plaid_on_localhost() -> Iterator[Plaid]:
    simulator, secrets = PlaidSimulator(seed=7), Secrets()
    with PlaidServer(simulator) as server:
        secret = PlaidSecret(lambda: secrets, "plaid", FakeClock())  # type: ignore[arg-type,return-value] # a fake
        transport = PlaidTransport(server.base_url, secret)
        clients = PlaidLinkClient(transport), PlaidItems(transport, "sandbox")
        plaid = Plaid(simulator, secrets, transport, *clients, PlaidVerificationKeyApi(server.base_url, secret))
        plaid.store_secret(simulator.secret)
        yield plaid
