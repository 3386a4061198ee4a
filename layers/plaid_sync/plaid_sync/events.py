"""From a history entry to the events that are published on the event bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from plaid_sync.domain.text import is_printable_ascii

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_VALUE_LENGTH: Final = 1024
_PUBLISHED_ATTRIBUTES: Final = (
    *("item_id", "entry_id", "at", "kind", "outcome", "state_before", "state", "code", "until", "causes"),
    "withdrawn_accounts",
)


@dataclass(frozen=True, slots=True)
class BusEvent:
    """One event for the bus.

    Attributes:
        detail_type: EventBridge's detail-type (`domain.history.DetailType`, or a newer version's).
        detail: no name, no amount, no token; the Items API has the rest.
    """

    detail_type: str
    detail: Mapping[str, Any]


class EventBus(Protocol):
    """The event bus that applications subscribe to."""

    def publish(self, events: Sequence[BusEvent]) -> None:
        """Publish all of the events, or raise: then some may be published, and will be again (at least once).

        Raises:
            TransientError: the bus has not accepted all of them.
        """
        ...


def events_of_entry(entry: Mapping[str, Any]) -> list[BusEvent]:
    """Return the events of a history entry, given as plain values; a newer version's detail-type is kept."""
    detail_types = str(entry.get("published_events", "")).split()
    detail = {name: entry[name] for name in _PUBLISHED_ATTRIBUTES if _is_publishable(entry.get(name))}
    return [BusEvent(detail_type, detail) for detail_type in detail_types if is_printable_ascii(detail_type)]


def _is_publishable(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(is_printable_ascii(entry, _MAX_VALUE_LENGTH) for entry in values)
