"""Webhook delivery: signatures, Plaid's retry schedule, and injected loss, delay, duplicates and reordering."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import urllib3

from local.plaid.wire import JsonObject, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from local.plaid.behavior import Behavior
    from local.plaid.clock import Clock, Scheduler
    from local.plaid.keys import KeyRing

_OK = 200
FIRST_RETRY_SECONDS = 30
RETRY_FACTOR = 4
RETRY_WINDOW = timedelta(hours=24)
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery attempt: its time, its Plaid-Verification token and the HTTP status (None: no response)."""

    at: datetime
    token: str
    status: int | None


@dataclass(slots=True)
class Delivery:
    """One webhook and its attempts; its `state` is waiting, held, delivered, failed or lost."""

    number: int
    url: str
    payload: JsonObject
    body: bytes
    created_at: datetime
    state: str = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    next_at: datetime | None = None


class WebhookSender:
    """Delivers webhooks, and keeps a record of every delivery."""

    def __init__(
        self, keys: KeyRing, clock: Clock, scheduler: Scheduler, rng: Random, behavior: Callable[[], Behavior]
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._scheduler = scheduler
        self._rng = rng
        self._behavior = behavior
        self._lock = threading.Lock()
        self._http = urllib3.PoolManager(retries=False, maxsize=8)
        self.lose_next = 0
        self.holding = False
        self.deliveries: list[Delivery] = []

    def send(self, url: str, payload: JsonObject) -> None:
        for _ in range(2 if self._rng.random() < self._behavior().webhook_duplicates else 1):
            self._accept(url, payload)

    def _accept(self, url: str, payload: JsonObject) -> None:
        behavior = self._behavior()
        with self._lock:
            delivery = Delivery(len(self.deliveries), url, payload, encode(payload), self._clock())
            self.deliveries.append(delivery)
            delivery.state = "held" if self.holding else "waiting"
            if self.lose_next > 0 or self._rng.random() < behavior.webhook_loss:
                self.lose_next = max(0, self.lose_next - 1)
                delivery.state = "lost"
        if delivery.state == "waiting":
            delayed = self._rng.random() < behavior.webhook_reorder
            self._schedule(delivery, behavior.webhook_delay + (behavior.webhook_reorder_seconds if delayed else 0))

    def release(self, order: str = "fifo") -> int:
        """Send the held webhooks in order `fifo` or `lifo`; return their number."""
        with self._lock:
            self.holding = False
            held = [delivery for delivery in self.deliveries if delivery.state == "held"]
        if order == "lifo":
            held.reverse()
        for position, delivery in enumerate(held):
            # One millisecond apart, so that concurrent workers keep the order.
            self._schedule(delivery, position / 1000)
        return len(held)

    def _schedule(self, delivery: Delivery, seconds: float) -> None:
        delivery.state = "waiting"
        delivery.next_at = self._clock() + timedelta(seconds=seconds)
        self._scheduler.at(delivery.next_at, lambda: self._attempt(delivery))

    def _attempt(self, delivery: Delivery) -> None:
        now = self._clock()
        keep = delivery.attempts and not self._behavior().webhook_retries_signed_again
        token = delivery.attempts[0].token if keep else self._keys.sign(delivery.body)
        status = self._post(delivery, token)
        delivery.attempts.append(Attempt(now, token, status))
        delivery.next_at = None
        if status == _OK:
            delivery.state = "delivered"
            return
        wait = timedelta(seconds=FIRST_RETRY_SECONDS * RETRY_FACTOR ** (len(delivery.attempts) - 1))
        if now + wait > delivery.attempts[0].at + RETRY_WINDOW:
            delivery.state = "failed"
        else:
            self._schedule(delivery, wait.total_seconds())

    def _post(self, delivery: Delivery, token: str) -> int | None:
        try:
            response = self._http.request(
                "POST",
                delivery.url,
                body=delivery.body,
                headers={"Content-Type": "application/json", "Plaid-Verification": token},
                timeout=_TIMEOUT_SECONDS,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, ValueError):
            return None
        return response.status

    def close(self) -> None:
        self._http.clear()
