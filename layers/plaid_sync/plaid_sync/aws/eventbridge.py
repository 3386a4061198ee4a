"""The event bus: Amazon EventBridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.domain import exact_json
from plaid_sync.domain.batches import batches
from plaid_sync.domain.clock import jitter
from plaid_sync.domain.errors import TransientError
from plaid_sync.events import UnpublishedEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mypy_boto3_events import EventBridgeClient

    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.events import BusEvent

SOURCE: Final = "plaid-sync-engine"
MAX_ENTRIES: Final = 10
"""Of a PutEvents call."""
MAX_BYTES: Final = 250_000
"""Of the entries of a PutEvents call, so that they fit wherever 256 KB is still the limit. A larger one goes alone."""
MAX_TRIES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.5
CALL_SECONDS: Final = 12.0
"""See `aws.clients`."""
_PERMANENT_CODES: Final = frozenset({"InvalidArgument", "MalformedDetail", "RedactionFailure", "ValidationException"})
"""What is wrong with an event itself. AWS lists refused permissions as final, too, but those are the role's or the
bus's: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html"""


@dataclass(frozen=True, slots=True)
class EventBridgeBus:
    """Publishes events; implements `EventBus`."""

    client: EventBridgeClient
    bus: str
    clock: Clock

    def calls(self, events: Iterable[BusEvent]) -> Iterator[list[BusEvent]]:
        """See `EventBus`."""
        return batches(events, self._bytes_of, MAX_ENTRIES, MAX_BYTES)

    def _bytes_of(self, event: BusEvent) -> int:
        return sum(len(value.encode()) for value in self._entry(event).values())

    def publish(self, events: Sequence[BusEvent], deadline: Deadline) -> list[UnpublishedEvent]:
        """See `EventBus`."""
        deadline.require(CALL_SECONDS)
        refused: list[UnpublishedEvent] = []
        waiting: list[UnpublishedEvent] = []
        for attempt in range(MAX_TRIES):
            failed = self._put(events, deadline)
            refused += [event for event in failed if event.permanent]
            waiting = [event for event in failed if not event.permanent]
            pause = _FIRST_PAUSE_SECONDS * 2**attempt * jitter()
            if not waiting or attempt + 1 == MAX_TRIES or not deadline.allows(pause + CALL_SECONDS):
                break
            self.clock.sleep(pause)
            events = [failed.event for failed in waiting]
        return [*refused, *waiting]

    def _put(self, events: Sequence[BusEvent], deadline: Deadline) -> list[UnpublishedEvent]:
        request: Any = [self._entry(event) for event in events]
        try:
            with aws_errors():
                response = self.client.put_events(Entries=request)
        except TransientError as error:
            if error.code in _PERMANENT_CODES and len(events) > 1:
                # One of them is the cause, and holds up the others.
                return [failed for event in events for failed in self._put_alone(event, deadline)]
            return [_unpublished(event, error.code) for event in events]
        if not response["FailedEntryCount"]:
            return []
        results = zip(events, response["Entries"], strict=True)
        return [_unpublished(event, str(result["ErrorCode"])) for event, result in results if "ErrorCode" in result]

    def _put_alone(self, event: BusEvent, deadline: Deadline) -> list[UnpublishedEvent]:
        deadline.require(CALL_SECONDS)
        return self._put([event], deadline)

    def _entry(self, event: BusEvent) -> dict[str, str]:
        return {
            "EventBusName": self.bus,
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": exact_json.dumps(dict(event.detail)),
        }


def _unpublished(event: BusEvent, code: str) -> UnpublishedEvent:
    return UnpublishedEvent(event, code, permanent=code in _PERMANENT_CODES)
