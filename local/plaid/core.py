"""The state that every part of the simulator shares, behind one lock."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from local.plaid import identifiers, webhooks
from local.plaid.behaviour import Behaviour
from local.plaid.clock import Clock, utc_now
from local.plaid.delivery import Courier
from local.plaid.errors import PlaidError
from local.plaid.faults import FaultPlan
from local.plaid.keys import KeyRing
from local.plaid.limits import RateLimiter
from local.plaid.scheduling import Scheduler

if TYPE_CHECKING:
    from local.plaid.items import Item, LinkToken, PublicToken


class SimulatorCore:
    """Items, tokens, keys, counters and switches; subclasses add what can be done with them."""

    def __init__(
        self,
        seed: int = 7,
        clock: Clock = utc_now,
        client_id: str = "local-client-id",
        secret: str = "local-secret",  # noqa: S107 - the well-known credentials of a local server
        behaviour: Behaviour | None = None,
    ) -> None:
        self.seed = seed
        self.clock = clock
        self.client_id = client_id
        self.secret = secret
        self.behaviour = behaviour or Behaviour()
        self.lock = threading.RLock()
        self.scheduler = Scheduler(clock)
        self.keys = KeyRing(self.random("keys"), clock)
        self.courier = Courier(self.keys, clock, self.scheduler, self.random("courier"), lambda: self.behaviour)
        self.limits = RateLimiter()
        self.faults = FaultPlan()
        self.items: dict[str, Item] = {}
        self.public_tokens: dict[str, PublicToken] = {}
        self.link_tokens: dict[str, LinkToken] = {}
        self._access: dict[str, Item] = {}
        self._calls: Counter[str] = Counter()
        self._ids = self.random("ids")
        self._session_ids = self.random("link sessions")
        self._request_ids = self.random("requests")
        self.cursor_key = self.random("cursors").randbytes(32)

    def random(self, purpose: str) -> Random:
        """Return a generator of its own for one purpose, so that purposes do not disturb each other."""
        return Random(f"{self.seed}:{purpose}")  # noqa: S311 # nosec B311 - reproducible on purpose

    def configure(self, **switches: object) -> None:
        """Change switches of `Behaviour` from now on."""
        with self.lock:
            self.behaviour = replace(self.behaviour, **switches)  # type: ignore[arg-type] # checked by replace()

    def start(self) -> None:
        """Deliver webhooks and move phases in the background."""
        self.scheduler.start()

    def stop(self) -> None:
        """Stop the background work."""
        self.scheduler.stop()
        self.courier.close()

    def run_due(self) -> int:
        """Do everything that is due by the clock, here and now; return how many things that were."""
        return self.scheduler.run_due()

    def wait_idle(self, timeout: float = 10.0) -> bool:
        """Wait until the background work has nothing due; False if that takes longer than `timeout` seconds."""
        return self.scheduler.wait_idle(timeout)

    @property
    def calls(self) -> Counter[str]:
        """How many calls reached each endpoint so far (a copy)."""
        with self.lock:
            return Counter(self._calls)

    def count_call(self, endpoint: str) -> None:
        """Count a call to an endpoint."""
        with self.lock:
            self._calls[endpoint] += 1

    def reset_calls(self) -> None:
        """Start counting calls from zero."""
        with self.lock:
            self._calls.clear()

    def request_id(self) -> str:
        """Return a new request id."""
        with self.lock:
            return identifiers.request_id(self._request_ids)

    def item_ids(self) -> list[str]:
        """Return the ids of all Items that were not removed, oldest first."""
        with self.lock:
            return [item_id for item_id, item in self.items.items() if not item.removed]

    def item(self, item_id: str) -> Item:
        """Return an Item's state (removed Items too)."""
        with self.lock:
            return self.items[item_id]

    def item_by_token(self, access_token: str) -> Item:
        """Find the Item that an access token leads to.

        Raises:
            PlaidError: the token is unknown, or its Item was removed.
        """
        item = self._access.get(access_token)
        if item is None:
            raise PlaidError("INVALID_ACCESS_TOKEN", message=self._token_complaint(access_token, "access"))
        if item.removed:
            raise PlaidError("ITEM_NOT_FOUND")
        return item

    def _token_complaint(self, token: str, kind: str) -> str | None:
        environment = self.behaviour.environment
        other = token.split("-")[1] if token.count("-") > 1 and token.startswith(f"{kind}-") else None
        if other is None:
            expected = f"{kind}-<environment>-<identifier>"
            return f"provided {kind} token is in an invalid format. expected format: {expected}"
        if other != environment:
            return f'provided {kind} token is for the wrong Plaid environment. expected "{environment}", got "{other}"'
        return None

    def emit(self, item: Item, webhook_type: str, webhook_code: str, **extra: object) -> bool:
        """Send a webhook about an Item; False if it has nowhere to go. A field in `extra` may be `OMITTED`."""
        if item.webhook_url is None:
            return False
        now = self.clock()
        body = webhooks.payload(item, webhook_type, webhook_code, self.behaviour.environment, now)
        item.last_webhook = (now, webhook_code)
        fields = {**body, **extra}
        self.courier.send(
            item.webhook_url, {name: value for name, value in fields.items() if value is not webhooks.OMITTED}
        )
        return True
