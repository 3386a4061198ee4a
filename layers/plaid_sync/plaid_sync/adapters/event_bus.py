"""The event bus: Amazon EventBridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.core import exact_json
from plaid_sync.core.failures import RetryableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_events import EventBridgeClient

    from plaid_sync.core.lifecycle.announcing import BusEvent

SOURCE: Final = "plaid-sync-engine"


@dataclass(frozen=True, slots=True)
class EventBridgeBus:
    """Tells the bus; fulfils `EventBus`."""

    client: EventBridgeClient
    bus: str

    def tell(self, events: Sequence[BusEvent]) -> None:
        """See `ports.lifecycle.EventBus`. Up to ten, which is more than an entry announces."""
        if not events:
            return
        with aws_errors():
            answer = self.client.put_events(
                Entries=[
                    {
                        "EventBusName": self.bus,
                        "Source": SOURCE,
                        "DetailType": event.name,
                        "Detail": exact_json.dumps(dict(event.detail)),
                    }
                    for event in events
                ]
            )
        if answer["FailedEntryCount"]:
            codes = {entry.get("ErrorCode") for entry in answer["Entries"]} - {None}
            raise RetryableError(str(codes.pop()) if codes else "events_not_taken")
