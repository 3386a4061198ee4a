"""Who asks for what, and what an Item's history records of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plaid_sync.core.history import EntryKind, HistoryEntry

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.lifecycle.states import Announcement


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to the Items API.

    Attributes:
        route: its route key, `POST /items`.
        request_id: API Gateway's id of it.
        caller: the ARN of who signed it; empty where nobody had to.
        webhook_url: where Plaid is to send webhooks.
        time_left: seconds until the function is ended.
    """

    route: str
    request_id: str
    caller: str
    webhook_url: str
    time_left: Callable[[], float] = field(repr=False)

    def entry(
        self,
        item_id: ItemId,
        at: datetime,
        outcome: str,
        *announcements: Announcement,
        **details: Any,  # noqa: ANN401 - whatever a history entry can hold
    ) -> HistoryEntry:
        """Return what an Item's history records of this request."""
        known = {
            "request": self.route,
            "caller": self.caller or None,
            "correlation_ids": [self.request_id] if self.request_id else None,
        }
        mark = self.request_id.replace("#", "-")
        return HistoryEntry(item_id, at, mark, EntryKind.REQUEST, outcome, known | details, announcements)


def request_ids(*ids: str) -> list[str] | None:
    """Return Plaid's ids of the calls that had one; None where none had."""
    return [one for one in ids if one] or None
