"""The endpoints of Link: link tokens, Link sessions and public tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from local.plaid import request_fields as fields
from local.plaid.errors import PlaidError
from local.plaid.institution_endpoints import check_institution_id
from local.plaid.items import DEFAULT_DAYS_REQUESTED, DEFAULT_INSTITUTION_ID, ItemOptions, LinkTokenConfig
from local.plaid.link_sessions import event_id, session_events
from local.plaid.sample_data import COUNTRY_CODES, PRODUCTS
from local.plaid.wire import JsonObject, nanosecond_timestamp, timestamp

if TYPE_CHECKING:
    from local.plaid.items import LinkSession, LinkToken
    from local.plaid.request_fields import Call

_MAX_NAME_LENGTH = 30
_MAX_LIFETIME_SECONDS = 21 * 24 * 3600
_SESSION_RETENTION = timedelta(hours=6)
_SECRETS = {"access_token", "access_tokens", "client_id", "secret"}
_LANGUAGES = ("en", "da", "de", "es", "et", "fr", "hi", "it", "lt", "lv", "nl", "no", "pl", "pt", "ro", "sv", "vi")
_NO_OTHER_RESULTS: JsonObject = {
    "bank_income_results": [],
    "cra_item_add_results": [],
    "cra_update_results": [],
    "document_income_results": None,
    "payroll_income_results": [],
}


# Fields for products that this server does not have.
_OTHER_FIELDS = (
    *("auth", "base_report", "card_switch", "cashflow_report", "consumer_report_permissible_purpose", "cra_options"),
    *("cra_report_parameter", "credit_partner_insights", "employment", "eu_config", "identity"),
    *("identity_verification", "income_verification", "investments", "investments_auth", "payment_configuration"),
    *("payment_initiation", "statements", "third_party_user_token", "transfer", "user_token"),
)
_ACCOUNT_FILTER: fields.Fields = {
    "account_subtypes": fields.optional_texts,
    "limited_purpose_types": fields.optional_texts,
}
LINK_TOKEN_FIELDS: fields.Fields = {
    **dict.fromkeys(_OTHER_FIELDS, fields.anything),
    "access_token": fields.optional_text,
    "access_tokens": fields.optional_texts,
    "account_filters": dict.fromkeys(("credit", "depository", "investment", "loan", "other"), _ACCOUNT_FILTER),
    "additional_consented_products": fields.many_of(*PRODUCTS),
    "android_package_name": fields.optional_text,
    "appearance_mode": fields.optional_text,
    "client_name": fields.text,
    "country_codes": fields.many_of(*COUNTRY_CODES),
    "cra_enabled": fields.flag,
    "enable_multi_item_link": fields.flag,
    "financekit_supported": fields.flag,
    "hosted_link": {
        "completion_redirect_uri": fields.optional_text,
        "delivery_method": fields.one_of("sms", "email"),
        "is_mobile_app": fields.flag,
        "url_lifetime_seconds": fields.between(1, _MAX_LIFETIME_SECONDS),
    },
    "institution_data": {"routing_number": fields.optional_text},
    "institution_id": fields.optional_text,
    "language": fields.one_of(*_LANGUAGES),
    "link_customization_name": fields.optional_text,
    "optional_products": fields.many_of(*PRODUCTS),
    "products": fields.many_of(*PRODUCTS),
    "redirect_uri": fields.url,
    "required_if_supported_products": fields.many_of(*PRODUCTS),
    "transactions": {"days_requested": fields.between(1, 730)},
    "update": {
        "account_selection_enabled": fields.flag,
        "item_ids": fields.optional_texts,
        "reauthorization_enabled": fields.flag,
        "user": fields.flag,
    },
    "user": {
        **dict.fromkeys(("address", "id_number", "name"), fields.anything),
        **dict.fromkeys(("email_address_verified_time", "phone_number_verified_time", "ssn"), fields.optional_text),
        "client_user_id": fields.text,
        "date_of_birth": fields.day,
        "email_address": fields.optional_text,
        "legal_name": fields.optional_text,
        "phone_number": fields.optional_text,
    },
    "user_id": fields.optional_text,
    "webhook": fields.url,
}
_PRODUCT_FIELDS = ("products", "required_if_supported_products", "optional_products", "additional_consented_products")


def link_token_create(call: Call) -> JsonObject:
    config = _config(call)
    products = _products(call)
    days = fields.integer(fields.mapping(call.body, "transactions"), "days_requested", 1, 730)
    options = _options(call, fields.url(call.body, "webhook"), products, days)
    name, token = call.sim.create_link_token(options, call.item.item_id if call.item else None, config)
    token.request = {name: value for name, value in call.body.items() if name not in _SECRETS}
    hosted = {"hosted_link_url": token.hosted_url} if token.hosted_url else {}
    return {"expiration": timestamp(token.expires_at), "link_token": name, **hosted, **_user_id(config)}


def _user_id(config: LinkTokenConfig) -> JsonObject:
    return {"user_id": config.user_id} if config.user_id else {}


def _config(call: Call) -> LinkTokenConfig:
    body = call.body
    # A user_id from /user/create replaces `user`.
    user = () if body.get("user_id") else ("user",)
    fields.require(body, "client_name", "language", "country_codes", *user)
    hosted = fields.mapping(body, "hosted_link")
    filters = fields.mapping(body, "account_filters")
    for allowed in filters.values():
        fields.texts(allowed, "account_subtypes")
    return LinkTokenConfig(
        client_name=_client_name(body),
        language=fields.choice(body, "language", _LANGUAGES),
        country_codes=fields.texts(body, "country_codes"),
        client_user_id=_client_user_id(body) if user else None,
        redirect_uri=_redirect_uri(call),
        hosted=body.get("hosted_link") is not None,
        lifetime=fields.integer(hosted, "url_lifetime_seconds", 1, _MAX_LIFETIME_SECONDS),
        account_selection=fields.flag(fields.mapping(body, "update"), "account_selection_enabled"),
        multi_item=fields.flag(body, "enable_multi_item_link"),
        consented_products=fields.optional_texts(body, "additional_consented_products"),
        account_filters=filters or None,
        user_id=fields.optional_text(body, "user_id"),
    )


def _client_name(body: JsonObject) -> str:
    # Plaid accepts a longer name, but Link then shows "This Application": reject it so that a client notices.
    name = fields.text(body, "client_name")
    if len(name) > _MAX_NAME_LENGTH:
        raise PlaidError("INVALID_FIELD", detail=f"client_name must be at most {_MAX_NAME_LENGTH} characters long")
    return name


def _client_user_id(body: JsonObject) -> str:
    value: Any = fields.mapping(body, "user").get("client_user_id")
    if not isinstance(value, str) or not value:
        raise PlaidError("INVALID_FIELD", detail="user.client_user_id must be a properly formatted, non-empty string")
    return value


def _redirect_uri(call: Call) -> str | None:
    uri = fields.url(call.body, "redirect_uri")
    if uri is not None and "?" in uri:
        raise PlaidError("INVALID_FIELD", detail="redirect_uri must not contain any query parameters")
    if uri is not None and fields.optional_text(call.body, "android_package_name"):
        raise PlaidError("INVALID_FIELD", detail="redirect_uri must be omitted with android_package_name")
    return uri


def _products(call: Call) -> tuple[str, ...]:
    """Return the products of the new Item: every institution here supports all products."""
    named = [product for name in _PRODUCT_FIELDS for product in set(fields.optional_texts(call.body, name))]
    if len(named) > len(set(named)):
        raise PlaidError("INVALID_FIELD", detail=f"there must be no overlap between {', '.join(_PRODUCT_FIELDS)}")
    if call.item is None:
        fields.texts(call.body, "products")
        return tuple(product for name in _PRODUCT_FIELDS[:3] for product in fields.optional_texts(call.body, name))
    if call.body.get("products"):  # many clients send an empty array
        raise PlaidError("INVALID_FIELD", detail="products must be omitted in update mode")
    return ()


def _options(
    call: Call,
    webhook: str | None,
    products: tuple[str, ...],
    days: int | None,
    institution_id: str = DEFAULT_INSTITUTION_ID,
) -> ItemOptions:
    """Return the options of an Item with these products; Transactions among them is initialized at link."""
    behavior = call.sim.behavior
    initialize_at_link = "transactions" in products
    return ItemOptions(
        webhook,
        behavior.history_transactions,
        behavior.history_days,
        days or (DEFAULT_DAYS_REQUESTED if initialize_at_link else None),
        initialize_at_link=initialize_at_link,
        institution_id=institution_id,
        products=products,
    )


def link_token_get(call: Call) -> JsonObject:
    name = fields.text(call.body, "link_token")
    token = call.sim.link_token(name)
    now = call.sim.clock()
    sessions = [
        session for session in reversed(token.sessions) if now < (session.finished_at or now) + _SESSION_RETENTION
    ]
    filters = token.config.account_filters
    return {
        "created_at": timestamp(token.created_at),
        "expiration": timestamp(token.expires_at),
        "link_sessions": [_session(call, token, session) for session in sessions],
        "link_token": name,
        "metadata": {
            **({"account_filters": filters} if filters else {}),
            "client_name": token.config.client_name,
            "country_codes": list(token.config.country_codes),
            "initial_products": list(token.request.get("products") or token.options.products),
            "language": token.config.language,
            "redirect_uri": token.config.redirect_uri,
            "webhook": token.options.webhook_url,
        },
        **_user_id(token.config),
    }


def _session(call: Call, token: LinkToken, session: LinkSession) -> JsonObject:
    """Return a session as the API does, its events newest first; `link_results_seconds` delays its results."""
    behavior = call.sim.behavior
    form = behavior.link_results
    start = {"link_session_id": session.session_id, "started_at": nanosecond_timestamp(session.started_at)}
    if form == "absent" and not token.is_complete:
        return start
    shown_at = session.finished_at and session.finished_at + timedelta(seconds=behavior.link_results_seconds)
    if shown_at is None or shown_at > call.sim.clock():
        return {"events": session_events(session)[:1], "finished_at": None, **start}
    finished_at = nanosecond_timestamp(session.finished_at or shown_at)
    finished = {"events": session_events(session)[::-1], "finished_at": finished_at, **start}
    if form == "partial" and not token.is_complete:
        return finished
    return {**finished, **_deprecated(session), **({} if form == "deprecated" else _results(session))}


def _results(session: LinkSession) -> JsonObject:
    if session.exited:
        return {"exit": _exit(session)}
    return {"results": {"item_add_results": session.added, **_NO_OTHER_RESULTS}}


def _deprecated(session: LinkSession) -> JsonObject:
    if session.exited:
        return {"on_exit": _exit(session)}
    if not session.added:
        return {}
    added = session.added[0]
    metadata = {field: added[field] for field in ("accounts", "institution")}
    return {
        "on_success": {
            "metadata": {**metadata, "link_session_id": session.session_id, "transfer_status": None},
            "public_token": added["public_token"],
        }
    }


def _exit(session: LinkSession) -> JsonObject:
    return {
        "error": PlaidError(session.error_code).webhook_body() if session.error_code else None,
        "metadata": {
            "institution": None,
            "link_session_id": session.session_id,
            "request_id": event_id(session, "request"),
            "status": "requires_credentials",
        },
    }


PUBLIC_TOKEN_FIELDS: fields.Fields = {
    "initial_products": fields.many_of(*PRODUCTS),
    "institution_id": fields.text,
    "options": {
        **dict.fromkeys(("cra_enabled", "income_verification", "statements"), fields.anything),
        "override_password": fields.optional_text,
        "override_username": fields.optional_text,
        "transactions": {
            "days_requested": fields.between(1, 730),
            "end_date": fields.day,
            "start_date": fields.day,
        },
        "webhook": fields.url,
    },
    "user_id": fields.optional_text,
    "user_token": fields.optional_text,
}


def public_token_create(call: Call) -> JsonObject:
    fields.require(call.body, "institution_id", "initial_products")
    requested = fields.mapping(call.body, "options")
    days = fields.integer(fields.mapping(requested, "transactions"), "days_requested", 1, 730)
    products = fields.texts(call.body, "initial_products")
    institution_id = check_institution_id(fields.text(call.body, "institution_id"))
    options = _options(call, fields.url(requested, "webhook"), products, days, institution_id)
    return {"public_token": call.sim.create_public_token_with(options)}


def public_token_exchange(call: Call) -> JsonObject:
    linked = call.sim.exchange(fields.text(call.body, "public_token"))
    return {"access_token": linked.access_token, "item_id": linked.item_id}
