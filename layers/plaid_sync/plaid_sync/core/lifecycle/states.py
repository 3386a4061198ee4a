"""The life of an Item: one table, state x event -> state, action, announcement (docs/items.md shows it).

`standing` applies it. Two rules are added there: while a warning of an end to come stands, an Item that is active is
expiring; and an event that changes nothing is not announced.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plaid_sync.core.error_codes import PENDING_DISCONNECT, PENDING_EXPIRATION
from plaid_sync.core.items import ItemStatus


class Event(StrEnum):
    """What happens to an Item."""

    # Plaid's ITEM webhooks (https://plaid.com/docs/api/items/#webhooks), by their codes.
    ERROR = "ERROR"
    LOGIN_REPAIRED = "LOGIN_REPAIRED"
    PENDING_EXPIRATION = PENDING_EXPIRATION
    PENDING_DISCONNECT = PENDING_DISCONNECT
    USER_PERMISSION_REVOKED = "USER_PERMISSION_REVOKED"
    USER_ACCOUNT_REVOKED = "USER_ACCOUNT_REVOKED"
    NEW_ACCOUNTS_AVAILABLE = "NEW_ACCOUNTS_AVAILABLE"
    WEBHOOK_UPDATE_ACKNOWLEDGED = "WEBHOOK_UPDATE_ACKNOWLEDGED"
    # What a sync finds: Plaid serves the Item and has no error on it, or a failure of one of the classes.
    HEALTHY = "healthy"
    FOUND_INSTITUTION_DOWN = "institution_down"
    FOUND_NEEDS_USER = "needs_user"
    FOUND_TERMINAL = "terminal"
    FOUND_RETRY = "retry"
    FOUND_THROTTLED = "throttled"
    FOUND_OURS = "ours"
    # What the API is asked for.
    LINK = "POST /items"
    SYNC = "POST /items/{item_id}/sync"
    UPDATE_MODE_FINISHED = "POST /items/{item_id}/sync with the link_token of a finished update mode"
    REFRESH = "POST /items/{item_id}/refresh"
    RESYNC = "POST /items/{item_id}/resync"
    SET_WEBHOOK = "POST /items/{item_id}/webhook"
    ACCOUNTS = "POST /items/{item_id}/accounts"
    UPDATE_MODE = "POST /link-tokens with item_id"
    REMOVE = "DELETE /items/{item_id}"


class Action(StrEnum):
    """What is done about an event."""

    NONE = "none"
    """Nothing, beyond the record in the Item's history."""
    CHECK = "check"
    """Ask /item/get how the Item is, and sync."""
    SYNC = "sync"
    """Sync; of an Item that is not active, ask /item/get first."""
    RETRY = "retry"
    """The trigger comes back later."""
    ERASE_ACCOUNT = "erase_account"
    """Remove the account's rows, and let none in again."""
    CALL_PLAID = "call_plaid"
    """Ask Plaid for it."""
    REGISTER = "register"
    """Store the Item and sync it."""
    FINISH_REMOVAL = "finish_removal"
    """Remove the Item at Plaid until that succeeds, then erase or keep its rows as asked."""
    REFUSE = "refuse"
    """Answer that it can't be done in this state, and what can."""


class Announcement(StrEnum):
    """What the event bus tells an application; the detail-type of the event."""

    LINKED = "ItemLinked"
    ACTIVE = "ItemActive"
    EXPIRING = "ItemExpiring"
    DEGRADED = "ItemDegraded"
    NEEDS_USER = "ItemNeedsUser"
    REVOKED = "ItemRevoked"
    REMOVED = "ItemRemoved"
    NEW_ACCOUNTS = "NewAccountsAvailable"
    ACCOUNT_REVOKED = "AccountRevoked"


@dataclass(frozen=True, slots=True)
class Step:
    """One cell of the table.

    Attributes:
        state: the Item's state afterwards.
        announcement: told when the state, its code or its deadline is news (the two about accounts: always).
    """

    state: ItemStatus
    action: Action
    announcement: Announcement | None = None


