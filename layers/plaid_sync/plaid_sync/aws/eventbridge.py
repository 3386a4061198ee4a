"""The event bus: Amazon EventBridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_events import EventBridgeClient

    from plaid_sync.events import BusEvent

SOURCE: Final = "plaid-sync-engine"


@dataclass(frozen=True, slots=True)
class EventBridgeBus:
    """Publishes events; implements `EventBus`."""

    client: EventBridgeClient
    bus: str

    def publish(self, events: Sequence[BusEvent]) -> None:
        """See `EventBus`. Up to ten, more than an entry has."""
        if not events:
            return
        with aws_errors():
            response = self.client.put_events(
                Entries=[
                    {
                        "EventBusName": self.bus,
                        "Source": SOURCE,
                        "DetailType": event.detail_type,
                        "Detail": exact_json.dumps(dict(event.detail)),
                    }
                    for event in events
                ]
            )
        if response["FailedEntryCount"]:
            codes = {entry.get("ErrorCode") for entry in response["Entries"]} - {None}
            raise TransientError(str(codes.pop()) if codes else "put_events_failed")
