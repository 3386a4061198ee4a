"""Requests to the Items API: their context, what they record, and the validation of their fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.errors import (
    OAUTH_USER_REVOKED,
    FailureClass,
    InvalidRequestError,
    Refusal,
    RefusedError,
    Remedy,
    remedy_for,
)
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import StateName
from plaid_sync.domain.state_machine import ItemEvent, apply_event
from plaid_sync.domain.text import is_token
from plaid_sync.domain.transitions import Action, EventType, transition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Item, ItemId, ItemState

MAX_USER_ID_LENGTH: Final = 128
MAX_RECIPIENT_LENGTH: Final = 128
USER_BEING_ERASED: Final = "user_being_erased"
_MAX_SHOWN_NAME_LENGTH: Final = 64
_FIXES: Final = {
    Remedy.UPDATE_MODE: "let the user go through Link in update mode: POST /link-tokens with this item_id",
    Remedy.BANK_THEN_UPDATE_MODE: "let the user fix the login at the bank, then go through Link in update mode",
    Remedy.RELINK: "let the user link the bank again, with ?replace= and this item_id",
    Remedy.WAIT: "no action; retried automatically",
    Remedy.NONE: "no action",
}
_REVOKED_AT_BANK_FIX: Final = (
    "the user ended the access at the bank: if the user wants it again, let the user go through Link in update mode: "
    "POST /link-tokens with this item_id; else DELETE the Item"
)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The context of one request.

    Attributes:
        route: its route key, as the history records it.
        request_id: API Gateway's id of it.
        caller: the ARN of the identity that signed it; empty where no signature was required.
        webhook_url: where Plaid is to send webhooks.
        deadline: when the invocation ends.
    """

    route: str
    request_id: str
    caller: str
    webhook_url: str
    deadline: Deadline = field(repr=False)

    def entry(
        self,
        item_id: ItemId,
        at: datetime,
        outcome: str,
        *published_events: DetailType,
        **details: Any,  # noqa: ANN401 - any value that a history entry can hold
    ) -> HistoryEntry:
        """Return the history entry of this request."""
        common = {
            "request": self.route,
            "caller": self.caller or None,
            "correlation_ids": [self.request_id] if self.request_id else None,
        }
        # A request can have two entries in one millisecond.
        suffix = f"{self.request_id}-{outcome}".replace("#", "-")
        return HistoryEntry(item_id, at, suffix, EntryKind.REQUEST, outcome, common | details, published_events)


def known_request_ids(*request_ids: str) -> list[str] | None:
    """Return Plaid's ids of the calls that had one; None where none had."""
    return [request_id for request_id in request_ids if request_id] or None


def request_removal(
    item: Item,
    context: RequestContext,
    now: datetime,
    *,
    erase: bool,
    keeps_at_plaid: bool = False,
    **details: Any,  # noqa: ANN401 - any value that a history entry can hold
) -> tuple[ItemState, HistoryEntry]:
    """Return the Item's state after a request to remove it, and the history entry."""
    state = apply_event(item.state, ItemEvent(EventType.REMOVE), now).state
    entry = context.entry(
        item.item_id,
        now,
        "removal_requested",
        DetailType.REMOVED,
        state_before=item.state.name,
        state=state.name,
        transactions="erase" if erase else "keep",
        at_plaid="keep" if keeps_at_plaid else None,
        **details,
    )
    return state, entry


# ---- refusals


def require_allowed(item: Item | None, event: EventType, field_name: str = "") -> Item:
    """Return an Item that allows an event: refuse what the state machine refuses.

    Args:
        item: as loaded; None where there is none.
        event: what is requested.
        field_name: the field that names the Item; empty where the path does.

    Raises:
        RefusedError: `NOT_FOUND` without an Item, `GONE` for a removed one, `CONFLICT` for one whose state does not
            allow the event.
    """
    if item is None:
        raise item_not_found_error(field_name)
    if transition(item.state.name, event).action is not Action.REFUSE:
        return item
    if item.removed:
        raise item_removed_error(item.item_id)
    state, code = item.state.name, item.state.code
    remedy, fix = remedy_and_fix(item)
    detail = f"not allowed in state {state}{f' ({code})' if code else ''}"
    raise RefusedError(Refusal.CONFLICT, f"item_{state}", detail, {"fix": fix, "remedy": remedy})


def remedy_and_fix(item: Item) -> tuple[Remedy, str]:
    """Return what the user of an Item has to do, as a word and as a sentence."""
    if item.removed:
        return Remedy.NONE, "no action: the Item is removed"
    state = item.state
    # The code alone need not be known: Plaid's `error_type` decided the state.
    failure_class = FailureClass.NEEDS_USER if state.name == StateName.NEEDS_USER else None
    remedy = Remedy.RELINK if state.name == StateName.REVOKED else remedy_for(state.code, failure_class)
    if remedy is Remedy.NONE and item.failure is not None:
        remedy = Remedy.WAIT
    return remedy, fix_for(remedy, state.code_reason)


def fix_for(remedy: Remedy, code_reason: str | None = None) -> str:
    """Return a remedy as a sentence."""
    if remedy is Remedy.UPDATE_MODE and code_reason == OAUTH_USER_REVOKED:
        return _REVOKED_AT_BANK_FIX
    return _FIXES[remedy]


def item_not_found_error(field_name: str = "") -> RefusedError:
    """Return the refusal of an Item that does not exist, or not for this caller."""
    members = {"fix": "GET /items lists the Items"} | ({"field": field_name} if field_name else {})
    return RefusedError(Refusal.NOT_FOUND, "item_not_found", "there is no such Item", members)


