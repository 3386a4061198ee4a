"""The sync queue in memory: sending, and what becomes of received messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.messages import parse_message

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from plaid_sync.domain.messages import SyncMessage


@dataclass(slots=True)
class FakeQueue:
    """Implements `SyncQueue` and `QueueDepth`.

    Attributes:
        refused: Items whose messages the queue does not accept.
        depth: how many messages can be received.
        sent: the accepted messages; one with a known deduplication id is dropped.
        attempts: how many messages were offered.
    """

    refused: Collection[str] = ()
    depth: int = 0
    sent: dict[str, SyncMessage] = field(default_factory=dict)
    attempts: int = 0

    def send(self, message: SyncMessage, deduplication_id: str) -> None:
        """See `SyncQueue`. The sync must be able to read the message."""
        self.attempts += 1
        if message.item_id in self.refused:
            raise TransientError("InvalidParameterValue")
        assert parse_message(message.to_json()) == message
        self.sent.setdefault(deduplication_id, message)

    def __call__(self) -> int:
        return self.depth

    def take(self) -> list[tuple[str, str]]:
        taken = [(str(message.item_id), message.cause) for message in self.sent.values()]
        self.sent.clear()
        return taken


class Copied(NamedTuple):
    """A message that was requeued or dead-lettered.

    Attributes:
        reason: why it was dead-lettered; empty for a requeued one.
    """

    body: str
    group_id: str
    message_id: str
    attributes: dict[str, str]
    reason: str = ""


@dataclass(slots=True)
class FakeReceivedMessages:
    """Implements `ReceivedMessages`.

    Attributes:
        failing: the queue accepts no copy.
        hidden: the delay of each message that returns, by its receipt handle.
    """

    failing: bool = False
    hidden: dict[str, int] = field(default_factory=dict)
    requeued: list[Copied] = field(default_factory=list)
    dead_lettered: list[Copied] = field(default_factory=list)

    def change_visibility(self, receipt_handles: Collection[str], seconds: int) -> None:
        self.hidden |= dict.fromkeys(receipt_handles, seconds)

    def requeue(self, body: str, group_id: str, message_id: str, attributes: Mapping[str, str]) -> None:
        self._copy(self.requeued, Copied(body, group_id, message_id, dict(attributes)))

    def dead_letter(
        self, body: str, group_id: str, message_id: str, reason: str, attributes: Mapping[str, str]
    ) -> None:
        self._copy(self.dead_lettered, Copied(body, group_id, message_id, dict(attributes), reason))

    def _copy(self, copies: list[Copied], copy: Copied) -> None:
        if self.failing:
            raise TransientError("InternalError")
        copies.append(copy)
