"""The bodies of Plaid's webhooks, with the fields of each webhook code."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from local.plaid.errors import PlaidError
from local.plaid.wire import JsonObject, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from local.plaid.items import Item, LinkSession, LinkToken

ENVIRONMENT = "sandbox"
_NOTICE_PERIOD = timedelta(days=7)

TRANSACTIONS_CODES = (
    "SYNC_UPDATES_AVAILABLE",
    "INITIAL_UPDATE",
    "HISTORICAL_UPDATE",
    "DEFAULT_UPDATE",
    "TRANSACTIONS_REMOVED",
    "RECURRING_TRANSACTIONS_UPDATE",
)
ITEM_CODES = (
    "ERROR",
    "LOGIN_REPAIRED",
    "PENDING_DISCONNECT",
    "PENDING_EXPIRATION",
    "USER_PERMISSION_REVOKED",
    "USER_ACCOUNT_REVOKED",
    "NEW_ACCOUNTS_AVAILABLE",
    "WEBHOOK_UPDATE_ACKNOWLEDGED",
)
# The webhook codes of /sandbox/item/fire_webhook, each with its default webhook type.
SANDBOX_CODES = {
    "DEFAULT_UPDATE": "TRANSACTIONS",
    "RECURRING_TRANSACTIONS_UPDATE": "TRANSACTIONS",
    "SYNC_UPDATES_AVAILABLE": "TRANSACTIONS",
    "NEW_ACCOUNTS_AVAILABLE": "ITEM",
    "USER_PERMISSION_REVOKED": "ITEM",
    "USER_ACCOUNT_REVOKED": "ITEM",
    "PENDING_DISCONNECT": "ITEM",
    "LOGIN_REPAIRED": "ITEM",
    "SMS_MICRODEPOSITS_VERIFICATION": "AUTH",
    "AUTHORIZATION_GRANTED": "AUTH",
    "PRODUCT_READY": "ASSETS",
    "ERROR": "ASSETS",
}


def payload(item: Item, webhook_type: str, webhook_code: str, now: datetime) -> JsonObject:
    """Return the body of a webhook about this Item, as Plaid would send it now."""
    extra_fields = _EXTRA_FIELDS.get((webhook_type, webhook_code))
    return {
        "environment": ENVIRONMENT,
        "item_id": item.item_id,
        "webhook_code": webhook_code,
        "webhook_type": webhook_type,
        **(extra_fields(item, now) if extra_fields else {}),
    }


def link_payload(token: LinkToken, session: LinkSession, webhook_code: str) -> JsonObject:
    """Return the fields that the webhooks about a Link session share."""
    return {
        "environment": ENVIRONMENT,
        "link_session_id": session.session_id,
        "link_token": token.name,
        "webhook_code": webhook_code,
        "webhook_type": "LINK",
        **({"user_id": token.config.user_id} if token.config.user_id else {}),
    }


def _sync_updates(item: Item, _now: datetime) -> JsonObject:
    phases = type(item.phase)
    return {
        "historical_update_complete": item.phase >= phases.HISTORICAL,
        "initial_update_complete": item.phase >= phases.INITIAL,
    }


def _new_transactions(_item: Item, _now: datetime) -> JsonObject:
    return {"error": None, "new_transactions": 0}


def _error(item: Item, _now: datetime) -> JsonObject:
    return {"error": PlaidError(item.error_code or "ITEM_LOGIN_REQUIRED").webhook_body()}


def _account_ids(item: Item, _now: datetime) -> JsonObject:
    return {"account_ids": [account["account_id"] for account in item.generator.accounts]}


def _expiration(item: Item, now: datetime) -> JsonObject:
    return {"consent_expiration_time": timestamp(item.consent_expiration_time or now + _NOTICE_PERIOD)}


def _revoked_account(item: Item, _now: datetime) -> JsonObject:
    account_ids = list(item.unlisted)[-1:] or [item.generator.accounts[0]["account_id"]]
    return {"account_id": account_ids[0]}


_EXTRA_FIELDS: dict[tuple[str, str], Callable[[Item, Any], JsonObject]] = {
    ("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"): _sync_updates,
    ("TRANSACTIONS", "INITIAL_UPDATE"): _new_transactions,
    ("TRANSACTIONS", "HISTORICAL_UPDATE"): _new_transactions,
    ("TRANSACTIONS", "DEFAULT_UPDATE"): _new_transactions,
    ("TRANSACTIONS", "TRANSACTIONS_REMOVED"): lambda _item, _now: {"error": None, "removed_transactions": []},
    ("TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE"): _account_ids,
    ("ITEM", "ERROR"): _error,
    ("ITEM", "PENDING_DISCONNECT"): lambda _item, now: {
        "disconnect_time": timestamp(now + _NOTICE_PERIOD),
        "reason": "INSTITUTION_MIGRATION",
    },
    ("ITEM", "PENDING_EXPIRATION"): _expiration,
    ("ITEM", "USER_PERMISSION_REVOKED"): lambda _item, _now: {
        "error": PlaidError("USER_PERMISSION_REVOKED").webhook_body()
    },
    ("ITEM", "USER_ACCOUNT_REVOKED"): _revoked_account,
    ("ITEM", "NEW_ACCOUNTS_AVAILABLE"): lambda _item, _now: {"error": None},
    ("ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED"): lambda item, _now: {"error": None, "new_webhook_url": item.webhook_url},
}