def account_not_found_error() -> RefusedError:
    """Return the refusal of an account that the Item does not have."""
    members = {"fix": "GET /items/{item_id} lists its accounts", "field": "account_id"}
    return RefusedError(Refusal.NOT_FOUND, "account_not_found", "the Item has no such account", members)


def transaction_not_found_error() -> RefusedError:
    """Return the error for a transaction that an Item has not."""
    fix = {"fix": "find it with GET /items/{item_id}/transactions"}
    return RefusedError(Refusal.NOT_FOUND, "transaction_not_found", "the Item has no such transaction", fix)


def if_match_required_error() -> RefusedError:
    """Return the error for a change without the version that it is based on."""
    fix = {"field": "If-Match", "fix": 'send the ETag of the GET, such as "3", "0" for the first ones, or * for any'}
    return RefusedError(Refusal.PRECONDITION_REQUIRED, "if_match_required", "If-Match is missing", fix)


def user_not_found_error() -> RefusedError:
    """Return the refusal of a user of whom nothing is stored."""
    members = {"fix": "send the client_user_id that their Items were linked for", "field": "client_user_id"}
    return RefusedError(Refusal.NOT_FOUND, "user_not_found", "nothing is stored of this user", members)


def user_being_erased_error() -> RefusedError:
    """Return the refusal of a link for a user whose erasure is not completed."""
    fix = "send DELETE /users/{client_user_id} until it returns 200, then send this request again"
    members = {"fix": fix, "field": "client_user_id"}
    return RefusedError(Refusal.CONFLICT, USER_BEING_ERASED, "the user is being erased", members)


def item_removed_error(item_id: ItemId) -> RefusedError:
    """Return the refusal of an Item that is removed."""
    members = {"fix": "link the bank again", "item_id": item_id}
    return RefusedError(Refusal.GONE, "item_removed", "the Item is removed", members)


def token_not_exported_error(item_id: ItemId) -> RefusedError:
    """Return the refusal to keep an Item at Plaid whose valid access token no other system has."""
    fix = "export it (POST /access-tokens/{item_id}/export, plaid-sync tokens export), or leave at_plaid out"
    detail = "the Item's access token was not exported, or was replaced since"
    return RefusedError(Refusal.CONFLICT, "token_not_exported", detail, {"fix": fix, "item_id": item_id})


# ---- fields: each function raises InvalidRequestError, which names the field and the fix


def require_object(body: object, fields: Collection[str], example: str) -> dict[str, Any]:
    """Return a parsed body that is an object and has no other fields than these."""
    if not isinstance(body, dict):
        raise InvalidRequestError("body", f"send a JSON object, {example}")
    reject_unknown(body, fields, "field")
    return body


def reject_unknown(given: Mapping[str, Any], expected: Collection[str], kind: str) -> None:
    """Refuse a name that this request does not have, so that a misspelled one is not ignored."""
    unknown = sorted(set(given) - set(expected))
    if unknown:
        name = str(unknown[0])[:_MAX_SHOWN_NAME_LENGTH].encode("ascii", "backslashreplace").decode() or "(no name)"
        raise InvalidRequestError(name, f"is not a {kind} of this request: leave it out")


def optional_text(given: Mapping[str, Any], name: str, max_length: int) -> str | None:
    """Return an optional text of 1 to `max_length` printable characters."""
    if name not in given:
        return None
    value = given[name]
    if not isinstance(value, str) or not 0 < len(value) <= max_length or not value.isprintable():
        raise InvalidRequestError(name, f"send 1 to {max_length} printable characters")
    return value


def optional_token(given: Mapping[str, Any], name: str, prefix: str) -> str | None:
    """Return an optional token of Plaid's."""
    if name not in given:
        return None
    value = given[name]
    if not is_token(value) or not value.startswith(prefix):
        raise InvalidRequestError(name, f"send the {name.replace('_', ' ')} that Link returned, {prefix}...")
    return value


def optional_flag(given: Mapping[str, Any], name: str) -> bool:
    """Return a boolean, false where it is absent."""
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequestError(name, "send true or false")
    return value


def optional_int(given: Mapping[str, Any], name: str, minimum: int, maximum: int) -> int | None:
    """Return an optional integer."""
    if name not in given:
        return None
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise InvalidRequestError(name, f"send an integer from {minimum} to {maximum}")
    return value


def optional_choice(given: Mapping[str, Any], name: str, choices: Collection[str]) -> str | None:
    """Return an optional word out of `choices`."""
    if name not in given:
        return None
    value = given[name]
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequestError(name, f"send one of {', '.join(choices)}")
    return value


def optional_choices(given: Mapping[str, Any], name: str, choices: Collection[str], default: str) -> tuple[str, ...]:
    """Return a list of distinct words out of `choices`."""
    value = given.get(name, [default])
    if not isinstance(value, list) or not value or any(word not in choices for word in value if isinstance(word, str)):
        raise InvalidRequestError(name, f"send a list of one or more of {', '.join(choices)}")
    if any(not isinstance(word, str) for word in value) or len(set(value)) != len(value):
        raise InvalidRequestError(name, f"send a list of one or more of {', '.join(choices)}, each once")
    return tuple(value)


def erase_requested(query: Mapping[str, str]) -> bool:
    """Return whether the query asks to erase the transactions."""
    return optional_choice(query, "transactions", ("keep", "erase")) == "erase"


def kept_at_plaid(query: Mapping[str, str]) -> bool:
    """Return whether the query leaves the Item at Plaid."""
    return optional_choice(query, "at_plaid", ("remove", "keep")) == "keep"
