"""What an Item's history records: one entry for each sync that ended, each request and each verified webhook.

The entry of a transition is written in the transaction that makes it, so that neither is without the other; and what
it announces reaches the event bus from there (`functions/changes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.lifecycle.states import Announcement

HISTORY_LIFE: Final = timedelta(days=90)
"""How long an entry is kept."""


class EntryKind(StrEnum):
    """What an entry tells of."""

    WEBHOOK = "webhook"
    SYNC = "sync"
    REQUEST = "request"
    REMOVAL = "removal"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry.

    Attributes:
        at: when it happened.
        mark: tells apart what happens in the same millisecond; a repeat of the same event has the same one.
        outcome: what became of it, in a word.
        details: what else there is to say, by attribute (see docs/data.md); None is left out.
        announcements: what the event bus is told of it.
    """

    item_id: ItemId
    at: datetime
    mark: str
    kind: EntryKind
    outcome: str
    details: Mapping[str, Any] = field(default_factory=dict)
    announcements: tuple[Announcement, ...] = ()
