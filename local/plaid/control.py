"""The control API under /_sim, for tests that are not in Python: JSON over HTTP, without credentials."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from local.plaid import request_fields as fields
from local.plaid import wire
from local.plaid.account_operations import REGRANT_CODES
from local.plaid.clock import OffsetClock
from local.plaid.errors import PlaidError
from local.plaid.webhooks import PRODUCT_WEBHOOKS

if TYPE_CHECKING:
    from local.plaid.delivery import Delivery
    from local.plaid.items import Item
    from local.plaid.simulator import PlaidSimulator
    from local.plaid.wire import JsonObject

PREFIX = "/_sim"
# Takes the simulator, the request body and the parameter of the path (an Item's id or a key's), and returns the body
# of the response; None is an empty object.
Action = Callable[["PlaidSimulator", "JsonObject", str], object]


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    path: str
    action: Action
    help: str
    pattern: re.Pattern[str]


_ROUTES: list[_Route] = []


def _route(method: str, path: str, text: str) -> Callable[[Action], Action]:
    pattern = re.compile(PREFIX + re.sub(r"{\w+}", "([^/]+)", path))

    def register(action: Action) -> Action:
        _ROUTES.append(_Route(method, path, action, text, pattern))
        return action

    return register


def respond(sim: PlaidSimulator, request: Request) -> Response:
    try:
        body: Any = wire.decode(request.get_data() or b"{}")
        answer = _call(sim, request, body)
    except PlaidError as error:
        return _json({"error": error.message}, 400)
    except KeyError as error:
        return _json({"error": f"unknown: {error.args[0]}"}, 404)
    except (ValueError, TypeError) as error:
        return _json({"error": str(error)}, 400)
    return _json({} if answer is None else answer, 200)


def _call(sim: PlaidSimulator, request: Request, body: JsonObject) -> object:
    for route in _ROUTES:
        match = route.pattern.fullmatch(request.path)
        if match and route.method == request.method:
            return route.action(sim, body, match[1] if match.groups() else "")
    raise KeyError(f"{request.method} {request.path}")


def _json(body: object, status: int) -> Response:
    return Response(wire.encode(body) + b"\n", status, content_type="application/json; charset=utf-8")


def describe() -> list[str]:
    return [f"{route.method:6} {PREFIX}{route.path}  {route.help}" for route in _ROUTES]


@_route("GET", "/items", "list all Items with their state")
def _items(sim: PlaidSimulator, _body: JsonObject, _path: str) -> object:
    with sim.lock:
        return [_item_state(item) for item in sim.items.values()]


def _item_state(item: Item) -> JsonObject:
    return {
        "access_token": item.access_token,
        "accounts": item.generator.account_ids,
        "consent_expiration_time": wire.optional_timestamp(item.consent_expiration_time),
        "error": item.error_code,
        "institution_id": item.options.institution_id,
        "item_id": item.item_id,
        "login": item.options.login,
        "phase": item.phase.name,
        "removed": item.removed,
        "transactions": len(item.log.live),
        "webhook": item.webhook_url,
    }


@_route("GET", "/items/{item}/truth", "return its transactions, as Plaid has them now")
def _truth(sim: PlaidSimulator, _body: JsonObject, item_id: str) -> object:
    return {"transactions": list(sim.truth(item_id).values())}


@_route("POST", "/items/{item}/evolve", '{"steps": 25, "seed": 1}: apply random changes to its transactions')
def _evolve(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    steps = fields.integer(body, "steps", 1, 100_000) or 1
    return sim.evolve(item_id, fields.integer(body, "seed", 0, 2**63), steps)


@_route("POST", "/items/{item}/advance", "advance its history to the next phase")
def _advance(sim: PlaidSimulator, _body: JsonObject, item_id: str) -> object:
    return {"phase": sim.advance_phase(item_id).name}


def _webhook_type_and_code(body: JsonObject) -> tuple[str, str]:
    return fields.optional_text(body, "webhook_type") or "TRANSACTIONS", fields.text(body, "webhook_code")


@_route("POST", "/items/{item}/webhooks", '{"webhook_type", "webhook_code", "extra": {}}: send a webhook')
def _fire(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    extra = fields.mapping(body, "extra")
    return {"fired": sim.fire_webhook(item_id, *_webhook_type_and_code(body), **extra)}


@_route(
    "POST", "/items/{item}/webhooks/draft", '{"webhook_type", "webhook_code"}: return the body of a webhook, unsent'
)
def _draft(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    return {"body": wire.encode(sim.draft_webhook(item_id, *_webhook_type_and_code(body))).decode()}


@_route("POST", "/items/{item}/products", '{"product", "notify": true}: change the data of a product')
def _change_product(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    product = fields.choice(body, "product", tuple(PRODUCT_WEBHOOKS), required=True)
    sim.change_product(item_id, product, notify=fields.flag(body, "notify", default=True))
    return None


@_route("POST", "/items/{item}/error", '{"error_code": code or null, "reason"}: set or clear its error')
def _error(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    reason = fields.optional_text(body, "reason")
    sim.set_item_error(item_id, fields.optional_text(body, "error_code"), reason=reason)
    return None


@_route("POST", "/items/{item}/accounts/close", '{"account_id"}: close an account at the bank, by default the first')
def _close_account(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    return {"account_id": sim.close_account(item_id, fields.optional_text(body, "account_id"))}


@_route("POST", "/items/{item}/accounts/renumber", '{"account_id"}: list an account under another id')
def _renumber_account(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    old, new = sim.renumber_account(item_id, fields.optional_text(body, "account_id"))
    return {"old_account_id": old, "account_id": new}


@_route("POST", "/items/{item}/accounts/revoke", '{"account_id", "notify": true}: end the sharing of an account')
def _revoke_account(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    notify = fields.flag(body, "notify", default=True)
    return {"account_id": sim.revoke_account(item_id, fields.optional_text(body, "account_id"), notify=notify)}


@_route(
    "POST",
    "/items/{item}/accounts/regrant",
    '{"account_id", "notify": true, "webhook_code": "LOGIN_REPAIRED" or "NEW_ACCOUNTS_AVAILABLE"}: list it again',
)
def _regrant_account(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    code = fields.choice(body, "webhook_code", REGRANT_CODES)
    notify = fields.flag(body, "notify", default=True)
    sim.regrant_account(item_id, fields.text(body, "account_id"), notify=notify, webhook_code=code)
    return None


@_route("POST", "/items/{item}/transactions/move", '{"transaction_id", "account_id"}: give it another account')
def _move_transaction(sim: PlaidSimulator, body: JsonObject, item_id: str) -> object:
    sim.move_transaction(item_id, fields.text(body, "transaction_id"), fields.text(body, "account_id"))
    return None


@_route(
    "POST",
    "/link",
    '{"link_token", "bank", "login", "new_account": false, "deselect": []}: complete Link; returns a public_token',
)
def _complete_link(sim: PlaidSimulator, body: JsonObject, _path: str) -> object:
    public_token = sim.complete_link(
        fields.text(body, "link_token"),
        institution_id=fields.optional_text(body, "bank"),
        login=fields.optional_text(body, "login"),
        new_account=fields.flag(body, "new_account"),
        deselect=fields.optional_texts(body, "deselect"),
    )
    return {"public_token": public_token}


@_route("POST", "/link/finish", '{"link_token"}: finish the session of a multi-Item link token')
def _finish_link(sim: PlaidSimulator, body: JsonObject, _path: str) -> object:
    sim.finish_link(fields.text(body, "link_token"))
    return None


@_route("GET", "/webhooks", "list all webhooks with their attempts and state")
def _webhooks(sim: PlaidSimulator, _body: JsonObject, _path: str) -> object:
    return [_delivery(delivery) for delivery in sim.webhooks()]


def _delivery(delivery: Delivery) -> JsonObject:
    return {
        "attempts": [{"at": wire.timestamp(attempt.at), "status": attempt.status} for attempt in delivery.attempts],
        "next_at": wire.optional_timestamp(delivery.next_at),
        "payload": delivery.payload,
        "state": delivery.state,
        "url": delivery.url,
    }


@_route(
    "POST",
    "/sign",
    '{"body", "iat", "kid", "forge": "none" | "HS256" | "ES256"}: return a Plaid-Verification token, or a forged one',
)
def _sign(sim: PlaidSimulator, body: JsonObject, _path: str) -> object:
    text = fields.text(body, "body").encode()
    iat = fields.integer(body, "iat", 0, 2**40)
    if alg := fields.optional_text(body, "forge"):
        return {"token": sim.forge(text, alg, iat)}
    return {"token": sim.sign(text, iat, fields.optional_text(body, "kid"))}


@_route(
    "POST", "/faults", '{"endpoint", "error_code", "reason", "status", "times", "skip", "delay", "drop", "item_id"}'
)
def _add_fault(sim: PlaidSimulator, body: JsonObject, _path: str) -> object:
    sim.inject_fault(**{**body, "delay": float(body.get("delay") or 0)})
    return None


@_route("POST", "/clock/advance", '{"seconds": 30}')
def _advance_clock(sim: PlaidSimulator, body: JsonObject, _path: str) -> object:
    if not isinstance(sim.clock, OffsetClock):
        raise TypeError("this simulator's clock cannot be advanced")
    return {"now": wire.timestamp(sim.clock.advance(float(body["seconds"])))}


@_route("POST", "/behavior", '{"spell_out": true, ...}: change switches')
def _configure(sim: PlaidSimulator, body: JsonObject, _path: str) -> object:
    sim.configure(**{name: float(value) if isinstance(value, Decimal) else value for name, value in body.items()})
    return None
