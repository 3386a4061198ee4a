"""The endpoints of Link: link tokens, Link sessions and public tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from local.plaid import request_fields as fields
from local.plaid.errors import PlaidError
from local.plaid.items import DEFAULT_DAYS_REQUESTED, DEFAULT_INSTITUTION_ID, ItemOptions, LinkSession, LinkTokenConfig
from local.plaid.link_sessions import event_id
from local.plaid.wire import JsonObject, optional_timestamp, timestamp

if TYPE_CHECKING:
    from local.plaid.request_fields import Call

_MAX_NAME_LENGTH = 30
_MAX_LIFETIME_SECONDS = 21 * 24 * 3600
_SESSION_RETENTION = timedelta(hours=6)
_LANGUAGES = ("en", "da", "de", "es", "et", "fr", "hi", "it", "lt", "lv", "nl", "no", "pl", "pt", "ro", "sv", "vi")
_NO_OTHER_RESULTS: JsonObject = {
    "bank_income_results": [],
    "cra_item_add_results": [],
    "cra_update_results": [],
    "document_income_results": None,
    "payroll_income_results": [],
}


def link_token_create(call: Call) -> JsonObject:
    config = _config(call)
    products = _products(call)
    days = fields.integer(fields.mapping(call.body, "transactions"), "days_requested", 1, 730)
    options = _options(call, fields.url(call.body, "webhook"), products, days)
    name, token = call.sim.create_link_token(options, call.item.item_id if call.item else None, config)
    hosted = {"hosted_link_url": token.hosted_url} if token.hosted_url else {}
    return {"expiration": timestamp(token.expires_at), "link_token": name, **hosted}


def _config(call: Call) -> LinkTokenConfig:
    body = call.body
    # A user_id from /user/create replaces `user`.
    user = () if body.get("user_id") else ("user",)
    fields.require(body, "client_name", "language", "country_codes", *user)
    hosted = fields.mapping(body, "hosted_link")
    return LinkTokenConfig(
        client_name=_client_name(body),
        language=fields.choice(body, "language", _LANGUAGES),
        country_codes=fields.texts(body, "country_codes"),
        client_user_id=_client_user_id(body) if user else None,
        redirect_uri=_redirect_uri(call),
        hosted=body.get("hosted_link") is not None,
        lifetime=fields.integer(hosted, "url_lifetime_seconds", 1, _MAX_LIFETIME_SECONDS),
        account_selection=fields.flag(fields.mapping(body, "update"), "account_selection_enabled"),
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
    return uri


def _products(call: Call) -> tuple[str, ...]:
    if call.item is None:
        return fields.texts(call.body, "products")
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
    return {
        "created_at": timestamp(token.created_at),
        "expiration": timestamp(token.expires_at),
        "link_sessions": [_session(call, session) for session in sessions],
        "link_token": name,
        "metadata": {
            "client_name": token.config.client_name,
            "country_codes": list(token.config.country_codes),
            "initial_products": list(token.options.products),
            "language": token.config.language,
            "redirect_uri": token.config.redirect_uri,
            "webhook": token.options.webhook_url,
        },
    }


def _session(call: Call, session: LinkSession) -> JsonObject:
    """Return a session as the API does; `link_results_seconds` delays its results."""
    behavior = call.sim.behavior
    shown_at = session.finished_at and session.finished_at + timedelta(seconds=behavior.link_results_seconds)
    finished = shown_at is not None and shown_at <= call.sim.clock()
    result = _deprecated(session) if behavior.link_results_deprecated else _results(session)
    return {
        "events": _events(session, finished=finished),
        "finished_at": optional_timestamp(session.finished_at if finished else None),
        "link_session_id": session.session_id,
        "started_at": timestamp(session.started_at),
        **(result if finished else dict.fromkeys(result)),
    }


def _results(session: LinkSession) -> JsonObject:
    added = [session.added] if session.added else []
    return {
        "exit": _exit(session),
        "results": None if session.exited else {"item_add_results": added, **_NO_OTHER_RESULTS},
    }


def _deprecated(session: LinkSession) -> JsonObject:
    success: JsonObject | None = None
    if session.added:
        metadata = {field: session.added[field] for field in ("accounts", "institution")}
        success = {
            "metadata": {**metadata, "link_session_id": session.session_id, "transfer_status": None},
            "public_token": session.added["public_token"],
        }
    return {"on_exit": _exit(session), "on_success": success}


def _exit(session: LinkSession) -> JsonObject | None:
    if not session.exited:
        return None
    return {
        "error": PlaidError(session.error_code).webhook_body() if session.error_code else None,
        "metadata": {
            "institution": None,
            "link_session_id": session.session_id,
            "request_id": event_id(session, "request"),
            "status": "requires_credentials",
        },
    }


def _events(session: LinkSession, *, finished: bool) -> list[JsonObject]:
    moments = [("OPEN", session.started_at)]
    if finished and session.finished_at:
        moments.append(("EXIT" if session.exited else "HANDOFF", session.finished_at))
    return [
        {
            "event_id": event_id(session, name),
            "event_metadata": {"request_id": event_id(session, f"request {name}")},
            "event_name": name,
            "timestamp": timestamp(moment),
        }
        for name, moment in moments
    ]


def public_token_create(call: Call) -> JsonObject:
    fields.require(call.body, "institution_id", "initial_products")
    requested = fields.mapping(call.body, "options")
    days = fields.integer(fields.mapping(requested, "transactions"), "days_requested", 1, 730)
    products = tuple(str(product) for product in call.body["initial_products"])
    institution_id = fields.text(call.body, "institution_id")
    options = _options(call, fields.optional_text(requested, "webhook"), products, days, institution_id)
    return {"public_token": call.sim.create_public_token_with(options)}


def public_token_exchange(call: Call) -> JsonObject:
    linked = call.sim.exchange(fields.text(call.body, "public_token"))
    return {"access_token": linked.access_token, "item_id": linked.item_id}
