"""The link-token bodies that repair an Item: each is sent to POST /link-tokens as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.errors import Remedy
from plaid_sync.domain.requests import remedy_and_fix

if TYPE_CHECKING:
    from plaid_sync.domain.item import Item

_UPDATE_MODES: Final = frozenset({Remedy.UPDATE_MODE, Remedy.BANK_THEN_UPDATE_MODE})
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # The user never gave consent to Transactions, or Plaid now requires it.
    "ADDITIONAL_CONSENT_REQUIRED": {"additional_consented_products": ["transactions"]},
    "NO_ACCOUNTS": {"account_selection": True},
}
"""What update mode needs to repair an error, beyond the Item."""
_MAY_FAIL: Final = frozenset({"INVALID_UPDATED_USERNAME", "USER_PERMISSION_REVOKED"})
"""Errors that update mode may not repair: a login under another name is another login."""


def repair_view(item: Item) -> dict[str, Any] | None:
    """Return the body of the link token that repairs an Item, and what follows; None where its user can do nothing."""
    remedy, _ = remedy_and_fix(item)
    code = item.state.code or ""
    if remedy is Remedy.RELINK:
        return _relink(item)
    if remedy not in _UPDATE_MODES:
        return None
    repair: dict[str, Any] = {
        "link_token": {"item_id": item.item_id, **_OPTIONS.get(code, {})},
        "then": f"POST /items/{item.item_id}/sync",
    }
    return repair | {"fallback": _relink(item)} if code in _MAY_FAIL else repair


def _relink(item: Item) -> dict[str, Any]:
    """Return the body for a new link that replaces the Item; without a user of ours the caller adds its reference."""
    user_id = item.client_user_id
    body = {} if user_id is None else {"client_user_id": user_id, "replace": item.item_id}
    return {"link_token": body, "then": f"POST /items?replace={item.item_id}"}
