"""From an event of the bus to what is posted, and its signature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from standardwebhooks import Webhook

from plaid_sync.domain import exact_json
from plaid_sync.domain.text import is_printable_ascii

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from plaid_sync.outbound.endpoints import Endpoint

_MAX_ID: Final = 256


class MalformedEventError(ValueError):
    """A message that is no event of the bus."""


@dataclass(frozen=True, slots=True)
class OutboundEvent:
    """One event, as it is posted to each endpoint.

    Attributes:
        event_id: the header `webhook-id`: the same for each try and each copy, so that a receiver can drop repeats.
        detail_type: EventBridge's.
        body: a CloudEvents object in JSON, in ASCII: any queue and any reader takes it.
    """

    event_id: str
    detail_type: str
    body: str


def parse_event(text: str) -> OutboundEvent:
    """Read an event as EventBridge sends it to a queue.

    A detail that is a CloudEvents object is posted as it is. Any other becomes the `data` of one, with an id that
    depends on nothing but the event, because the bus may have it twice.

    Raises:
        MalformedEventError: it is no event.
    """
    try:
        envelope = exact_json.loads(text)
        detail_type, detail = envelope["detail-type"], envelope["detail"]
    except (exact_json.InvalidJsonError, KeyError, TypeError) as error:
        raise MalformedEventError("not an event of the bus") from error
    if not is_printable_ascii(detail_type) or not isinstance(detail, dict):
        raise MalformedEventError("not an event of the bus")
    if "specversion" not in detail:
        detail = _cloud_event(detail_type, detail, envelope)
    event_id = detail.get("id")
    if not is_printable_ascii(event_id, _MAX_ID):
        raise MalformedEventError("an event without an id")
    return OutboundEvent(event_id, detail_type, exact_json.dumps(detail, ascii_only=True))


def _cloud_event(detail_type: str, detail: Mapping[str, Any], envelope: Mapping[str, Any]) -> dict[str, Any]:
    identity = exact_json.dumps([detail_type, detail], ascii_only=True).encode()
    event = {
        "specversion": "1.0",
        "id": hashlib.sha256(identity).hexdigest()[:32],
        "source": str(envelope.get("source", "")),
        "type": f"{detail_type}.v1",
        "time": str(detail.get("at") or envelope.get("time", "")),
        "datacontenttype": "application/json",
        "data": dict(detail),
    }
    return event | ({"subject": detail["item_id"]} if "item_id" in detail else {})


def signed_headers(event: OutboundEvent, endpoint: Endpoint, now: datetime) -> dict[str, str]:
    """Return the headers of a request, with a signature by each of the endpoint's secrets."""
    signatures = [Webhook(secret).sign(event.event_id, now, event.body) for secret in endpoint.secrets]
    return {
        "content-type": "application/json",
        "webhook-id": event.event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
