"""The transition table of an Item: state x event -> state, action, published event (docs/items.md shows it)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plaid_sync.domain.errors import PENDING_DISCONNECT, PENDING_EXPIRATION
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import StateName


class EventType(StrEnum):
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
    # What a sync finds: Plaid serves the Item and reports no error on it, or a failure of one of the classes.
    HEALTHY = "healthy"
    FOUND_INSTITUTION_DOWN = "institution_down"
    FOUND_NEEDS_USER = "needs_user"
    FOUND_TERMINAL = "terminal"
    FOUND_TRANSIENT = "transient"
    FOUND_THROTTLED = "throttled"
    FOUND_CLIENT_ERROR = "client_error"
    # What /accounts/get shows about an account.
    ACCOUNT_GONE = "account_gone"
    ACCOUNT_WITHDRAWN = "account_withdrawn"
    ACCOUNT_RETURNED = "account_returned"
    # What the API requests.
    LINK = "link"
    SYNC = "sync"
    UPDATE_MODE_FINISHED = "update_mode_finished"
    REFRESH = "refresh"
    RESYNC = "resync"
    SET_WEBHOOK = "set_webhook"
    ROTATE_TOKEN = "rotate_token"  # noqa: S105 - an event
    EXPORT_TOKEN = "export_token"  # noqa: S105 - an event
    FETCH_ACCOUNTS = "fetch_accounts"
    CALL_ENDPOINT = "call_endpoint"
    ERASE_ACCOUNT = "erase_account"
    RESTORE_ACCOUNT = "restore_account"
    UPDATE_MODE = "update_mode"
    REMOVE = "remove"


class Action(StrEnum):
    """What an event leads to."""

    NONE = "none"
    """Nothing, beyond the history entry."""
    CHECK = "check"
    """Call /item/get, and sync."""
    CHECK_ACCOUNTS = "check_accounts"
    """Call /item/get, compare the accounts with /accounts/get, and sync."""
    SYNC = "sync"
    """Sync; if the Item is not active, call /item/get first."""
    RETRY = "retry"
    """Record the failure on the Item, with the time of the next attempt."""
    CLOSE_ACCOUNT = "close_account"
    """Take the account's rows out of the live rows, or leave them, as the stack is configured."""
    ERASE_ACCOUNT = "erase_account"
    """Erase the account's rows, and accept none of it."""
    RESYNC = "resync"
    """Pull the whole history."""
    CALL_PLAID = "call_plaid"
    """Call the endpoint of Plaid that the request is for."""
    EXPORT_TOKEN = "export_token"  # noqa: S105 - an action
    """Record the export, then return the access token, encrypted to the recipient."""
    REGISTER = "register"
    """Store the Item and sync it."""
    FINISH_REMOVAL = "finish_removal"
    """Remove the Item at Plaid until that succeeds, or keep it there, then erase or keep its rows as requested."""
    REFUSE = "refuse"
    """Refuse the request in this state, with the remedy."""


ITEM_WEBHOOK_EVENTS: Final = frozenset(
    {
        EventType.ERROR,
        EventType.LOGIN_REPAIRED,
        EventType.PENDING_EXPIRATION,
        EventType.PENDING_DISCONNECT,
        EventType.USER_PERMISSION_REVOKED,
        EventType.USER_ACCOUNT_REVOKED,
        EventType.NEW_ACCOUNTS_AVAILABLE,
    }
)
"""The ITEM webhooks that lead to an action or publish an event; WEBHOOK_UPDATE_ACKNOWLEDGED does neither."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One cell of the table.

    Attributes:
        state: the Item's state afterwards.
        published_event: published when the state, its code or its deadline changes (those about accounts: always).
    """

    state: str
    action: Action
    published_event: DetailType | None = None


LIVE_STATES: Final = tuple(state for state in StateName if state is not StateName.REMOVED)
_A, _E, _D, _U, _R = LIVE_STATES
_REMOVED: Final = StateName.REMOVED
DETAIL_TYPE_OF_STATE: Final[dict[str, DetailType]] = {
    _A: DetailType.ACTIVE,
    _E: DetailType.EXPIRING,
    _D: DetailType.DEGRADED,
    _U: DetailType.NEEDS_USER,
    _R: DetailType.REVOKED,
    _REMOVED: DetailType.REMOVED,
}
_Row = dict[StateName, Transition]


def _stays(
    action: Action, published_event: DetailType | None = None, *, refused_in: tuple[StateName, ...] = ()
) -> _Row:
    """The state stays as it is."""
    return {
        state: Transition(state, Action.REFUSE) if state in refused_in else Transition(state, action, published_event)
        for state in LIVE_STATES
    }


def _becomes(action: Action, *targets: StateName) -> _Row:
    """The state becomes these, in the order active, expiring, degraded, needs_user, revoked."""
    return {
        state: Transition(target, action, DETAIL_TYPE_OF_STATE[target])
        for state, target in zip(LIVE_STATES, targets, strict=True)
    }


