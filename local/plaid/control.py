"""The control surface under /_sim, for people who are not in Python: plain JSON over HTTP, no credentials."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from local.plaid import fields, item_actions, wire
from local.plaid.clock import OffsetClock, SimulatedClock
from local.plaid.errors import PlaidError
from local.plaid.faults import Fault

if TYPE_CHECKING:
    from local.plaid.delivery import Delivery
    from local.plaid.simulator import PlaidSimulator
    from local.plaid.wire import JsonObject

PREFIX = "/_sim"
Action = Callable[["PlaidSimulator", "JsonObject", dict[str, str]], object]


def respond(sim: PlaidSimulator, request: Request) -> Response:
    """Answer a request to the control surface."""
    try:
        body: Any = wire.decode(request.get_data() or b"{}")
        answer = _act(sim, request, body)
    except PlaidError as error:
        return _json({"error": error.message}, 400)
    except KeyError as error:
        return _json({"error": f"unknown: {error.args[0]}"}, 404)
    except (ValueError, TypeError) as error:
        return _json({"error": str(error)}, 400)
    return _json(answer, 200)


def _act(sim: PlaidSimulator, request: Request, body: JsonObject) -> object:
    for method, pattern, action in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match and method == request.method:
            return action(sim, body, match.groupdict())
    raise KeyError(f"{request.method} {request.path}")


def _json(body: object, status: int) -> Response:
    return Response(wire.encode(body) + b"\n", status, content_type="application/json; charset=utf-8")


def _rotate(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    return {"kid": sim.rotate_keys(float(body.get("overlap") or 0))}


def _expire(sim: PlaidSimulator, _body: JsonObject, path: dict[str, str]) -> object:
    sim.expire_key(path["kid"])
    return {}


def _faults(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    values = {**body, "delay": float(body.get("delay") or 0)}
    sim.plan_fault(Fault(**{"endpoint": "*", **values}))
    return {}


def _clear_faults(sim: PlaidSimulator, _body: JsonObject, _path: dict[str, str]) -> object:
    sim.clear_faults()
    return {}


def _advance_clock(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    if not isinstance(sim.clock, SimulatedClock | OffsetClock):
        raise TypeError("this simulator's clock cannot be advanced")
    return {"now": wire.timestamp(sim.clock.advance(float(body["seconds"])))}


def _configure(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    sim.configure(**{name: float(value) if isinstance(value, Decimal) else value for name, value in body.items()})
    return {}


def _calls(sim: PlaidSimulator, _body: JsonObject, _path: dict[str, str]) -> object:
    return sim.calls


def _webhooks(sim: PlaidSimulator, _body: JsonObject, _path: dict[str, str]) -> object:
    return [_delivery(delivery) for delivery in sim.webhooks()]


def _delivery(delivery: Delivery) -> JsonObject:
    return {
        "attempts": [{"at": wire.timestamp(attempt.at), "status": attempt.status} for attempt in delivery.attempts],
        "next_at": wire.timestamp(delivery.next_at) if delivery.next_at else None,
        "payload": delivery.payload,
        "state": delivery.state,
        "url": delivery.url,
    }


def _hold(sim: PlaidSimulator, _body: JsonObject, _path: dict[str, str]) -> object:
    sim.hold_webhooks()
    return {}


def _release(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    return {"released": sim.release_webhooks(fields.choice(body, "order", ("fifo", "lifo", "shuffled")))}


def _sign(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    text = fields.text(body, "body").encode()
    iat = fields.integer(body, "iat", 0, 2**40)
    if forgery := fields.optional_text(body, "forge"):
        return {"token": sim.forge(text, forgery, iat)}
    return {"token": sim.sign(text, iat, fields.optional_text(body, "kid"))}


_LINES: tuple[tuple[str, str, Action, str], ...] = (
    ("GET", "/items", item_actions.every_item, "every Item and its state"),
    ("GET", "/items/{item}/truth", item_actions.truth, "its live transactions, as Plaid sees them now"),
    ("POST", "/items/{item}/evolve", item_actions.evolve, '{"steps": 25, "seed": 1}: let things happen'),
    ("POST", "/items/{item}/advance", item_actions.advance, "make the next part of its history ready"),
    (
        "POST",
        "/items/{item}/webhooks",
        item_actions.fire,
        '{"webhook_type", "webhook_code", "extra": {}}: send any webhook',
    ),
    (
        "POST",
        "/items/{item}/webhooks/draft",
        item_actions.draft,
        '{"webhook_type", "webhook_code"}: the body of a webhook that is not sent',
    ),
    ("POST", "/items/{item}/error", item_actions.set_error, '{"error_code": "ITEM_LOGIN_REQUIRED" or null}'),
    ("POST", "/items/{item}/mutations", item_actions.mutations, '{"times": 2, "anywhere": false}: fail the next pages'),
    (
        "POST",
        "/items/{item}/breakages",
        item_actions.break_row,
        '{"transaction_id", "how"}: tell of a row brokenly; how null heals',
    ),
    ("POST", "/items/{item}/consent", item_actions.consent, '{"expiration_time": "2026-09-01T00:00:00Z" or null}'),
    ("POST", "/items/{item}/expiration", item_actions.expiration, '{"in_days": 7}: let the consent run out, and warn'),
    ("POST", "/items/{item}/disconnect", item_actions.disconnect, '{"in_days": 7, "with_time": true}: warn of it'),
    ("POST", "/items/{item}/revoke", item_actions.revoke, '{"account_id", "notify": true}: stop sharing an account'),
    ("POST", "/items/{item}/offer", item_actions.offer, "tell that there are accounts to add in update mode"),
    ("POST", "/items/{item}/depermission", item_actions.depermission, "end it as a user does at my.plaid.com"),
    (
        "POST",
        "/link",
        item_actions.complete_link,
        '{"link_token", "bank", "login", "new_account": false}: go through Link; returns a public_token',
    ),
    ("POST", "/link/open", item_actions.open_link, '{"link_token"}: open Link and stay there'),
    ("POST", "/link/leave", item_actions.leave_link, '{"link_token", "error_code"}: leave Link without finishing'),
    ("GET", "/webhooks", _webhooks, "every webhook, its attempts and state"),
    ("POST", "/webhooks/hold", _hold, "keep webhooks back"),
    ("POST", "/webhooks/release", _release, '{"order": "fifo" | "lifo" | "shuffled"}: send them'),
    (
        "POST",
        "/sign",
        _sign,
        '{"body", "iat", "kid", "forge": "none" | "HS256" | "ES256"}: a Plaid-Verification token, or a false one',
    ),
    ("POST", "/keys/rotate", _rotate, '{"overlap": 0}: sign with a new key'),
    ("POST", "/keys/{kid}/expire", _expire, "expire a key"),
    ("POST", "/faults", _faults, '{"endpoint", "error_code", "status", "times", "skip", "delay", "drop", "item_id"}'),
    ("DELETE", "/faults", _clear_faults, "forget the faults that have not struck yet"),
    ("POST", "/clock/advance", _advance_clock, '{"seconds": 30}'),
    ("POST", "/behaviour", _configure, '{"spell_out": true, ...}: change switches'),
    ("GET", "/calls", _calls, "calls to each endpoint so far"),
)
_ROUTES: tuple[tuple[str, re.Pattern[str], Action], ...] = tuple(
    (method, re.compile(PREFIX + re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)), action)
    for method, path, action, _ in _LINES
)


def describe() -> list[str]:
    """Return a line of help for every route."""
    return [f"{method:6} {PREFIX}{path}  {text}" for method, path, _, text in _LINES]
