"""The simulator: every operation that tests can perform on this Plaid from Python."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.plaid.faults import Fault
from local.plaid.link_sessions import LinkSessionOperations
from local.plaid.sync import SyncOperations
from local.plaid.transactions import TransactionOperations
from local.plaid.webhooks import payload

if TYPE_CHECKING:
    from local.plaid.delivery import Delivery
    from local.plaid.wire import JsonObject


class PlaidSimulator(LinkSessionOperations, SyncOperations, TransactionOperations):
    """A simulated Plaid. `PlaidServer` serves it over HTTP; without a server, `start` runs its background work."""

    def fire_webhook(self, item_id: str, webhook_type: str, webhook_code: str, **extra: object) -> bool:
        """Send a webhook about an Item; `extra` overrides or adds fields. Return False if it has no webhook URL."""
        with self.lock:
            return self.emit(self.items[item_id], webhook_type, webhook_code, **extra)

    def draft_webhook(self, item_id: str, webhook_type: str, webhook_code: str) -> JsonObject:
        with self.lock:
            return payload(self.items[item_id], webhook_type, webhook_code, self.clock())

    def webhooks(self, item_id: str | None = None) -> list[Delivery]:
        """Return every webhook (of one Item), with its attempts and state."""
        with self.lock:
            deliveries = list(self.sender.deliveries)
        return [delivery for delivery in deliveries if item_id in (None, delivery.payload.get("item_id"))]

    def hold_webhooks(self) -> None:
        self.sender.holding = True

    def release_webhooks(self, order: str = "fifo") -> int:
        """Send the held webhooks in order `fifo` or `lifo`; return their number."""
        return self.sender.release(order)

    def lose_webhooks(self, count: int = 1) -> None:
        self.sender.lose_next += count

    def sign(self, body: bytes, iat: datetime | float | None = None, kid: str | None = None) -> str:
        """Return a Plaid-Verification token for any body; an unknown `kid` makes it a forgery."""
        with self.lock:
            return self.keys.sign(body, iat, kid)

    def forge(self, body: bytes, alg: str, iat: datetime | float | None = None) -> str:
        """Return a forged token: `none`, `HS256` (keyed with the public key) or `ES256` (another private key)."""
        with self.lock:
            return self.keys.forge(body, alg, iat)

    def rotate_keys(self, overlap: float | timedelta = 0) -> str:
        """Replace the signing key; return the new id. The old key expires after `overlap` (seconds)."""
        with self.lock:
            return self.keys.rotate(overlap if isinstance(overlap, timedelta) else timedelta(seconds=overlap))

    def inject_fault(self, endpoint: str = "*", error_code: str | None = None, **effects: Any) -> None:  # noqa: ANN401
        """Make the next calls to an endpoint fail, wait or lose their connection (see `Fault`)."""
        with self.lock:
            self.faults.add(Fault(endpoint, error_code, **effects))

    def clear_faults(self) -> None:
        with self.lock:
            self.faults.clear()
