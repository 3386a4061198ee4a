"""Plaid's endpoints: from a validated request body to a response body."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from local.plaid import fields, link_endpoints, vocabulary
from local.plaid.errors import PlaidError
from local.plaid.generator import Draft
from local.plaid.syncing import SyncRequest
from local.plaid.webhooks import SANDBOX_CODES
from local.plaid.wire import JsonObject, timestamp

if TYPE_CHECKING:
    from local.plaid.calls import Call
    from local.plaid.items import Item

_MOST_CREATED = 10
_OLDEST_CREATED = timedelta(days=730)


def _item_get(call: Call) -> JsonObject:
    item = call.the_item
    sent = item.last_webhook
    return {
        "item": {**item_object(item), "created_at": timestamp(item.created_at)},
        "status": {
            "investments": None,
            "last_webhook": {"code_sent": sent[1], "sent_at": timestamp(sent[0])} if sent else None,
            "transactions": {
                "last_failed_update": timestamp(item.last_failure) if item.last_failure else None,
                "last_successful_update": timestamp(item.last_success) if item.last_success else None,
            },
        },
    }


def item_object(item: Item) -> JsonObject:
    """Return an Item as Plaid shows it."""
    return {
        "auth_method": None,
        "available_products": ["balance"],
        "billed_products": list(item.options.products),
        "consent_expiration_time": timestamp(item.consent_expiration_time) if item.consent_expiration_time else None,
        "error": PlaidError(item.error_code).webhook_body() if item.error_code else None,
        "institution_id": item.options.institution_id,
        "institution_name": vocabulary.institution_name(item.options.institution_id),
        "item_id": item.item_id,
        "products": list(item.options.products),
        "update_type": "background",
        "webhook": item.webhook_url,
    }


def _item_remove(call: Call) -> JsonObject:
    call.sim.remove_item(call.the_item.item_id)
    return {}


def _webhook_update(call: Call) -> JsonObject:
    call.sim.update_webhook(call.the_item.item_id, fields.optional_text(call.body, "webhook"))
    return {"item": item_object(call.the_item)}


def _invalidate(call: Call) -> JsonObject:
    return {"new_access_token": call.sim.rotate_access_token(call.the_item.item_id)}


def _accounts_get(call: Call) -> JsonObject:
    accounts = call.sim.account_rows(call.healthy_item.item_id)
    wanted = fields.mapping(call.body, "options").get("account_ids")
    if wanted is not None:
        if not set(wanted) <= {account["account_id"] for account in accounts}:
            raise PlaidError("INVALID_ACCOUNT_ID")
        accounts = [account for account in accounts if account["account_id"] in wanted]
    return {"accounts": accounts, "item": item_object(call.the_item)}


def _sync(call: Call) -> JsonObject:
    options = fields.mapping(call.body, "options", nullable=False)
    request = SyncRequest(
        cursor=fields.optional_text(call.body, "cursor") or "",
        count=fields.integer(call.body, "count", 1, 500) or 100,
        account_id=fields.optional_text(options, "account_id"),
        days_requested=fields.integer(options, "days_requested", 1, 730),
        original_description=bool(options.get("include_original_description")),
        category_version=fields.choice(options, "personal_finance_category_version", ("v2", "v1")),
    )
    return call.sim.sync(call.the_item, request)


def _refresh(call: Call) -> JsonObject:
    if call.healthy_item.log.head:
        call.sim.refresh(call.the_item.item_id)
    return {}


def _key_get(call: Call) -> JsonObject:
    return {"key": call.sim.keys.public(fields.text(call.body, "key_id"))}


def _fire_webhook(call: Call) -> JsonObject:
    code = fields.choice(call.body, "webhook_code", tuple(SANDBOX_CODES), required=True)
    kind = fields.optional_text(call.body, "webhook_type") or SANDBOX_CODES[code]
    if not call.sim.fire_webhook(call.the_item.item_id, kind, code):
        raise PlaidError("SANDBOX_WEBHOOK_INVALID")
    return {"webhook_fired": True}


def _reset_login(call: Call) -> JsonObject:
    call.sim.reset_login(call.the_item.item_id)
    return {"reset_login": True}


def _transactions_create(call: Call) -> JsonObject:
    entries: Any = call.body.get("transactions")
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MOST_CREATED:
        raise PlaidError("INVALID_FIELD", detail="transactions must be an array of 1 to 10 transactions")
    today = call.sim.clock().date()
    known = {account["account_id"]: account for account in call.the_item.generator.accounts}
    if not known:
        raise PlaidError("NO_ACCOUNTS")
    default = next(iter(known))
    drafts = [_draft(entry, today, default, known) for entry in entries]
    call.sim.add_drafts(call.the_item.item_id, drafts)
    return {}


def _draft(entry: object, today: date, default: str, known: JsonObject) -> Draft:
    if not isinstance(entry, dict):
        raise PlaidError("INVALID_FIELD", detail="transactions must be objects")
    fields.require(entry, "amount", "date_posted", "date_transacted", "description")
    transacted, posted = fields.day(entry, "date_transacted"), fields.day(entry, "date_posted")
    if posted < transacted or not today - _OLDEST_CREATED <= transacted <= today:
        raise PlaidError("INVALID_FIELD", detail="date_transacted must be within 730 days and not after date_posted")
    account_id = fields.optional_text(entry, "account_id") or default
    if account_id not in known:
        raise PlaidError("INVALID_ACCOUNT_ID")
    amount = entry["amount"]
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        raise PlaidError("INVALID_FIELD", detail="amount must be a number")
    return Draft(
        transacted if posted > today else posted,
        pending=posted > today,
        account_id=account_id,
        name=fields.text(entry, "description"),
        amount=Decimal(amount),
        iso_currency_code=fields.optional_text(entry, "iso_currency_code"),
    )


Endpoint = Callable[["Call"], JsonObject]
ENDPOINTS: dict[str, Endpoint] = {
    "/accounts/get": _accounts_get,
    "/item/access_token/invalidate": _invalidate,
    "/item/get": _item_get,
    "/item/public_token/exchange": link_endpoints.exchange,
    "/item/remove": _item_remove,
    "/item/webhook/update": _webhook_update,
    "/link/token/create": link_endpoints.link_token_create,
    "/link/token/get": link_endpoints.link_token_get,
    "/sandbox/item/fire_webhook": _fire_webhook,
    "/sandbox/item/reset_login": _reset_login,
    "/sandbox/public_token/create": link_endpoints.public_token_create,
    "/sandbox/transactions/create": _transactions_create,
    "/transactions/refresh": _refresh,
    "/transactions/sync": _sync,
    "/webhook_verification_key/get": _key_get,
}
NEEDS_NO_ITEM = frozenset(
    {
        "/item/public_token/exchange",
        "/link/token/create",
        "/link/token/get",
        "/sandbox/public_token/create",
        "/webhook_verification_key/get",
    }
)
