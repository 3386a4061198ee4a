"""The state that all parts of the simulator share, behind one lock."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from local.plaid import webhooks, wire
from local.plaid.behavior import Behavior
from local.plaid.clock import Clock, Scheduler, utc_now
from local.plaid.delivery import WebhookSender
from local.plaid.errors import PlaidError
from local.plaid.faults import FaultInjector
from local.plaid.keys import KeyRing
from local.plaid.rate_limits import RateLimiter

if TYPE_CHECKING:
    from local.plaid.items import Item, LinkSession, LinkToken, PublicToken


# Takes the path, the request's body, the status and the response's body of a call to Plaid's API.
Observer = Callable[[str, bytes, int, bytes], object]


class SimulatorCore:
    """Items, tokens, keys, counters and switches; subclasses add operations on them."""

    def __init__(
        self,
        seed: int = 7,
        clock: Clock = utc_now,
        client_id: str = "local-client-id",
        secret: str = "local-secret",  # noqa: S107 - the well-known credentials of a local server
        behavior: Behavior | None = None,
    ) -> None:
        self.seed = seed
        self.clock = clock
        self.client_id = client_id
        self.secret = secret
        self.behavior = behavior or Behavior()
        self.lock = threading.RLock()
        self.scheduler = Scheduler(clock)
        self.keys = KeyRing(self.random("keys"), clock)
        self.sender = WebhookSender(self.keys, clock, self.scheduler, self.random("webhooks"), lambda: self.behavior)
        self.rate_limiter = RateLimiter()
        self.faults = FaultInjector()
        self.observer: Observer = lambda *_: None
        self.items: dict[str, Item] = {}
        self.public_tokens: dict[str, PublicToken] = {}
        self.link_tokens: dict[str, LinkToken] = {}
        self.access_tokens: dict[str, Item] = {}
        self._calls: Counter[str] = Counter()
        self._ids = self.random("ids")
        self._session_ids = self.random("link sessions")
        self._request_ids = self.random("requests")
        self.cursor_key = self.random("cursors").randbytes(32)

    def random(self, purpose: str) -> Random:
        """Return a seeded generator for one purpose, independent of all others."""
        return Random(f"{self.seed}:{purpose}")  # noqa: S311 # nosec B311 - reproducible on purpose

    def configure(self, **switches: object) -> None:
        with self.lock:
            self.behavior = replace(self.behavior, **switches)  # type: ignore[arg-type] # checked by replace()

    def start(self) -> None:
        self.scheduler.start()

    def stop(self) -> None:
        self.scheduler.stop()
        self.sender.close()

    def run_due(self) -> int:
        return self.scheduler.run_due()

    def wait_idle(self, timeout: float = 10.0) -> bool:
        """Wait until no background job is due; return False after `timeout` seconds."""
        return self.scheduler.wait_idle(timeout)

    @property
    def calls(self) -> Counter[str]:
        with self.lock:
            return Counter(self._calls)

    def count_call(self, endpoint: str) -> None:
        with self.lock:
            self._calls[endpoint] += 1

    def reset_calls(self) -> None:
        with self.lock:
            self._calls.clear()

    def request_id(self) -> str:
        with self.lock:
            return wire.request_id(self._request_ids)

    def new_token(self, kind: str) -> str:
        """Return a new token of this environment: `access`, `public` or `link`."""
        return f"{kind}-{webhooks.ENVIRONMENT}-{wire.uuid4(self._ids)}"

    def item_ids(self) -> list[str]:
        """Return the ids of all Items that were not removed, oldest first."""
        with self.lock:
            return [item_id for item_id, item in self.items.items() if not item.removed]

    def item(self, item_id: str) -> Item:
        with self.lock:
            return self.items[item_id]

    def item_by_token(self, access_token: str) -> Item:
        item = self.access_tokens.get(access_token)
        if item is None:
            raise PlaidError("INVALID_ACCESS_TOKEN", message=self._token_error(access_token, "access"))
        if item.removed:
            raise PlaidError("ITEM_NOT_FOUND")
        return item

    def _token_error(self, token: str, kind: str) -> str | None:
        environment = webhooks.ENVIRONMENT
        other = token.split("-")[1] if token.count("-") > 1 and token.startswith(f"{kind}-") else None
        if other is None:
            expected = f"{kind}-<environment>-<identifier>"
            return f"provided {kind} token is in an invalid format. expected format: {expected}"
        if other != environment:
            return f'provided {kind} token is for the wrong Plaid environment. expected "{environment}", got "{other}"'
        return None

    def emit(self, item: Item, webhook_type: str, webhook_code: str, **extra: object) -> bool:
        """Send a webhook about an Item; return False if it has no webhook URL."""
        if item.webhook_url is None:
            return False
        now = self.clock()
        body = webhooks.payload(item, webhook_type, webhook_code, now)
        item.last_webhook = (now, webhook_code)
        self.sender.send(item.webhook_url, {**body, **extra})
        return True

    def emit_link(self, token: LinkToken, session: LinkSession, webhook_code: str, **extra: object) -> None:
        """Send a webhook about a Link session to the webhook URL of its link token, if that has one."""
        if token.options.webhook_url is not None:
            self.sender.send(
                token.options.webhook_url, {**webhooks.link_payload(token, session, webhook_code), **extra}
            )
