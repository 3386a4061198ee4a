"""The endpoints that lead to an Item: link tokens, what came of them, public tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from local.plaid import fields
from local.plaid.errors import PlaidError
from local.plaid.items import DEFAULT_BANK, DEFAULT_DAYS_REQUESTED, LinkForm, LinkOptions, LinkSession
from local.plaid.sessions import event_id
from local.plaid.wire import JsonObject, timestamp

if TYPE_CHECKING:
    from local.plaid.calls import Call

_LONGEST_NAME = 30
_LONGEST_LIFE = 21 * 24 * 3600
_SESSION_KEPT = timedelta(hours=6)
_LANGUAGES = ("en", "da", "de", "es", "et", "fr", "hi", "it", "lt", "lv", "nl", "no", "pl", "pt", "ro", "sv", "vi")
_NO_OTHER_RESULTS: JsonObject = {
    "bank_income_results": [],
    "cra_item_add_results": [],
    "cra_update_results": [],
    "document_income_results": None,
    "payroll_income_results": [],
}


def link_token_create(call: Call) -> JsonObject:
    """Answer /link/token/create."""
    form = _form(call)
    products = _products(call)
    days = fields.integer(fields.mapping(call.body, "transactions"), "days_requested", 1, 730)
    options = _options(call, fields.url(call.body, "webhook"), products, days)
    name, token = call.sim.create_link_token(options, call.item.item_id if call.item else None, form)
    hosted = {"hosted_link_url": token.hosted_url} if token.hosted_url else {}
    return {"expiration": timestamp(token.expires_at), "link_token": name, **hosted}


def _form(call: Call) -> LinkForm:
    body = call.body
    # A user_id from /user/create takes the place of `user`.
    user = () if body.get("user_id") else ("user",)
    fields.require(body, "client_name", "language", "country_codes", *user)
    hosted = fields.mapping(body, "hosted_link")
    return LinkForm(
        client_name=_client_name(body),
        language=fields.choice(body, "language", _LANGUAGES),
        country_codes=fields.texts(body, "country_codes"),
        client_user_id=_client_user_id(body) if user else None,
        redirect_uri=_redirect_uri(call),
        hosted=body.get("hosted_link") is not None,
        lifetime=fields.integer(hosted, "url_lifetime_seconds", 1, _LONGEST_LIFE),
        account_selection=fields.flag(fields.mapping(body, "update"), "account_selection_enabled"),
    )


def _client_name(body: JsonObject) -> str:
    # Plaid documents that Link shows "This Application" instead of a longer name: nobody wants that, so refuse it.
    name = fields.text(body, "client_name")
    if len(name) > _LONGEST_NAME:
        raise PlaidError("INVALID_FIELD", detail=f"client_name must be at most {_LONGEST_NAME} characters long")
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
    if uri is not None and call.sim.behaviour.environment == "production" and not uri.startswith("https://"):
        raise PlaidError("INVALID_FIELD", detail="redirect_uri must use HTTPS")
    return uri


def _products(call: Call) -> tuple[str, ...]:
    if call.item is None:
        return fields.texts(call.body, "products")
    if call.body.get("products"):  # an empty array is how many clients leave them out
        raise PlaidError("INVALID_FIELD", detail="products must be omitted in update mode")
    return ()


def _options(
    call: Call, webhook: str | None, products: tuple[str, ...], days: int | None, bank: str = DEFAULT_BANK
) -> LinkOptions:
    """Return what an Item of these products is linked with; Transactions among them start its history."""
    behaviour = call.sim.behaviour
    by_link = "transactions" in products
    return LinkOptions(
        webhook,
        behaviour.history_transactions,
        behaviour.history_days,
        days or (DEFAULT_DAYS_REQUESTED if by_link else None),
        by_link=by_link,
        institution_id=bank,
        products=products,
    )


def link_token_get(call: Call) -> JsonObject:
    """Answer /link/token/get."""
    name = fields.text(call.body, "link_token")
    token = call.sim.link_token(name)
    now = call.sim.clock()
    sessions = [session for session in reversed(token.sessions) if now < (session.finished_at or now) + _SESSION_KEPT]
    return {
        "created_at": timestamp(token.created_at),
        "expiration": timestamp(token.expires_at),
        "link_sessions": [_session(call, session) for session in sessions],
        "link_token": name,
        "metadata": {
            "client_name": token.form.client_name,
            "country_codes": list(token.form.country_codes),
            "initial_products": list(token.options.products),
            "language": token.form.language,
            "redirect_uri": token.form.redirect_uri,
            "webhook": token.options.webhook_url,
        },
    }


def _session(call: Call, session: LinkSession) -> JsonObject:
    """Return a session as the API tells of it: for a while, as not finished although it is."""
    behaviour = call.sim.behaviour
    told_at = session.finished_at and session.finished_at + timedelta(seconds=behaviour.link_results_seconds)
    finished = told_at is not None and told_at <= call.sim.clock()
    outcome = _deprecated(session) if behaviour.link_results_deprecated else _results(session)
    return {
        "events": _events(session, finished=finished),
        "finished_at": timestamp(session.finished_at) if session.finished_at and finished else None,
        "link_session_id": session.session_id,
        "started_at": timestamp(session.started_at),
        **(outcome if finished else dict.fromkeys(outcome)),
    }


def _results(session: LinkSession) -> JsonObject:
    added = [session.added] if session.added else []
    return {
        "exit": _exit(session),
        "results": None if session.left else {"item_add_results": added, **_NO_OTHER_RESULTS},
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
    if not session.left:
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
        moments.append(("EXIT" if session.left else "HANDOFF", session.finished_at))
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
    """Answer /sandbox/public_token/create."""
    fields.require(call.body, "institution_id", "initial_products")
    asked = fields.mapping(call.body, "options")
    days = fields.integer(fields.mapping(asked, "transactions"), "days_requested", 1, 730)
    products = tuple(str(product) for product in call.body["initial_products"])
    bank = fields.text(call.body, "institution_id")
    options = _options(call, fields.optional_text(asked, "webhook"), products, days, bank)
    return {"public_token": call.sim.create_public_token_with(options)}


def exchange(call: Call) -> JsonObject:
    """Answer /item/public_token/exchange."""
    linked = call.sim.exchange(fields.text(call.body, "public_token"))
    return {"access_token": linked.access_token, "item_id": linked.item_id}
