"""What a request to remove an Item makes of it, whether it is removed by itself or replaced by a new link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plaid_sync.core.lifecycle.standing import Occurrence, apply
from plaid_sync.core.lifecycle.states import Announcement, Event

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Standing
    from plaid_sync.core.items_api.asked import Asked
    from plaid_sync.core.items_api.item_record import ItemRecord


def requested_removal(
    record: ItemRecord,
    asked: Asked,
    now: datetime,
    *,
    erase: bool,
    **details: Any,  # noqa: ANN401 - whatever a history entry can hold
) -> tuple[Standing, HistoryEntry]:
    """Return how the Item stands from then on, and what its history records of the request."""
    standing = apply(record.standing, Occurrence(Event.REMOVE), now).standing
    entry = asked.entry(
        record.item_id,
        now,
        "removal_requested",
        Announcement.REMOVED,
        status_before=record.standing.status.value,
        status=standing.status.value,
        transactions="erase" if erase else "keep",
        **details,
    )
    return standing, entry
