"""The simulator: every operation that tests can perform on this Plaid from Python."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from local.plaid.faults import Drop, Fault
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
        """Return the body of a webhook about an Item without sending it."""
        with self.lock:
            return payload(self.items[item_id], webhook_type, webhook_code, self.behavior.environment, self.clock())

    def webhooks(self, item_id: str | None = None) -> list[Delivery]:
        """Return every webhook (of one Item), with its attempts and state."""
        with self.lock:
            deliveries = list(self.sender.deliveries)
        return [delivery for delivery in deliveries if item_id in (None, delivery.payload["item_id"])]

    def hold_webhooks(self) -> None:
        """Hold all webhooks until `release_webhooks`."""
        self.sender.hold()

    def release_webhooks(self, order: str = "fifo") -> int:
        """Send the held webhooks in order `fifo`, `lifo` or `shuffled`; return their number."""
        return self.sender.release(order)

    def lose_webhooks(self, count: int = 1) -> None:
        """Lose the next webhooks: they are never sent."""
        self.sender.lose_next(count)

    def duplicate_webhooks(self, count: int = 1) -> None:
        """Send each of the next webhooks twice."""
        self.sender.duplicate_next(count)

    def resend_webhook(self, delivery: Delivery) -> None:
        """Send a webhook's body again, with a new signature."""
        self.sender.resend(delivery)

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

    def expire_key(self, kid: str) -> None:
        """Expire a key now."""
        with self.lock:
            self.keys.expire(kid)

    def inject_fault(  # noqa: PLR0913 - the attributes of a fault
        self,
        endpoint: str = "*",
        error_code: str | None = None,
        *,
        status: int | None = None,
        times: int = 1,
        skip: int = 0,
        item_id: str | None = None,
        delay: float = 0.0,
        drop: Drop | None = None,
        body: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        """Make the next calls to an endpoint fail, wait or lose their connection (see `Fault`)."""
        self.add_fault(Fault(endpoint, error_code, status, times, skip, item_id, delay, drop, body, retry_after))

    def add_fault(self, fault: Fault) -> None:
        """Inject a copy of a fault."""
        with self.lock:
            self.faults.add(replace(fault))

    def clear_faults(self) -> None:
        """Remove every fault that still applies."""
        with self.lock:
            self.faults.clear()
