"""From a history entry to the events that are published on the event bus."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.history import NO_ITEM
from plaid_sync.domain.text import is_printable_ascii

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from plaid_sync.domain.clock import Clock, Deadline

MAX_RETRY_AGE: Final = timedelta(hours=1)
"""How long an event is retried: those behind it wait, because an application must not see a repair before the failure.
Lambda discards records of two hours (template.yaml), without their content: never before this."""
_MAX_VALUE_LENGTH: Final = 1024
_PUBLISHED_ATTRIBUTES: Final = (
    *("item_id", "entry_id", "at", "kind", "outcome", "state_before", "state", "code", "code_reason", "until"),
    *("causes", "gone_accounts", "withdrawn_accounts", "returned_accounts"),
    *("webhook_type", "webhook_code", "omitted_members", "client_user_id"),
)


@dataclass(frozen=True, slots=True)
class BusEvent:
    """One event for the bus.

    Attributes:
        detail_type: EventBridge's detail-type (`domain.history.DetailType`, or a newer version's).
        detail: no name, no amount, no token, and of a webhook that the stack does not act on Plaid's body; the Items
            API has the rest.
    """

    detail_type: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UnpublishedEvent:
    """An event that the bus did not accept.

    Attributes:
        code: why, in the bus's word.
        permanent: whether the bus will never accept this event.
    """

    event: BusEvent
    code: str
    permanent: bool


class EventBus(Protocol):
    """The event bus that applications subscribe to."""

    def publish(self, events: Sequence[BusEvent], deadline: Deadline) -> Sequence[UnpublishedEvent]:
        """Publish events, with a few retries while there is time; return those that the bus did not accept."""
        ...


class FailedEvents(Protocol):
    """Where events that were not published wait for an operator."""

    def keep(self, failed: UnpublishedEvent) -> None:
        """Keep an event with its content.

        Raises:
            TransientError: it is not kept.
        """
        ...


@dataclass(frozen=True, slots=True)
class EventPublisher:
    """Publishes the events of history entries, so that nothing that happens to one entry blocks those behind it."""

    bus: EventBus
    failed_events: FailedEvents
    clock: Clock

    def publish(
        self, entry: Mapping[str, Any], written_at: datetime | None, deadline: Deadline
    ) -> tuple[list[BusEvent], list[UnpublishedEvent]]:
        """Publish the events of an entry, at least once; return those published, and those kept as failed.

        An event that the bus refuses for good is kept at once, and every other one from `MAX_RETRY_AGE` on.

        Args:
            entry: the entry as plain values.
            written_at: when it was written; None where that is unknown: it counts as new.
            deadline: of the invocation.

        Raises:
            TransientError: an event is neither published nor kept; publish the entry again, and then the later ones.
        """
        events = events_of_entry(entry)
        unpublished = self.bus.publish(events, deadline) if events else ()
        is_old = written_at is not None and self.clock.now() - written_at >= MAX_RETRY_AGE
        for failed in unpublished:
            if not (failed.permanent or is_old):
                raise TransientError(failed.code)
        for failed in unpublished:
            self.failed_events.keep(failed)
        kept = [failed.event for failed in unpublished]
        return [event for event in events if event not in kept], list(unpublished)


def events_of_entry(entry: Mapping[str, Any]) -> list[BusEvent]:
    """Return the events of a history entry, given as plain values; a newer version's detail-type is kept."""
    detail_types = str(entry.get("published_events", "")).split()
    detail = {name: entry[name] for name in _PUBLISHED_ATTRIBUTES if _is_publishable(entry.get(name))}
    if detail.get("item_id") == NO_ITEM:
        del detail["item_id"]
    detail |= _body_of(entry)
    return [BusEvent(detail_type, detail) for detail_type in detail_types if is_printable_ascii(detail_type)]


def _body_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a webhook, which is stored as JSON; empty where there is none that is readable."""
    try:
        return {"body": exact_json.loads(entry["body"])} if isinstance(entry.get("body"), str) else {}
    except exact_json.InvalidJsonError:
        return {}


def _is_publishable(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(is_printable_ascii(entry, _MAX_VALUE_LENGTH) for entry in values)
