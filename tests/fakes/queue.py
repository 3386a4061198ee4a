"""The sync queue in memory: sending, and what becomes of received messages."""

from __future__ import annotations

import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.messages import parse_message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from plaid_sync.domain.messages import SyncMessage


@dataclass(slots=True)
class FakeQueue:
    """Implements `SyncQueue`.

    Attributes:
        refused: Items whose messages the queue does not accept.
        sent: the accepted messages; one with a known deduplication id is dropped.
        attempts: how many messages were offered.
    """

    refused: Collection[str] = ()
    sent: dict[str, SyncMessage] = field(default_factory=dict)
    attempts: int = 0

    def send(self, message: SyncMessage, deduplication_id: str | None = None) -> None:
        """See `SyncQueue`. The sync must be able to read the message."""
        self.attempts += 1
        if message.item_id in self.refused:
            raise TransientError("InvalidParameterValue")
        assert parse_message(message.to_json()) == message
        self.sent.setdefault(deduplication_id or str(uuid.uuid4()), message)

    def take(self) -> list[tuple[str, str]]:
        taken = [(str(message.item_id), message.cause) for message in self.sent.values()]
        self.sent.clear()
        return taken


class DeadLettered(NamedTuple):
    """A message that was dead-lettered."""

    body: str
    group_id: str
    message_id: str
    attributes: dict[str, str]
    reason: str


@dataclass(slots=True)
class FakeReceivedMessages:
    """Implements `ReceivedMessages`.

    Attributes:
        failing: the queue refuses every call.
        refused: how often the queue refuses to change the visibility of a message, by its receipt handle.
        hidden: for how long each message is hidden, by its receipt handle; 0: it returned.
        deleted: the receipt handles of messages that were deleted.
    """

    failing: bool = False
    refused: Counter[str] = field(default_factory=Counter)
    hidden: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    dead_lettered: list[DeadLettered] = field(default_factory=list)

    def change_visibility(self, receipt_handles: Collection[str], seconds: int) -> list[str]:
        failed = [handle for handle in receipt_handles if self.failing or self.refused[handle] > 0]
        self.refused.subtract(failed)
        self.hidden |= {handle: seconds for handle in receipt_handles if handle not in failed}
        return failed

    def delete(self, receipt_handles: Collection[str]) -> list[str]:
        self.deleted += receipt_handles
        return []

    def dead_letter(
        self, body: str, group_id: str, message_id: str, reason: str, attributes: Mapping[str, str]
    ) -> None:
        if self.failing:
            raise TransientError("InternalError")
        self.dead_lettered.append(DeadLettered(body, group_id, message_id, dict(attributes), reason))


@contextmanager
def no_timer(beat: Callable[[], None]) -> Iterator[None]:  # noqa: ARG001 - the port's
    """Implement `Timer`: a batch that takes no time."""
    yield
