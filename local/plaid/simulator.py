"""The simulator as its users hold it: everything that can be done to this Plaid from Python."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from local.plaid.evolution import HistoryOperations
from local.plaid.faults import Drop, Fault
from local.plaid.sessions import LinkSessionOperations
from local.plaid.syncing import SyncOperations
from local.plaid.webhooks import payload

if TYPE_CHECKING:
    from local.plaid.delivery import Delivery
    from local.plaid.wire import JsonObject


class PlaidSimulator(LinkSessionOperations, SyncOperations, HistoryOperations):
    """A Plaid of one's own. `PlaidServer` puts it on a port; without one, `start` runs its background work."""

    def fire_webhook(self, item_id: str, webhook_type: str, webhook_code: str, **extra: object) -> bool:
        """Send any webhook about an Item, with the code's own fields overridden or extended by `extra`."""
        with self.lock:
            return self.emit(self.items[item_id], webhook_type, webhook_code, **extra)

    def draft_webhook(self, item_id: str, webhook_type: str, webhook_code: str) -> JsonObject:
        """Return the body of any webhook about an Item, which is not sent."""
        with self.lock:
            return payload(self.items[item_id], webhook_type, webhook_code, self.behaviour.environment, self.clock())

    def webhooks(self, item_id: str | None = None) -> list[Delivery]:
        """Return every webhook so far (of one Item), with its attempts and state."""
        with self.lock:
            deliveries = list(self.courier.deliveries)
        return [delivery for delivery in deliveries if item_id in (None, delivery.payload["item_id"])]

    def hold_webhooks(self) -> None:
        """Keep webhooks back until `release_webhooks`."""
        self.courier.hold()

    def release_webhooks(self, order: str = "fifo") -> int:
        """Send what was kept back in order `fifo`, `lifo` or `shuffled`; return how many webhooks that is."""
        return self.courier.release(order)

    def lose_webhooks(self, count: int = 1) -> None:
        """Never send the next webhooks."""
        self.courier.lose_next(count)

    def duplicate_webhooks(self, count: int = 1) -> None:
        """Send each of the next webhooks twice."""
        self.courier.duplicate_next(count)

    def resend_webhook(self, delivery: Delivery) -> None:
        """Send a webhook's body once more, signed now, whatever became of it before."""
        self.courier.resend(delivery)

    def sign(self, body: bytes, iat: datetime | float | None = None, kid: str | None = None) -> str:
        """Return a Plaid-Verification token for any body; an unknown `kid` makes it a forgery."""
        with self.lock:
            return self.keys.sign(body, iat, kid)

    def forge(self, body: bytes, alg: str, iat: datetime | float | None = None) -> str:
        """Return a token that must be refused: `none`, `HS256` keyed with the public key, or another `ES256` key."""
        with self.lock:
            return self.keys.forge(body, alg, iat)

    def rotate_keys(self, overlap: float | timedelta = 0) -> str:
        """Sign with a new key from now on; return its id. The old key expires after `overlap` (seconds)."""
        with self.lock:
            return self.keys.rotate(overlap if isinstance(overlap, timedelta) else timedelta(seconds=overlap))

    def expire_key(self, kid: str) -> None:
        """Expire a key now."""
        with self.lock:
            self.keys.expire(kid)

    def inject_fault(  # noqa: PLR0913 - one keyword for each thing that can go wrong
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
        """Make the next calls to an endpoint fail, wait or break off (see `Fault`)."""
        self.plan_fault(Fault(endpoint, error_code, status, times, skip, item_id, delay, drop, body, retry_after))

    def plan_fault(self, fault: Fault) -> None:
        """Plan a fault."""
        with self.lock:
            self.faults.add(replace(fault))

    def clear_faults(self) -> None:
        """Forget every fault that has not struck yet."""
        with self.lock:
            self.faults.clear()
