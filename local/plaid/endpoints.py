"""Plaid's endpoints: from a validated request body to a response body."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from local.plaid import link_endpoints
from local.plaid import request_fields as fields
from local.plaid.errors import PlaidError
from local.plaid.generator import CustomTransaction
from local.plaid.sample_data import institution_name
from local.plaid.sync import SyncRequest
from local.plaid.webhooks import SANDBOX_CODES
from local.plaid.wire import JsonObject, optional_timestamp, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plaid.items import Item
    from local.plaid.request_fields import Call

_MAX_CREATED = 10
_MAX_CREATED_AGE = timedelta(days=730)
_MAX_NOTE_LENGTH = 512
_CREDENTIALS: fields.Fields = {"client_id": fields.optional_text, "secret": fields.optional_text}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint.

    Attributes:
        known: the fields that it recognizes, besides the credentials.
    """

    respond: Callable[[Call], JsonObject]
    known: fields.Fields
    needs_item: bool = True

    def check_fields(self, body: JsonObject) -> None:
        fields.check(body, {**_CREDENTIALS, **self.known})


def _item_get(call: Call) -> JsonObject:
    item = call.required_item
    sent = item.last_webhook
    return {
        "item": {**item_object(item), "created_at": timestamp(item.created_at)},
        "status": {
            "investments": None,
            "last_webhook": {"code_sent": sent[1], "sent_at": timestamp(sent[0])} if sent else None,
            "transactions": {
                "last_failed_update": optional_timestamp(item.last_failure),
                "last_successful_update": optional_timestamp(item.last_success),
            },
        },
    }


def item_object(item: Item) -> JsonObject:
    return {
        "auth_method": None,
        "available_products": ["balance"],
        "billed_products": list(item.options.products),
        "consent_expiration_time": optional_timestamp(item.consent_expiration_time),
        "error": PlaidError(item.error_code).webhook_body() if item.error_code else None,
        "institution_id": item.options.institution_id,
        "institution_name": institution_name(item.options.institution_id),
        "item_id": item.item_id,
        "products": list(item.options.products),
        "update_type": "background",
        "webhook": item.webhook_url,
    }


def _item_remove(call: Call) -> JsonObject:
    reason = fields.optional_text(call.body, "reason_code"), fields.optional_text(call.body, "reason_note")
    call.required_item.removal_reason = reason
    call.sim.remove_item(call.required_item.item_id)
    return {}


def _reason_note(body: JsonObject, name: str) -> object:
    note = fields.optional_text(body, name)
    if note is not None and len(note) > _MAX_NOTE_LENGTH:
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be at most {_MAX_NOTE_LENGTH} characters long")
    return note


def _webhook_update(call: Call) -> JsonObject:
    call.sim.update_webhook(call.required_item.item_id, fields.url(call.body, "webhook"))
    return {"item": item_object(call.required_item)}


def _access_token_invalidate(call: Call) -> JsonObject:
    return {"new_access_token": call.sim.rotate_access_token(call.required_item.item_id)}


def _accounts_get(call: Call) -> JsonObject:
    accounts = call.sim.account_rows(call.healthy_item.item_id)
    requested = fields.optional_texts(fields.mapping(call.body, "options"), "account_ids")
    if requested:
        if not set(requested) <= {account["account_id"] for account in accounts}:
            raise PlaidError("INVALID_ACCOUNT_ID")
        accounts = [account for account in accounts if account["account_id"] in requested]
    return {"accounts": accounts, "item": item_object(call.required_item)}


def _transactions_sync(call: Call) -> JsonObject:
    options = fields.mapping(call.body, "options", nullable=False)
    request = SyncRequest(
        cursor=fields.optional_text(call.body, "cursor") or "",
        count=fields.integer(call.body, "count", 1, 500) or 100,
        account_id=fields.optional_text(options, "account_id"),
        days_requested=fields.integer(options, "days_requested", 1, 730),
        original_description=bool(options.get("include_original_description")),
        category_version=fields.choice(options, "personal_finance_category_version", ("v2", "v1")),
    )
    return call.sim.sync(call.required_item, request)


def _transactions_refresh(call: Call) -> JsonObject:
    if call.healthy_item.log.head:
        call.sim.refresh(call.required_item.item_id)
    return {}


def _key_get(call: Call) -> JsonObject:
    return {"key": call.sim.keys.public(fields.text(call.body, "key_id"))}


def _fire_webhook(call: Call) -> JsonObject:
    code = fields.choice(call.body, "webhook_code", tuple(SANDBOX_CODES), required=True)
    webhook_type = fields.optional_text(call.body, "webhook_type") or SANDBOX_CODES[code]
    if not call.sim.fire_webhook(call.required_item.item_id, webhook_type, code):
        raise PlaidError("SANDBOX_WEBHOOK_INVALID")
    return {"webhook_fired": True}


