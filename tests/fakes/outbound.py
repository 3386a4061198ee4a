"""A receiver of outbound webhooks over real HTTP, and the ports of the delivery in memory."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from plaid_sync.domain.errors import TransientError
from plaid_sync.outbound.delivery import Answer, Delivery, OutboundMessage
from standardwebhooks import Webhook, WebhookVerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plaid_sync.outbound.endpoints import Endpoint


@dataclass(slots=True)
class Receiver:
    """What an application does with outbound webhooks: it verifies each one, and takes each id once.

    Attributes:
        secret: the one that the receiver knows.
        answers: the statuses of the next requests, before their signatures are verified; after them, 204.
        headers: of each answer.
        events: the verified events, each once, in the order of arrival.
        deliveries: how often each id came with a valid signature.
        refused: how many requests had no valid signature.
        ids: the `webhook-id` of each request, also of those that were refused.
    """

    secret: str
    answers: deque[int] = field(default_factory=deque)
    headers: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    deliveries: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    ids: list[str] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Handle one request, and return the status of the answer."""
        with self._lock:
            self.ids.append(headers.get("webhook-id", ""))
            if self.answers and (status := self.answers.popleft()) != 204:
                return status
            try:
                Webhook(self.secret).verify(body, dict(headers))
            except (WebhookVerificationError, ValueError):
                self.refused += 1
                return 401
            event = json.loads(body)
            self.deliveries[event["id"]] += 1
            if self.deliveries[event["id"]] == 1:
                self.events.append(event)
            return 204

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        """Listen on this machine, at `url`."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver.take(body, self.headers))  # type: ignore[arg-type]
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/events"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


@dataclass(slots=True)
class FixedEndpoints:
    """Implements `Endpoints`.

    Attributes:
        failing: whether the secret is not readable.
    """

    endpoints: tuple[Endpoint, ...]
    failing: bool = False

    def get(self) -> tuple[Endpoint, ...]:
        """See `Endpoints`."""
        if self.failing:
            raise TransientError("AccessDeniedException")
        return self.endpoints


@dataclass(slots=True)
class ReceivingPoster:
    """Posts to receivers without a network; implements `Poster`.

    Attributes:
        receivers: by URL; any other URL does not answer.
    """

    receivers: dict[str, Receiver]

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """See `Poster`."""
        if url not in self.receivers:
            raise TransientError("ConnectTimeoutError")
        receiver = self.receivers[url]
        status = receiver.take(body, headers)
        wait = receiver.headers.get("retry-after")
        return Answer(status, None if wait is None else int(wait))


@dataclass(slots=True)
class OutboundQueueInMemory:
    """Implements `OutboundQueue`.

    Attributes:
        sent: the deliveries that were enqueued.
        hidden: for how many seconds messages were hidden, in order.
        dead: dead-lettered messages with their reasons.
        sends_left: how many sends succeed until one fails; None for all.
    """

    sent: list[Delivery] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    dead: list[tuple[OutboundMessage, str]] = field(default_factory=list)
    sends_left: int | None = None

    def send(self, delivery: Delivery) -> None:
        """See `OutboundQueue`."""
        if self.sends_left is not None:
            if not self.sends_left:
                self.sends_left = None
                raise TransientError("ServiceUnavailable")
            self.sends_left -= 1
        self.sent.append(delivery)

    def hide(self, message: OutboundMessage, seconds: int) -> None:
        """See `OutboundQueue`."""
        del message
        self.hidden.append(seconds)

    def dead_letter(self, message: OutboundMessage, reason: str) -> None:
        """See `OutboundQueue`."""
        self.dead.append((message, reason))
