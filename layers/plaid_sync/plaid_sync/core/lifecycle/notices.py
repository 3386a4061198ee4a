"""Plaid's ITEM webhooks, as the events that they tell of.

Foreign JSON, though proven to be Plaid's: what can't be read is left out, and never fails the sync that it led to.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core.lifecycle.standing import Occurrence
from plaid_sync.core.lifecycle.states import Event
from plaid_sync.core.plain_text import is_plain

if TYPE_CHECKING:
    from plaid_sync.core.triggers import ReceivedTrigger

ITEM: Final = "ITEM"
CODES: Final = frozenset(
    {
        Event.ERROR,
        Event.LOGIN_REPAIRED,
        Event.PENDING_EXPIRATION,
        Event.PENDING_DISCONNECT,
        Event.USER_PERMISSION_REVOKED,
        Event.USER_ACCOUNT_REVOKED,
        Event.NEW_ACCOUNTS_AVAILABLE,
    }
)
"""The codes that ask for something to be done; WEBHOOK_UPDATE_ACKNOWLEDGED does not."""
_DEADLINES: Final = {
    Event.PENDING_EXPIRATION: "consent_expiration_time",
    Event.PENDING_DISCONNECT: "disconnect_time",
}
_FARTHEST: Final = timedelta(days=5 * 365)


def occurrence_of(received: ReceivedTrigger) -> Occurrence | None:
    """Return what a trigger tells of its Item; None where it says no more than that there may be transactions."""
    webhook = received.trigger.webhook
    if webhook is None or webhook.get("webhook_type") != ITEM:
        return None
    code = webhook.get("webhook_code")
    if not isinstance(code, str) or code not in CODES:
        return None
    event = Event(code)
    account_id = webhook.get("account_id")
    return Occurrence(
        event,
        until=_time(webhook.get(_DEADLINES.get(event, "")), received.since),
        told_at=received.since,
        account_id=str(account_id) if event is Event.USER_ACCOUNT_REVOKED and is_plain(account_id) else None,
    )


def cause_of(received: ReceivedTrigger) -> str:
    """Return what led to a sync, for the Item's history: `request`, `webhook ITEM ERROR`."""
    webhook: dict[str, Any] = received.trigger.webhook or {}
    words = [webhook.get("webhook_type"), webhook.get("webhook_code")]
    return " ".join([received.trigger.cause.value, *(str(word) for word in words if is_plain(word))])


def _time(value: object, told_at: datetime) -> datetime | None:
    """Return a time that Plaid wrote (ISO 8601), if it is one that a warning can mean."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC) if abs(aware - told_at) < _FARTHEST else None
    except (ValueError, OverflowError):
        return None
