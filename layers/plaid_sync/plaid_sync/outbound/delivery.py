"""Delivers events to endpoints: at least once each, with retries for a day, and then a dead letter.

A message of the queue is an event of the bus, or a delivery: an event for one endpoint. An event becomes one delivery
for each endpoint, so that an endpoint that fails never has the others' deliveries repeated or delayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.errors import TransientError
from plaid_sync.outbound.event import MalformedEventError, OutboundEvent, parse_event, signed_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plaid_sync.domain.clock import Clock
    from plaid_sync.outbound.endpoints import Endpoint

RETRY_DELAYS: Final = (
    *(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)),
    *(timedelta(hours=2), timedelta(hours=5), timedelta(hours=8), timedelta(hours=8)),
)
"""After each failed try, a fifth more or less: eight tries in a day."""
MAX_DELAY: Final = timedelta(hours=11, minutes=55)
"""SQS hides a message for twelve hours at most, from its receive on."""


class Fate(StrEnum):
    """What became of a message."""

    EXPANDED = "expanded"
    DELIVERED = "delivered"
    RETRIED = "retried"
    DEAD_LETTERED = "dead_lettered"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for one endpoint.

    Attributes:
        endpoint: the endpoint's name.
    """

    endpoint: str
    event: OutboundEvent


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """A received message.

    Attributes:
        body: the event of the bus; of a delivery, what is posted.
        delivery: None for an event that is not expanded yet.
        receives: how often it was received, this time included: the number of the try.
    """

    receipt_handle: str
    body: str
    delivery: Delivery | None
    receives: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An endpoint's answer; its body is not read.

    Attributes:
        retry_after: seconds that it asks to wait; None where it does not.
    """

    status: int
    retry_after: int | None = None


class Endpoints(Protocol):
    """The operator's endpoints."""

    def get(self) -> tuple[Endpoint, ...]:
        """Return them.

        Raises:
            TransientError: they are not readable, or malformed.
        """
        ...


class Poster(Protocol):
    """Posts to an endpoint."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once, without following a redirect.

        Raises:
            TransientError: there is no answer, or the URL is not one to post to.
        """
        ...


class OutboundQueue(Protocol):
    """The queue of events and deliveries, and its dead-letter queue."""

    def send(self, delivery: Delivery) -> None:
        """Enqueue a delivery.

        Raises:
            TransientError: it is not enqueued.
        """
        ...

    def hide(self, message: OutboundMessage, seconds: int) -> None:
        """Let a message be received again after so many seconds.

        Raises:
            TransientError: it is received again after the queue's own visibility timeout.
        """
        ...

    def dead_letter(self, message: OutboundMessage, reason: str) -> None:
        """Keep a copy for the operator.

        Raises:
            TransientError: it is not kept.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one message.

    Attributes:
        code: why it failed; empty where it did not.
    """

    fate: Fate
    code: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the message can be deleted."""
        return self.fate is not Fate.RETRIED


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failed try.

    Attributes:
        final: no later try can succeed without the operator.
    """

    code: str
    final: bool = False
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Processes one message of the queue.

    Attributes:
        spread: returns a random factor around 1.
    """

    endpoints: Endpoints
    poster: Poster
    queue: OutboundQueue
    clock: Clock
    spread: Callable[[], float]

    def process(self, message: OutboundMessage) -> Outcome:
        """Expand or deliver a message; a failure is retried, or dead-lettered after the last try."""
        try:
            if message.delivery is None:
                return self._expand(message)
            endpoint = self._endpoint(message.delivery.endpoint)
            if endpoint is None:
                return Outcome(Fate.DROPPED, "endpoint_removed")
            failure = self._post(message.delivery.event, endpoint)
        except TransientError as error:
            failure = _Failure(error.code)
        except MalformedEventError:
            failure = _Failure("malformed", final=True)
        return Outcome(Fate.DELIVERED) if failure is None else self._fail(message, failure)

    def _endpoint(self, name: str) -> Endpoint | None:
        return next((endpoint for endpoint in self.endpoints.get() if endpoint.name == name), None)

    def _expand(self, message: OutboundMessage) -> Outcome:
        """Send one delivery for each endpoint; repeated after a crash, it sends some again, with the same id."""
        event = parse_event(message.body)
        endpoints = [endpoint for endpoint in self.endpoints.get() if endpoint.wants(event.detail_type)]
        for endpoint in endpoints:
            self.queue.send(Delivery(endpoint.name, event))
        return Outcome(Fate.EXPANDED) if endpoints else Outcome(Fate.DROPPED, "no_endpoint")

    def _post(self, event: OutboundEvent, endpoint: Endpoint) -> _Failure | None:
        if not endpoint.enabled:
            return _Failure("endpoint_disabled", final=True)
        headers = signed_headers(event, endpoint, self.clock.now())
        answer = self.poster.post(endpoint.url, event.body.encode(), headers)
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        return _Failure(f"HTTP_{answer.status}", answer.status == HTTPStatus.GONE, answer.retry_after)

    def _fail(self, message: OutboundMessage, failure: _Failure) -> Outcome:
        tries = message.receives
        try:
            if failure.final or tries > len(RETRY_DELAYS):
                self.queue.dead_letter(message, failure.code)
                return Outcome(Fate.DEAD_LETTERED, failure.code)
            self.queue.hide(message, self._delay(tries, failure.retry_after))
        except TransientError as error:
            return Outcome(Fate.RETRIED, error.code)
        return Outcome(Fate.RETRIED, failure.code)

    def _delay(self, tries: int, retry_after: int | None) -> int:
        """Return the seconds until the next try: the schedule's, or more where the endpoint asks for it."""
        seconds = RETRY_DELAYS[tries - 1].total_seconds() * self.spread()
        return round(min(max(seconds, retry_after or 0), MAX_DELAY.total_seconds()))
