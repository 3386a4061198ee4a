"""Sending webhooks: signatures, Plaid's retry schedule, and what can go wrong on the way."""

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

    from local.plaid.behaviour import Behaviour
    from local.plaid.clock import Clock
    from local.plaid.keys import KeyRing
    from local.plaid.scheduling import Scheduler

_OK = 200
_TOO_MANY = 429
FIRST_RETRY_SECONDS = 30
RETRY_FACTOR = 4
RETRY_WINDOW = timedelta(hours=24)
LONGEST_RETRY_AFTER = timedelta(hours=4)
_REJECTED_SHARE = 0.9
_ENOUGH_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver: when, with which token, and the HTTP status (None: no answer)."""

    at: datetime
    token: str
    status: int | None


@dataclass(slots=True)
class Delivery:
    """One webhook on its way, or what became of it.

    `state` is waiting, held, delivered, failed or lost.
    """

    number: int
    url: str
    payload: JsonObject
    body: bytes
    created_at: datetime
    state: str = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    next_at: datetime | None = None


class Courier:
    """Delivers webhooks; keeps every delivery for tests and people to look at."""

    def __init__(
        self, keys: KeyRing, clock: Clock, scheduler: Scheduler, rng: Random, behaviour: Callable[[], Behaviour]
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._scheduler = scheduler
        self._rng = rng
        self._behaviour = behaviour
        self._lock = threading.Lock()
        self._http = urllib3.PoolManager(retries=False, maxsize=8)
        self._lose_next = 0
        self._duplicate_next = 0
        self._holding = False
        self.deliveries: list[Delivery] = []

    def send(self, url: str, payload: JsonObject) -> None:
        """Put a webhook on its way, through whatever disturbances are switched on."""
        copies = 2 if self._strikes("_duplicate_next", self._behaviour().webhook_duplicates) else 1
        for _ in range(copies):
            self._accept(url, payload)

    def _accept(self, url: str, payload: JsonObject) -> None:
        behaviour = self._behaviour()
        with self._lock:
            delivery = Delivery(len(self.deliveries), url, payload, encode(payload), self._clock())
            self.deliveries.append(delivery)
            delivery.state = "held" if self._holding else "waiting"
        if self._strikes("_lose_next", behaviour.webhook_loss):
            delivery.state = "lost"
        elif delivery.state == "waiting":
            late = self._rng.random() < behaviour.webhook_reorder
            self._plan(delivery, behaviour.webhook_delay + (behaviour.webhook_reorder_seconds if late else 0))

    def _strikes(self, counter: str, probability: float) -> bool:
        with self._lock:
            left = getattr(self, counter)
            if left > 0:
                setattr(self, counter, left - 1)
                return True
            return self._rng.random() < probability

    def lose_next(self, count: int) -> None:
        """Never send the next webhooks."""
        self._lose_next += count

    def duplicate_next(self, count: int) -> None:
        """Send the next webhooks twice."""
        self._duplicate_next += count

    def hold(self) -> None:
        """Keep webhooks back until `release`."""
        self._holding = True

    def release(self, order: str = "fifo") -> int:
        """Send what was kept back, in order `fifo`, `lifo` or `shuffled`; return how many."""
        with self._lock:
            self._holding = False
            held = [delivery for delivery in self.deliveries if delivery.state == "held"]
        if order == "lifo":
            held.reverse()
        elif order == "shuffled":
            self._rng.shuffle(held)
        for position, delivery in enumerate(held):
            # A millisecond apart, so that several workers keep to the order.
            self._plan(delivery, position / 1000)
        return len(held)

    def resend(self, delivery: Delivery) -> None:
        """Send a webhook once more, whatever became of it: Plaid does deliver twice at times."""
        self._accept(delivery.url, delivery.payload)

    def _plan(self, delivery: Delivery, seconds: float) -> None:
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
        if status == _TOO_MANY and retry_after is not None:
            wait = min(parse_retry_after(retry_after, now) or wait, LONGEST_RETRY_AFTER)
        too_late = now + wait > delivery.attempts[0].at + RETRY_WINDOW
        if too_late or self._given_up(delivery.url, now):
            delivery.state = "failed"
        else:
            self._plan(delivery, wait.total_seconds())

    def _token(self, delivery: Delivery) -> str:
        if delivery.attempts and not self._behaviour().webhook_fresh_iat:
            return delivery.attempts[0].token
        return self._keys.sign(delivery.body)

    def _post(self, delivery: Delivery, token: str) -> tuple[int | None, str | None]:
        try:
            response = self._http.request(
                "POST",
                delivery.url,
                body=delivery.body,
                headers={"Content-Type": "application/json", "Plaid-Verification": token},
                timeout=self._behaviour().webhook_timeout,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, ValueError):
            return None, None
        return response.status, response.headers.get("Retry-After")

    def _given_up(self, url: str, now: datetime) -> bool:
        if not self._behaviour().webhook_give_up:
            return False
        recent = [
            attempt.status == _OK
            for delivery in list(self.deliveries)
            if delivery.url == url
            for attempt in delivery.attempts
            if attempt.at > now - RETRY_WINDOW
        ]
        return len(recent) >= _ENOUGH_ATTEMPTS and recent.count(False) / len(recent) > _REJECTED_SHARE

    def close(self) -> None:
        """Close the connections to receivers."""
        self._http.clear()


def parse_retry_after(text: str, now: datetime) -> timedelta | None:
    """Read a Retry-After header: seconds, an HTTP date, or an ISO 8601 moment."""
    if text.strip().isdigit():
        return timedelta(seconds=int(text))
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return max(timedelta(0), parse(text.strip()) - now)
        except (ValueError, TypeError):  # TypeError: a moment without a zone
            continue
    return None