LIVE: Final = tuple(status for status in ItemStatus if status is not ItemStatus.REMOVED)
_A, _E, _D, _U, _R = LIVE
_GONE: Final = ItemStatus.REMOVED
ENTERED: Final = {
    _A: Announcement.ACTIVE,
    _E: Announcement.EXPIRING,
    _D: Announcement.DEGRADED,
    _U: Announcement.NEEDS_USER,
    _R: Announcement.REVOKED,
    _GONE: Announcement.REMOVED,
}
_Row = dict[ItemStatus, Step]


def _stays(action: Action, announcement: Announcement | None = None, **refused: bool) -> _Row:
    """The state stays as it is; `refused` names states in which the action is not possible."""
    return {
        status: Step(status, Action.REFUSE) if refused.get(status.value) else Step(status, action, announcement)
        for status in LIVE
    }


def _becomes(action: Action, *targets: ItemStatus) -> _Row:
    """The state becomes these, in the order active, expiring, degraded, needs_user, revoked."""
    return {status: Step(target, action, ENTERED[target]) for status, target in zip(LIVE, targets, strict=True)}


_ROWS: Final[dict[Event, _Row]] = {
    Event.ERROR: _stays(Action.CHECK),
    Event.LOGIN_REPAIRED: {**_stays(Action.CHECK), _E: Step(_A, Action.CHECK, Announcement.ACTIVE)},
    Event.PENDING_EXPIRATION: _becomes(Action.CHECK, _E, _E, _D, _U, _R),
    Event.PENDING_DISCONNECT: _becomes(Action.CHECK, _E, _E, _D, _U, _R),
    Event.USER_PERMISSION_REVOKED: _stays(Action.CHECK),
    Event.USER_ACCOUNT_REVOKED: _stays(Action.ERASE_ACCOUNT, Announcement.ACCOUNT_REVOKED),
    Event.NEW_ACCOUNTS_AVAILABLE: _stays(Action.NONE, Announcement.NEW_ACCOUNTS),
    Event.WEBHOOK_UPDATE_ACKNOWLEDGED: _stays(Action.NONE),
    Event.HEALTHY: _becomes(Action.NONE, _A, _E, _A, _A, _A),
    Event.FOUND_INSTITUTION_DOWN: _becomes(Action.RETRY, _D, _D, _D, _U, _R),
    Event.FOUND_NEEDS_USER: _becomes(Action.NONE, _U, _U, _U, _U, _U),
    Event.FOUND_TERMINAL: _becomes(Action.NONE, _R, _R, _R, _R, _R),
    Event.FOUND_RETRY: _stays(Action.RETRY),
    Event.FOUND_THROTTLED: _stays(Action.RETRY),
    Event.FOUND_OURS: _stays(Action.RETRY),
    Event.LINK: _stays(Action.REGISTER, Announcement.LINKED),
    Event.SYNC: _stays(Action.SYNC),
    Event.UPDATE_MODE_FINISHED: {**_stays(Action.SYNC), _E: Step(_A, Action.SYNC, Announcement.ACTIVE)},
    Event.REFRESH: _stays(Action.CALL_PLAID, needs_user=True, revoked=True),
    Event.RESYNC: _stays(Action.SYNC, revoked=True),
    Event.SET_WEBHOOK: _stays(Action.CALL_PLAID, revoked=True),
    Event.ACCOUNTS: _stays(Action.CALL_PLAID, revoked=True),
    Event.UPDATE_MODE: _stays(Action.CALL_PLAID),
    Event.REMOVE: _becomes(Action.FINISH_REMOVAL, *[_GONE] * len(LIVE)),
}
_REFUSED_WHEN_REMOVED: Final = frozenset(
    {
        Event.LINK,
        Event.SYNC,
        Event.UPDATE_MODE_FINISHED,
        Event.REFRESH,
        Event.RESYNC,
        Event.SET_WEBHOOK,
        Event.ACCOUNTS,
        Event.UPDATE_MODE,
    }
)


def _when_removed(event: Event) -> Step:
    if event is Event.REMOVE:
        return Step(_GONE, Action.FINISH_REMOVAL)
    return Step(_GONE, Action.REFUSE if event in _REFUSED_WHEN_REMOVED else Action.NONE)


TABLE: Final[dict[tuple[ItemStatus, Event], Step]] = {
    (status, event): step
    for event, row in _ROWS.items()
    for status, step in {**row, _GONE: _when_removed(event)}.items()
}
"""What happens, for every state and every event."""
