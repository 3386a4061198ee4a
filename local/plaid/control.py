"""The control surface under /_sim, for people who are not in Python: plain JSON over HTTP, no credentials."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from local.plaid import fields, wire
from local.plaid.breakages import BREAKAGES
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


def _items(sim: PlaidSimulator, _body: JsonObject, _path: dict[str, str]) -> object:
    with sim.lock:
        return [
            {
                "access_token": item.access_token,
                "error": item.error_code,
                "item_id": item.item_id,
                "phase": item.phase.name,
                "removed": item.removed,
                "transactions": len(item.log.live),
                "webhook": item.webhook_url,
            }
            for item in sim.items.values()
        ]


def _evolve(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    steps = fields.integer(body, "steps", 1, 100_000) or 1
    return sim.evolve(path["item"], fields.integer(body, "seed", 0, 2**63), steps)


def _truth(sim: PlaidSimulator, _body: JsonObject, path: dict[str, str]) -> object:
    return {"transactions": list(sim.truth(path["item"]).values())}


def _advance(sim: PlaidSimulator, _body: JsonObject, path: dict[str, str]) -> object:
    return {"phase": sim.advance_phase(path["item"]).name}


def _fire(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    extra = fields.mapping(body, "extra")
    kind = fields.optional_text(body, "webhook_type") or "TRANSACTIONS"
    return {"fired": sim.fire_webhook(path["item"], kind, fields.text(body, "webhook_code"), **extra)}


def _set_error(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    sim.set_item_error(path["item"], fields.optional_text(body, "error_code"))
    return {}


def _mutations(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    times = fields.integer(body, "times", 0, 100_000)
    sim.force_mutation(path["item"], 1 if times is None else times, anywhere=bool(body.get("anywhere")))
    return {}


def _break(sim: PlaidSimulator, body: JsonObject, path: dict[str, str]) -> object:
    transaction_id = fields.text(body, "transaction_id")
    if body.get("how") is None:
        sim.heal_row(path["item"], transaction_id)
    else:
        sim.break_row(path["item"], transaction_id, fields.choice(body, "how", tuple(BREAKAGES)))
    return {}


def _link(sim: PlaidSimulator, body: JsonObject, _path: dict[str, str]) -> object:
    return {"public_token": sim.complete_link(fields.text(body, "link_token"))}


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
    return {"token": sim.sign(text, iat, fields.optional_text(body, "kid"))}


_LINES: tuple[tuple[str, str, Action, str], ...] = (
    ("GET", "/items", _items, "every Item and its state"),
    ("GET", "/items/{item}/truth", _truth, "its live transactions, as Plaid sees them now"),
    ("POST", "/items/{item}/evolve", _evolve, '{"steps": 25, "seed": 1}: let things happen'),
    ("POST", "/items/{item}/advance", _advance, "make the next part of its history ready"),
    ("POST", "/items/{item}/webhooks", _fire, '{"webhook_type", "webhook_code", "extra": {}}: send any webhook'),
    ("POST", "/items/{item}/error", _set_error, '{"error_code": "ITEM_LOGIN_REQUIRED" or null}'),
    ("POST", "/items/{item}/mutations", _mutations, '{"times": 2, "anywhere": false}: fail the next pages'),
    ("POST", "/items/{item}/breakages", _break, '{"transaction_id", "how"}: tell of a row brokenly; how null heals'),
    ("POST", "/link", _link, '{"link_token"}: do what the user does in Link; returns a public_token'),
    ("GET", "/webhooks", _webhooks, "every webhook, its attempts and state"),
    ("POST", "/webhooks/hold", _hold, "keep webhooks back"),
    ("POST", "/webhooks/release", _release, '{"order": "fifo" | "lifo" | "shuffled"}: send them'),
    ("POST", "/sign", _sign, '{"body", "iat", "kid"}: a Plaid-Verification token'),
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