_ROWS: Final[dict[EventType, _Row]] = {
    EventType.ERROR: _stays(Action.CHECK),
    EventType.LOGIN_REPAIRED: {
        **_stays(Action.CHECK_ACCOUNTS),
        _E: Transition(_A, Action.CHECK_ACCOUNTS, DetailType.ACTIVE),
    },
    EventType.PENDING_EXPIRATION: _becomes(Action.CHECK, _E, _E, _D, _U, _R),
    EventType.PENDING_DISCONNECT: _becomes(Action.CHECK, _E, _E, _D, _U, _R),
    EventType.USER_PERMISSION_REVOKED: _stays(Action.CHECK),
    EventType.USER_ACCOUNT_REVOKED: _stays(Action.CHECK_ACCOUNTS),
    EventType.NEW_ACCOUNTS_AVAILABLE: _stays(Action.CHECK_ACCOUNTS, DetailType.NEW_ACCOUNTS),
    EventType.WEBHOOK_UPDATE_ACKNOWLEDGED: _stays(Action.NONE),
    EventType.HEALTHY: _becomes(Action.NONE, _A, _E, _A, _A, _A),
    EventType.FOUND_INSTITUTION_DOWN: _becomes(Action.RETRY, _D, _D, _D, _U, _R),
    EventType.FOUND_NEEDS_USER: _becomes(Action.NONE, _U, _U, _U, _U, _U),
    EventType.FOUND_TERMINAL: _becomes(Action.NONE, _R, _R, _R, _R, _R),
    EventType.FOUND_TRANSIENT: _stays(Action.RETRY),
    EventType.FOUND_THROTTLED: _stays(Action.RETRY),
    EventType.FOUND_CLIENT_ERROR: _stays(Action.RETRY),
    EventType.ACCOUNT_GONE: _stays(Action.CLOSE_ACCOUNT, DetailType.ACCOUNT_GONE),
    EventType.ACCOUNT_WITHDRAWN: _stays(Action.ERASE_ACCOUNT, DetailType.ACCOUNT_REVOKED),
    EventType.ACCOUNT_RETURNED: _stays(Action.RESYNC, DetailType.ACCOUNT_RETURNED),
    EventType.LINK: _stays(Action.REGISTER, DetailType.LINKED),
    EventType.SYNC: _stays(Action.SYNC),
    EventType.UPDATE_MODE_FINISHED: {
        **_stays(Action.CHECK_ACCOUNTS),
        _E: Transition(_A, Action.CHECK_ACCOUNTS, DetailType.ACTIVE),
    },
    EventType.REFRESH: _stays(Action.CALL_PLAID, refused_in=(_U, _R)),
    EventType.RESYNC: _stays(Action.RESYNC, refused_in=(_R,)),
    EventType.SET_WEBHOOK: _stays(Action.CALL_PLAID, refused_in=(_R,)),
    EventType.ROTATE_TOKEN: _stays(Action.CALL_PLAID),
    EventType.EXPORT_TOKEN: _stays(Action.EXPORT_TOKEN, DetailType.TOKEN_EXPORTED),
    EventType.FETCH_ACCOUNTS: _stays(Action.CHECK_ACCOUNTS, refused_in=(_R,)),
    EventType.CALL_ENDPOINT: _stays(Action.CALL_PLAID),
    EventType.ERASE_ACCOUNT: _stays(Action.ERASE_ACCOUNT),
    EventType.RESTORE_ACCOUNT: _stays(Action.RESYNC),
    EventType.UPDATE_MODE: _stays(Action.CALL_PLAID),
    EventType.REMOVE: _becomes(Action.FINISH_REMOVAL, *[_REMOVED] * len(LIVE_STATES)),
}
_REFUSED_WHEN_REMOVED: Final = frozenset(
    {
        EventType.LINK,
        EventType.SYNC,
        EventType.UPDATE_MODE_FINISHED,
        EventType.REFRESH,
        EventType.RESYNC,
        EventType.SET_WEBHOOK,
        EventType.ROTATE_TOKEN,
        EventType.EXPORT_TOKEN,
        EventType.FETCH_ACCOUNTS,
        EventType.CALL_ENDPOINT,
        EventType.ERASE_ACCOUNT,
        EventType.RESTORE_ACCOUNT,
        EventType.UPDATE_MODE,
    }
)


def _when_removed(event: EventType) -> Transition:
    if event is EventType.REMOVE:
        return Transition(_REMOVED, Action.FINISH_REMOVAL)
    return Transition(_REMOVED, Action.REFUSE if event in _REFUSED_WHEN_REMOVED else Action.NONE)


TRANSITIONS: Final[dict[tuple[str, EventType], Transition]] = {
    (state, event): step
    for event, row in _ROWS.items()
    for state, step in {**row, _REMOVED: _when_removed(event)}.items()
}
"""The table, for every state and every event."""


def transition(state: str, event: EventType) -> Transition:
    """Return the cell of the table; every event is refused in a state of a newer version."""
    return TRANSITIONS.get((state, event)) or Transition(state, Action.REFUSE)
