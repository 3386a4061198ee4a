"""Plaid's endpoints: from a validated request body to a response body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.plaid import institution_endpoints, link_endpoints, product_endpoints, transaction_endpoints
from local.plaid import request_fields as fields
from local.plaid.errors import PlaidError
from local.plaid.item_views import item_object
from local.plaid.webhooks import EXTRA_FIELDS, SANDBOX_CODES
from local.plaid.wire import JsonObject, optional_timestamp, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plaid.request_fields import Call

_MAX_NOTE_LENGTH = 512
_SANDBOX_TYPES = ("AUTH", "HOLDINGS", "INVESTMENTS_TRANSACTIONS", "ITEM", "LIABILITIES", "TRANSACTIONS", "ASSETS")
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
    requested = fields.optional_texts(fields.mapping(call.body, "options"), "account_ids")
    accounts = transaction_endpoints.accounts_of(call.healthy_item, requested)
    return {"accounts": accounts, "item": item_object(call.required_item)}


def _key_get(call: Call) -> JsonObject:
    return {"key": call.sim.keys.public(fields.text(call.body, "key_id"))}


def _fire_webhook(call: Call) -> JsonObject:
    code = fields.choice(call.body, "webhook_code", tuple(SANDBOX_CODES), required=True)
    webhook_type = fields.optional_text(call.body, "webhook_type") or SANDBOX_CODES[code]
    known = (webhook_type, code) in EXTRA_FIELDS
    if not known or not call.sim.fire_webhook(call.required_item.item_id, webhook_type, code):
        raise PlaidError("SANDBOX_WEBHOOK_INVALID")
    return {"webhook_fired": True}


def _reset_login(call: Call) -> JsonObject:
    call.sim.reset_login(call.required_item.item_id)
    return {"reset_login": True}


def _with_item(respond: Callable[[Call], JsonObject], **known: fields.Check | fields.Fields) -> Endpoint:
    return Endpoint(respond, {"access_token": fields.optional_text, **known})


def _without_item(respond: Callable[[Call], JsonObject], **known: fields.Check | fields.Fields) -> Endpoint:
    return Endpoint(respond, known, needs_item=False)


_REASONS = (
    "FRAUD_FIRST_PARTY",
    "FRAUD_FALSE_IDENTITY",
    "FRAUD_ABUSE",
    "FRAUD_OTHER",
    "CONNECTION_IS_NON_FUNCTIONAL",
    "OTHER",
)

ENDPOINTS: dict[str, Endpoint] = {
    "/accounts/balance/get": _with_item(
        _accounts_get, options={"account_ids": fields.optional_texts, "min_last_updated_datetime": fields.optional_text}
    ),
    "/auth/get": _with_item(product_endpoints.auth_get, **product_endpoints.ACCOUNT_FIELDS),
    "/identity/get": _with_item(product_endpoints.identity_get, **product_endpoints.ACCOUNT_FIELDS),
    "/investments/holdings/get": _with_item(product_endpoints.holdings_get, **product_endpoints.ACCOUNT_FIELDS),
    "/investments/transactions/get": _with_item(
        product_endpoints.investments_transactions_get, **product_endpoints.INVESTMENTS_TRANSACTIONS_FIELDS
    ),
    "/liabilities/get": _with_item(product_endpoints.liabilities_get, **product_endpoints.ACCOUNT_FIELDS),
    "/accounts/get": _with_item(_accounts_get, options={"account_ids": fields.optional_texts}),
    "/institutions/get": _without_item(institution_endpoints.institutions_get, **institution_endpoints.GET_FIELDS),
    "/institutions/get_by_id": _without_item(
        institution_endpoints.institution_get, **institution_endpoints.GET_BY_ID_FIELDS
    ),
    "/item/access_token/invalidate": _with_item(_access_token_invalidate),
    "/item/get": _with_item(_item_get),
    "/item/public_token/exchange": _without_item(link_endpoints.public_token_exchange, public_token=fields.text),
    "/item/remove": _with_item(_item_remove, reason_code=fields.one_of(*_REASONS), reason_note=_reason_note),
    "/item/webhook/update": _with_item(_webhook_update, webhook=fields.url),
    "/link/token/create": _without_item(link_endpoints.link_token_create, **link_endpoints.LINK_TOKEN_FIELDS),
    "/link/token/get": _without_item(link_endpoints.link_token_get, link_token=fields.text),
    "/sandbox/item/fire_webhook": _with_item(
        _fire_webhook, webhook_type=fields.one_of(*_SANDBOX_TYPES), webhook_code=fields.text
    ),
    "/sandbox/item/reset_login": _with_item(_reset_login),
    "/sandbox/public_token/create": _without_item(
        link_endpoints.public_token_create, **link_endpoints.PUBLIC_TOKEN_FIELDS
    ),
    "/sandbox/transactions/create": _with_item(transaction_endpoints.transactions_create, transactions=fields.anything),
    "/transactions/get": _with_item(transaction_endpoints.transactions_get, **transaction_endpoints.GET_FIELDS),
    "/transactions/recurring/get": _with_item(
        transaction_endpoints.recurring_get, **transaction_endpoints.RECURRING_FIELDS
    ),
    "/transactions/refresh": _with_item(transaction_endpoints.transactions_refresh),
    "/transactions/sync": _with_item(transaction_endpoints.transactions_sync, **transaction_endpoints.SYNC_FIELDS),
    "/webhook_verification_key/get": _without_item(_key_get, key_id=fields.text),
}