def _reset_login(call: Call) -> JsonObject:
    call.sim.reset_login(call.required_item.item_id)
    return {"reset_login": True}


def _transactions_create(call: Call) -> JsonObject:
    entries: Any = call.body.get("transactions")
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MAX_CREATED:
        raise PlaidError("INVALID_FIELD", detail="transactions must be an array of 1 to 10 transactions")
    today = call.sim.clock().date()
    account_ids = [account["account_id"] for account in call.required_item.generator.accounts]
    if not account_ids:
        raise PlaidError("NO_ACCOUNTS")
    transactions = [_custom_transaction(entry, today, account_ids) for entry in entries]
    call.sim.add_custom_transactions(call.required_item.item_id, transactions)
    return {}


def _custom_transaction(entry: object, today: date, account_ids: list[str]) -> CustomTransaction:
    if not isinstance(entry, dict):
        raise PlaidError("INVALID_FIELD", detail="transactions must be objects")
    fields.check(entry, _CREATED, "transactions.")
    fields.require(entry, "amount", "date_posted", "date_transacted", "description")
    transacted, posted = fields.day(entry, "date_transacted"), fields.day(entry, "date_posted")
    if posted < transacted or not today - _MAX_CREATED_AGE <= transacted <= today:
        raise PlaidError("INVALID_FIELD", detail="date_transacted must be within 730 days and not after date_posted")
    account_id = fields.optional_text(entry, "account_id") or account_ids[0]
    if account_id not in account_ids:
        raise PlaidError("INVALID_ACCOUNT_ID")
    amount = entry["amount"]
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        raise PlaidError("INVALID_FIELD", detail="amount must be a number")
    return CustomTransaction(
        transacted if posted > today else posted,
        pending=posted > today,
        account_id=account_id,
        name=fields.text(entry, "description"),
        amount=Decimal(amount),
        iso_currency_code=fields.optional_text(entry, "iso_currency_code"),
    )


def _with_item(respond: Callable[[Call], JsonObject], **known: fields.Check | fields.Fields) -> Endpoint:
    return Endpoint(respond, {"access_token": fields.optional_text, **known})


def _without_item(respond: Callable[[Call], JsonObject], **known: fields.Check | fields.Fields) -> Endpoint:
    return Endpoint(respond, known, needs_item=False)


_CREATED: fields.Fields = {
    "account_id": fields.optional_text,
    "amount": fields.anything,
    "date_posted": fields.day,
    "date_transacted": fields.day,
    "description": fields.text,
    "iso_currency_code": fields.optional_text,
}
_SYNC_OPTIONS: fields.Fields = {
    "account_id": fields.optional_text,
    "days_requested": fields.between(1, 730),
    "include_logo_and_counterparty_beta": fields.flag,
    "include_original_description": fields.flag,
    "include_personal_finance_category": fields.flag,
    "personal_finance_category_version": fields.one_of("v2", "v1"),
}
_REASONS = (
    "FRAUD_FIRST_PARTY",
    "FRAUD_FALSE_IDENTITY",
    "FRAUD_ABUSE",
    "FRAUD_OTHER",
    "CONNECTION_IS_NON_FUNCTIONAL",
    "OTHER",
)

ENDPOINTS: dict[str, Endpoint] = {
    "/accounts/get": _with_item(_accounts_get, options={"account_ids": fields.optional_texts}),
    "/item/access_token/invalidate": _with_item(_access_token_invalidate),
    "/item/get": _with_item(_item_get),
    "/item/public_token/exchange": _without_item(link_endpoints.public_token_exchange, public_token=fields.text),
    "/item/remove": _with_item(_item_remove, reason_code=fields.one_of(*_REASONS), reason_note=_reason_note),
    "/item/webhook/update": _with_item(_webhook_update, webhook=fields.url),
    "/link/token/create": Endpoint(
        link_endpoints.link_token_create, link_endpoints.LINK_TOKEN_FIELDS, needs_item=False
    ),
    "/link/token/get": _without_item(link_endpoints.link_token_get, link_token=fields.text),
    "/sandbox/item/fire_webhook": _with_item(
        _fire_webhook, webhook_type=fields.optional_text, webhook_code=fields.text
    ),
    "/sandbox/item/reset_login": _with_item(_reset_login),
    "/sandbox/public_token/create": _without_item(
        link_endpoints.public_token_create, **link_endpoints.PUBLIC_TOKEN_FIELDS
    ),
    "/sandbox/transactions/create": _with_item(_transactions_create, transactions=fields.anything),
    "/transactions/refresh": _with_item(_transactions_refresh),
    "/transactions/sync": _with_item(
        _transactions_sync, cursor=fields.optional_text, count=fields.between(1, 500), options=_SYNC_OPTIONS
    ),
    "/webhook_verification_key/get": _without_item(_key_get, key_id=fields.text),
}
