"""How events are published on the event bus; and those of history entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.history import is_about_no_item
from plaid_sync.domain.text import is_printable_ascii

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from plaid_sync.domain.clock import Clock, Deadline

MAX_RETRY_AGE: Final = timedelta(hours=1)
"""How long an event is retried: those behind it wait, because an application must not see a repair before the failure.
Lambda discards records of two hours (template.yaml), without their content: never before this."""
_RETRIED_AFTER: Final = timedelta(seconds=3)
"""The first write of a batch that is older may have failed before. It goes alone: in a call with others, it would have
them published again each time that it fails. A first try of one that fails takes longer than this."""
_MAX_VALUE_LENGTH: Final = 1024
_PUBLISHED_ATTRIBUTES: Final = (
    *("item_id", "entry_id", "at", "kind", "outcome", "state_before", "state", "code", "code_reason", "until"),
    *("causes", "gone_accounts", "withdrawn_accounts", "returned_accounts"),
    *("webhook_type", "webhook_code", "omitted_members", "client_user_id", "recipient"),
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

    def calls(self, events: Iterable[BusEvent]) -> Iterable[list[BusEvent]]:
        """Divide events into those that one call takes, in order."""
        ...

    def publish(self, events: Sequence[BusEvent], deadline: Deadline) -> Sequence[UnpublishedEvent]:
        """Publish the events of one call, and with a few retries those that fail; return what was not accepted.

        Raises:
            TransientError: there is no time for a call.
        """
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
class WriteEvents:
    """The events of one write, as a table's stream has it.

    Attributes:
        item_id: the Item whose events are published in order; None where there is no order.
        written_at: when it was written; None where that is unknown: it counts as new.
    """

    item_id: str | None
    events: Sequence[BusEvent]
    written_at: datetime | None


@dataclass(slots=True)
class Publication:
    """What became of the events of a batch of writes.

    Attributes:
        kept: events that were not published, and wait for an operator.
        unfinished: the position of the first write with an event that is neither published nor kept; None if all are.
        code: why it is unfinished.
    """

    published: list[BusEvent] = field(default_factory=list)
    kept: list[UnpublishedEvent] = field(default_factory=list)
    unfinished: int | None = None
    code: str = ""

    def add(self, other: Publication) -> None:
        """Add what became of other events."""
        self.published += other.published
        self.kept += other.kept


_Positioned: TypeAlias = tuple[int, BusEvent]
"""An event with the position of its write."""


@dataclass(frozen=True, slots=True)
class EventPublisher:
    """Publishes the events of writes, in few calls, so that nothing that happens to one blocks the others.

    A call never has events of two writes of an Item, of which it could fail the first and accept the second.
    """

    bus: EventBus
    failed_events: FailedEvents
    clock: Clock

    def publish(self, writes: Sequence[WriteEvents], deadline: Deadline) -> Publication:
        """Publish the events of writes, each at least once, and those of an Item in order.

        An event that the bus refuses for good is kept at once, and every other one from `MAX_RETRY_AGE` on. After any
        other failure no call is begun: publish again from the first write that is unfinished.
        """
        publication, calls = Publication(), self._calls(writes)
        for number, call in enumerate(calls):
            unfinished = self._publish_call(call, writes, deadline, publication)
            if unfinished:
                left = [*unfinished, *chain.from_iterable(calls[number + 1 :])]
                publication.unfinished = min(position for position, _ in left)
                break
        return publication

    def _calls(self, writes: Sequence[WriteEvents]) -> list[list[_Positioned]]:
        calls: list[list[_Positioned]] = []
        for run in _runs(writes, head_alone=bool(writes) and self._age(writes[0]) >= _RETRIED_AFTER):
            positions = iter([position for position, _ in run])
            events = self.bus.calls(event for _, event in run)
            calls += [[(next(positions), event) for event in call] for call in events]
        return calls

    def _publish_call(
        self, call: list[_Positioned], writes: Sequence[WriteEvents], deadline: Deadline, publication: Publication
    ) -> list[_Positioned]:
        """Publish or keep the events of a call; return those with which neither was possible."""
        try:
            unpublished = self.bus.publish([event for _, event in call], deadline)
        except TransientError as error:
            publication.code = error.code
            return call
        unfinished: list[_Positioned] = []
        for position, event in call:
            failed = next((failed for failed in unpublished if failed.event == event), None)
            if failed is None:
                publication.published.append(event)
            elif code := self._keep(failed, writes[position]):
                publication.code = code
                unfinished.append((position, event))
            else:
                publication.kept.append(failed)
        return unfinished

    def _keep(self, failed: UnpublishedEvent, write: WriteEvents) -> str:
        """Keep an event that is not retried any longer; return why it is not kept, or nothing."""
        if not failed.permanent and self._age(write) < MAX_RETRY_AGE:
            return failed.code
        try:
            self.failed_events.keep(failed)
        except TransientError as error:
            return error.code
        return ""

    def _age(self, write: WriteEvents) -> timedelta:
        return timedelta(0) if write.written_at is None else self.clock.now() - write.written_at


def _runs(writes: Sequence[WriteEvents], *, head_alone: bool) -> list[list[_Positioned]]:
    """Return the events in runs of the stream, of which each has one write of an Item at most.

    Args:
        writes: in their order.
        head_alone: let the first one have a run of its own.
    """
    runs: list[list[_Positioned]] = []
    items: set[str] = set()
    for position, write in enumerate(writes):
        if position == 0 or write.item_id in items or (head_alone and position == 1):
            runs.append([])
            items.clear()
        if write.item_id is not None:
            items.add(write.item_id)
        runs[-1] += [(position, event) for event in write.events]
    return runs


def events_of_write(entry: Mapping[str, Any], written_at: datetime | None) -> WriteEvents:
    """Return the events of a history entry, given as plain values."""
    item_id = entry.get("item_id")
    return WriteEvents(None if is_about_no_item(item_id) else str(item_id), events_of_entry(entry), written_at)


def events_of_entry(entry: Mapping[str, Any]) -> list[BusEvent]:
    """Return the events of a history entry, given as plain values; a newer version's detail-type is kept."""
    detail_types = str(entry.get("published_events", "")).split()
    detail = {name: entry[name] for name in _PUBLISHED_ATTRIBUTES if _is_publishable(entry.get(name))}
    if is_about_no_item(detail.get("item_id")):
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
