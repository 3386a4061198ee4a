"""Webhook delivery: signatures, Plaid's retry schedule, and injected loss, delay, duplicates and reordering."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
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
_TOO_MANY_REQUESTS = 429
FIRST_RETRY_SECONDS = 30
RETRY_FACTOR = 4
RETRY_WINDOW = timedelta(hours=24)
MAX_RETRY_AFTER = timedelta(hours=4)
_MAX_REJECTED_SHARE = 0.9
_MIN_ATTEMPTS = 10


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
        self._lose_next = 0
        self._duplicate_next = 0
        self._holding = False
        self.deliveries: list[Delivery] = []

    def send(self, url: str, payload: JsonObject) -> None:
        """Send a webhook, subject to the injected faults."""
        copies = 2 if self._applies("_duplicate_next", self._behavior().webhook_duplicates) else 1
        for _ in range(copies):
            self._accept(url, payload)

    def _accept(self, url: str, payload: JsonObject) -> None:
        behavior = self._behavior()
        with self._lock:
            delivery = Delivery(len(self.deliveries), url, payload, encode(payload), self._clock())
            self.deliveries.append(delivery)
            delivery.state = "held" if self._holding else "waiting"
        if self._applies("_lose_next", behavior.webhook_loss):
            delivery.state = "lost"
        elif delivery.state == "waiting":
            delayed = self._rng.random() < behavior.webhook_reorder
            self._schedule(delivery, behavior.webhook_delay + (behavior.webhook_reorder_seconds if delayed else 0))

    def _applies(self, counter: str, probability: float) -> bool:
        with self._lock:
            left = getattr(self, counter)
            if left > 0:
                setattr(self, counter, left - 1)
                return True
            return self._rng.random() < probability

    def lose_next(self, count: int) -> None:
        """Lose the next webhooks: they are never sent."""
        self._lose_next += count

    def duplicate_next(self, count: int) -> None:
        """Send the next webhooks twice."""
        self._duplicate_next += count

    def hold(self) -> None:
        """Hold all webhooks until `release`."""
        self._holding = True

    def release(self, order: str = "fifo") -> int:
        """Send the held webhooks in order `fifo`, `lifo` or `shuffled`; return their number."""
        with self._lock:
            self._holding = False
            held = [delivery for delivery in self.deliveries if delivery.state == "held"]
        if order == "lifo":
            held.reverse()
        elif order == "shuffled":
            self._rng.shuffle(held)
        for position, delivery in enumerate(held):
            # One millisecond apart, so that concurrent workers keep the order.
            self._schedule(delivery, position / 1000)
        return len(held)

    def resend(self, delivery: Delivery) -> None:
        """Send a webhook again, in any state: Plaid may deliver a webhook more than once."""
        self._accept(delivery.url, delivery.payload)

    def _schedule(self, delivery: Delivery, seconds: float) -> None:
        delivery.state = "waiting"
        delivery.next_at = self._clock() + timedelta(seconds=seconds)
        self._scheduler.at(delivery.next_at, lambda: self._attempt(delivery))

    def _attempt(self, delivery: Delivery) -> None:
        now = self._clock()
        token = self._token(delivery)
        status, retry_after = self._post(delivery, token)
        delivery.attempts.append(Attempt(now, token, status))
        delivery.next_at = None
        if status == _OK:
            delivery.state = "delivered"
            return
        wait = timedelta(seconds=FIRST_RETRY_SECONDS * RETRY_FACTOR ** (len(delivery.attempts) - 1))
        if status == _TOO_MANY_REQUESTS and retry_after is not None:
            wait = min(parse_retry_after(retry_after, now) or wait, MAX_RETRY_AFTER)
        expired = now + wait > delivery.attempts[0].at + RETRY_WINDOW
        if expired or self._retries_stopped(delivery.url, now):
            delivery.state = "failed"
        else:
            self._schedule(delivery, wait.total_seconds())

    def _token(self, delivery: Delivery) -> str:
        if delivery.attempts and not self._behavior().webhook_fresh_iat:
            return delivery.attempts[0].token
        return self._keys.sign(delivery.body)

    def _post(self, delivery: Delivery, token: str) -> tuple[int | None, str | None]:
        try:
            response = self._http.request(
                "POST",
                delivery.url,
                body=delivery.body,
                headers={"Content-Type": "application/json", "Plaid-Verification": token},
                timeout=self._behavior().webhook_timeout,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, ValueError):
            return None, None
        return response.status, response.headers.get("Retry-After")

    def _retries_stopped(self, url: str, now: datetime) -> bool:
        if not self._behavior().webhook_stop_retries:
            return False
        recent = [
            attempt.status == _OK
            for delivery in list(self.deliveries)
            if delivery.url == url
            for attempt in delivery.attempts
            if attempt.at > now - RETRY_WINDOW
        ]
        return len(recent) >= _MIN_ATTEMPTS and recent.count(False) / len(recent) > _MAX_REJECTED_SHARE

    def close(self) -> None:
        """Close the connections to receivers."""
        self._http.clear()


def parse_retry_after(text: str, now: datetime) -> timedelta | None:
    """Parse a Retry-After header: seconds, an HTTP date, or an ISO 8601 timestamp."""
    if text.strip().isdigit():
        return timedelta(seconds=int(text))
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return max(timedelta(0), parse(text.strip()) - now)
        except (ValueError, TypeError):  # TypeError: a timestamp without a time zone
            continue
    return None
