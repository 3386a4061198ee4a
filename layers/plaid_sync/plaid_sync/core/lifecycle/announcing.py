"""From an entry of an Item's history to what the event bus is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core.lifecycle.states import Announcement
from plaid_sync.core.plain_text import is_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOLD: Final = (
    *("item_id", "entry_id", "at", "kind", "outcome", "status_before", "status", "code", "until", "causes"),
    "withdrawn_accounts",
)


@dataclass(frozen=True, slots=True)
class BusEvent:
    """One event for the bus.

    Attributes:
        name: its detail-type.
        detail: what it says: no name, no amount, no token; whoever wants more asks the Items API.
    """

    name: str
    detail: Mapping[str, Any]


def events_of(entry: Mapping[str, Any]) -> list[BusEvent]:
    """Return the events of a history entry, given as plain values; a name that we don't know is not told."""
    names = str(entry.get("announcements", "")).split()
    detail = {name: entry[name] for name in _TOLD if _is_fit(entry.get(name))}
    return [BusEvent(name, detail) for name in names if name in set(Announcement)]


def _is_fit(value: object) -> bool:
    return is_plain(value, 1024) or (isinstance(value, list) and all(is_plain(one, 1024) for one in value))
