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
    "PRODUCT_READY": "ASSETS",
    "ERROR": "ASSETS",
}


def payload(item: Item, webhook_type: str, webhook_code: str, now: datetime) -> JsonObject:
    """Return the body of a webhook about this Item, as Plaid would send it now."""
    extra_fields = EXTRA_FIELDS.get((webhook_type, webhook_code))
    return {
        "environment": ENVIRONMENT,
        **({} if webhook_type == "ASSETS" else {"item_id": item.item_id}),
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
    return {"error": (item.error or PlaidError("ITEM_LOGIN_REQUIRED")).webhook_body()}


def _no_error(_item: Item, _now: datetime) -> JsonObject:
    return {"error": None}


def _first_account(item: Item, _now: datetime) -> JsonObject:
    return {"account_id": item.generator.account_ids[0], "error": None}


def _updated(product: str, changed: str) -> Callable[[Item, datetime], JsonObject]:
    """Return the fields of a webhook about new data of a product in the first account."""

    def fields(item: Item, _now: datetime) -> JsonObject:
        updated = {item.generator.account_ids[0]: [changed]}
        return {f"account_ids_with_updated_{product}": updated, "error": None}

    return fields


def _investments(_item: Item, _now: datetime) -> JsonObject:
    return {"cancelled_investments_transactions": 0, "error": None, "new_investments_transactions": 16}


def _assets(_item: Item, _now: datetime) -> JsonObject:
    return {"asset_report_id": "47dfc92b-bba3-4583-809e-ce871b321f05"}


def _account_ids(item: Item, _now: datetime) -> JsonObject:
    return {"account_ids": item.generator.account_ids}


def _expiration(item: Item, now: datetime) -> JsonObject:
    return {"consent_expiration_time": timestamp(item.consent_expiration_time or now + _NOTICE_PERIOD)}


def _revoked_account(item: Item, _now: datetime) -> JsonObject:
    account_ids = list(item.unlisted)[-1:] or [item.generator.account_ids[0]]
    return {"account_id": account_ids[0]}


# The webhooks about an Item whose fields this server knows.
EXTRA_FIELDS: dict[tuple[str, str], Callable[[Item, Any], JsonObject]] = {
    ("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"): _sync_updates,
    ("TRANSACTIONS", "INITIAL_UPDATE"): _new_transactions,
    ("TRANSACTIONS", "HISTORICAL_UPDATE"): _new_transactions,
    ("TRANSACTIONS", "DEFAULT_UPDATE"): _new_transactions,
    ("TRANSACTIONS", "TRANSACTIONS_REMOVED"): lambda _item, _now: {"error": None, "removed_transactions": []},
    ("TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE"): _account_ids,
    ("ITEM", "ERROR"): _error,
    ("ITEM", "LOGIN_REPAIRED"): lambda _item, _now: {},
    ("ITEM", "PENDING_DISCONNECT"): lambda _item, now: {
        "disconnect_time": timestamp(now + _NOTICE_PERIOD),
        "reason": "INSTITUTION_MIGRATION",
    },
    ("ITEM", "PENDING_EXPIRATION"): _expiration,
    ("ITEM", "USER_PERMISSION_REVOKED"): lambda _item, _now: {
        "error": PlaidError("USER_PERMISSION_REVOKED").webhook_body()
    },
    ("ITEM", "USER_ACCOUNT_REVOKED"): _revoked_account,
    ("ITEM", "NEW_ACCOUNTS_AVAILABLE"): _no_error,
    ("ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED"): lambda item, _now: {"error": None, "new_webhook_url": item.webhook_url},
    ("AUTH", "AUTOMATICALLY_VERIFIED"): _first_account,
    ("AUTH", "DEFAULT_UPDATE"): lambda item, now: {
        "account_ids_with_new_auth": [],
        **_updated("auth", "ACCOUNT_NUMBER")(item, now),
    },
    ("AUTH", "SMS_MICRODEPOSITS_VERIFICATION"): lambda item, _now: {
        "account_id": item.generator.account_ids[0],
        "status": "MANUALLY_VERIFIED",
    },
    ("AUTH", "VERIFICATION_EXPIRED"): _first_account,
    ("HOLDINGS", "DEFAULT_UPDATE"): lambda _item, _now: {"error": None, "new_holdings": 19, "updated_holdings": 0},
    ("IDENTITY", "DEFAULT_UPDATE"): _updated("identity", "ADDRESSES"),
    ("INVESTMENTS_TRANSACTIONS", "DEFAULT_UPDATE"): _investments,
    ("INVESTMENTS_TRANSACTIONS", "HISTORICAL_UPDATE"): _investments,
    ("LIABILITIES", "DEFAULT_UPDATE"): lambda item, now: {
        "account_ids_with_new_liabilities": [],
        **_updated("liabilities", "past_amount_due")(item, now),
    },
    ("STATEMENTS", "STATEMENTS_REFRESH_COMPLETE"): lambda _item, _now: {"result": "SUCCESS"},
    ("ASSETS", "ERROR"): lambda item, now: {
        **_assets(item, now),
        "error": PlaidError("PRODUCT_NOT_ENABLED").webhook_body(),
    },
    ("ASSETS", "PRODUCT_READY"): lambda item, now: {**_assets(item, now), "report_type": "FULL"},
}
# The webhook that reports new data of each product.
PRODUCT_WEBHOOKS: dict[str, tuple[str, str]] = {
    "auth": ("AUTH", "DEFAULT_UPDATE"),
    "holdings": ("HOLDINGS", "DEFAULT_UPDATE"),
    "identity": ("IDENTITY", "DEFAULT_UPDATE"),
    "investments_transactions": ("INVESTMENTS_TRANSACTIONS", "DEFAULT_UPDATE"),
    "liabilities": ("LIABILITIES", "DEFAULT_UPDATE"),
    "recurring": ("TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE"),
}
TRANSACTIONS_CODES = tuple(code for webhook_type, code in EXTRA_FIELDS if webhook_type == "TRANSACTIONS")
ITEM_CODES = tuple(code for webhook_type, code in EXTRA_FIELDS if webhook_type == "ITEM")
