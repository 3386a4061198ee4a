"""The subject of `tests/events`: Items that no stack knows, at one moment, signed by `local.plaid --seed 7`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from local.events.subject import LinkSession
from local.plaid import PlaidSimulator, SimulatedClock
from local.plaid.webhooks import payload

SEED = 7
WRITTEN_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEBHOOK_URL = "https://example.execute-api.us-east-1.amazonaws.com/webhooks/plaid"


class FixedSubject:
    """The same Items and keys each time."""

    item_id = "item-a"
    other_item_id = "item-b"

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._plaid = PlaidSimulator(seed=SEED, clock=SimulatedClock(now))
        linked = self._plaid.link_item(webhook_url=WEBHOOK_URL)
        self._item = self._plaid.item(linked.item_id)

    def body(self, kind: str, code: str) -> bytes:
        """Return a webhook's body."""
        return json.dumps(payload(self._item, kind, code, "sandbox", self.now), indent=2).encode()

    def sign(self, body: bytes) -> str:
        """Return the token of `Plaid-Verification`."""
        return self._plaid.sign(body)

    def forge(self, body: bytes) -> str:
        """Return a token in the name of Plaid's key, by another one."""
        return self._plaid.forge(body, "ES256")

    def public_token(self) -> str:
        """Return a token that no Plaid has issued."""
        return "public-sandbox-00000000"

    def link_session(self) -> LinkSession:
        """Return a session that no Plaid knows."""
        return LinkSession("link-sandbox-00000000", "user-17", self.public_token())
