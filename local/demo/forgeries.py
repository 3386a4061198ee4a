"""Forged webhooks of every kind, each with the reason for which it must be rejected."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.plaid.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.plaid import Delivery, PlaidSimulator

_TOO_OLD_SECONDS = 90_000
_TOO_NEW_SECONDS = 60
INVENTED_KEY = "00000000-0000-4000-8000-{:012d}"


@dataclass(frozen=True, slots=True)
class Forgery:
    """A webhook that must get a 401, or in a flood a 429.

    Attributes:
        reason: The `error` of the response.
    """

    name: str
    reason: str
    body: bytes
    token: str | None


def forgeries_of(plaid: PlaidSimulator, genuine: Delivery) -> Iterator[Forgery]:
    """Forge a webhook that Plaid has sent, in every way."""
    body, now = genuine.body, time.time()
    replayed = genuine.attempts[-1].token
    yield Forgery("without a signature", "missing_header", body, None)
    yield Forgery("with garbage for a signature", "malformed_token", body, "garbage")
    yield Forgery("signed with algorithm none", "wrong_algorithm", body, plaid.forge(body, "none", now))
    yield Forgery("signed with HS256 and the public key", "wrong_algorithm", body, plaid.forge(body, "HS256", now))
    yield Forgery("signed with another key", "bad_signature", body, plaid.forge(body, "ES256", now))
    yield Forgery("signed with an invented key id", "unknown_key", body, plaid.sign(body, now, INVENTED_KEY.format(0)))
    yield Forgery("signed 25 hours ago", "stale", body, plaid.sign(body, now - _TOO_OLD_SECONDS))
    yield Forgery("signed in the future", "issued_in_future", body, plaid.sign(body, now + _TOO_NEW_SECONDS))
    yield Forgery("that is genuine but for one added space", "body_mismatch", body + b" ", replayed)
    yield Forgery("with the signature of another body", "body_mismatch", _about_another_item(body), replayed)
    # Last: it changes Plaid's key, and with it what the functions know of the one that signed `genuine`.
    yield Forgery("signed with an expired key", "expired_key", body, plaid.sign(body, now, _expired_key(plaid)))


def invented_keys(plaid: PlaidSimulator, genuine: Delivery, count: int) -> Iterator[Forgery]:
    """Sign with invented keys, each of which a receiver might look up at Plaid."""
    for number in range(1, count + 1):
        token = plaid.sign(genuine.body, time.time(), INVENTED_KEY.format(number))
        yield Forgery(f"invented key {number}", "unknown_key", genuine.body, token)


def _expired_key(plaid: PlaidSimulator) -> str:
    """Return an expired key of Plaid's that no process has cached: it signed nothing."""
    with plaid.lock:
        expired = plaid.rotate_keys()
        plaid.rotate_keys()
    return expired


def _about_another_item(body: bytes) -> bytes:
    document = decode(body)
    return encode({**document, "item_id": "another-item"} if isinstance(document, dict) else {})
