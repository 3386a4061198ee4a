"""Plaid's signing keys, forgeries of its tokens, and what a token proves by the rules of Plaid's documentation.

A delivery is proven exactly if all of this holds, without the code under test:

- A key of Plaid has signed the token's header and claims, byte for byte, in this example.
- The signature is that one or its other root (ECDSA: s and n - s both verify), in canonical base64url. In any other
  spelling, the same statement could be delivered again and again under new deduplication ids.
- The header says ES256 and names that key, and the key has not expired for longer than keys are cached.
- `iat` is a number, at most five minutes old and at most five seconds ahead.
- `request_body_sha256` is the hash of exactly the bytes that are delivered.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import urllib3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import strategies as st

from local.plaid import PlaidError
from local.plaid.keys import KeyRing
from tests.fakes.clock import NOON, FakeClock
from tests.unit.properties.hostile_json import HOSTILE, HOSTILE_BYTES, mutated, one_in, pick

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plaid.keys import SigningKey
    from tests.unit.properties.hostile_json import Draw

TOKENS: Final = ("genuine", "hostile parts", "damaged", "other")
MAX_CACHED: Final = timedelta(minutes=5)
MAX_CACHED_WHILE_UNREACHABLE: Final = timedelta(days=1)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_MAX_AGE, _MAX_AHEAD = 300, 5
_OFFSETS: Final = (0, -299, -300, -301, 1, 5, 6, -3600, 60, -86_400)
_CLAIMS: Final = ("iat", "request_body_sha256", "exp", "nbf", "aud", "iss", "sub", "jti")
_HEADERS: Final = (
    '"typ":"JWT"', '"typ":7', '"crit":["b64"],"b64":false', '"b64":false', '"crit":["exp"]', '"crit":[]', '"crit":"x"',
    '"jku":"http://127.0.0.1:9/keys"', '"jwk":{"kty":"EC"}', '"x5u":"http://127.0.0.1:9"', '"x5c":[]', '"zip":"DEF"',
    '"alg":"none"', '"alg":"HS256"', '"alg":null', '"alg":"es256"', '"kid":"\\ud800"', '"kid":null', '"kid":7',
    '"kid":"unknown"', '"kid":["a"]', '"kid":"' + "k" * 129 + '"', '"kid":"\\u0000"', '"kid":"../key"', '"":0',
)  # fmt: skip
_GARBAGE: Final = (None, "", ".", "..", "...", "a.b.c", "\ud800", "e30.e30.", "x" * 4096, "x" * 4097, "x" * 100_000)
_STRAY: Final = ("", "A", "!", ".", " ", "=", "==", "\n", "\u00e9", "\ud800", "\0", ".AAAA", ",a.b.c", "*" * 50)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a key of Plaid has signed, once or several times: ECDSA is random."""

    key: SigningKey
    header: Any
    claims: Any
    signatures: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Signer:
    """Plaid's keys: the current one, one that expires two minutes after noon, and one that expired long ago.

    Attributes:
        signed: the statements of this example, by their signing input.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    signed: dict[str, Statement] = field(default_factory=dict)
    ring: KeyRing = field(init=False)
    keys: list[SigningKey] = field(init=False)

    def __post_init__(self) -> None:
        self.clock.time = NOON - timedelta(days=2)
        self.ring = KeyRing(Random(7), self.clock.now)  # noqa: S311 - reproducible on purpose
        expired = self.ring.current
        self.ring.rotate(timedelta(hours=1))
        expiring = self.ring.current
        self.ring.rotate(timedelta(days=2, minutes=2))
        self.keys = [self.ring.current, expiring, expired]
        self.clock.time = NOON

    def sign(self, body: bytes, key: SigningKey | None = None, offset: int = 0) -> str:
        key = key or self.keys[0]
        token = self.ring.sign(body, int(self.clock.time.timestamp()) + offset, key.kid)
        self._remember(token, key)
        return token

    def _remember(self, token: str, key: SigningKey) -> None:
        header, claims, signature = (base64.urlsafe_b64decode(f"{part}==") for part in token.split("."))
        statement = Statement(key, _lenient(header), _lenient(claims))
        self.signed.setdefault(token.rpartition(".")[0], statement).signatures.append(signature)

    def token(self, draw: Draw, body: bytes, kind: str) -> tuple[str | None, bool]:
        """Draw a token for a body, of one of the `TOKENS`, and whether it is one that must be accepted."""
        key = pick(draw, *self.keys[:1] * 6, *self.keys[1:])
        offset = pick(draw, 0, 0, 0, *_OFFSETS)
        if kind == "genuine":
            fresh = -_MAX_AGE <= offset <= _MAX_AHEAD
            return self.sign(body, key, offset), fresh and not _is_expired(key, self.clock.time)
        if kind == "hostile parts":
            return self._with_hostile_parts(draw, body, key, offset), False
        if kind == "damaged":
            return _damaged(draw, self.sign(body, key, offset)), False
        parts = [_encoded(part[:3000]) for part in draw(st.lists(HOSTILE_BYTES, max_size=3))]
        unknown_key = self.ring.sign(body, kid="\u00e9 \U0001f600")
        forged = [self.ring.forge(body, algorithm) for algorithm in ("none", "HS256", "ES256")]
        return pick(draw, ".".join(parts), draw(st.text(max_size=60)), unknown_key, *forged, *_GARBAGE), False

    def _with_hostile_parts(self, draw: Draw, body: bytes, key: SigningKey, offset: int) -> str:
        """Draw a token with a genuine signature over claims that Plaid never makes."""
        issued_at = int(self.clock.time.timestamp()) + offset
        header = [f'"alg":"ES256","kid":"{key.kid}"', *draw(st.lists(st.sampled_from(_HEADERS), max_size=2))]
        claims = [f'"iat":{issued_at}', f'"request_body_sha256":"{hashlib.sha256(body).hexdigest()}"']
        names = draw(st.lists(st.sampled_from(_CLAIMS), max_size=2))
        claims += [f'"{name}":{pick(draw, draw(HOSTILE), f"{issued_at}.5")}' for name in names]
        texts = ["{" + ",".join(members) + "}" for members in (header, claims)]
        if one_in(draw, 8):
            texts[draw(st.integers(0, 1))] = draw(HOSTILE)
        raw = [text.encode("utf-8", "surrogatepass") for text in texts]
        signing_input = ".".join(map(_encoded, raw))
        numbers = decode_dss_signature(key.private.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
        token = f"{signing_input}.{_encoded(b''.join(number.to_bytes(32, 'big') for number in numbers))}"
        self._remember(token, key)
        return token

    def proves(
        self, token: str | None, body: bytes, *, max_cached: timedelta = MAX_CACHED, max_age: int = _MAX_AGE
    ) -> bool:
        """Return whether the token proves that Plaid has sent exactly this body, now (see above)."""
        signing_input, _, signature = (token or "").rpartition(".")
        statement = self.signed.get(signing_input)
        if statement is None:
            return False
        roots = [root for known in statement.signatures for root in (known, other_root(known))]
        if signature not in map(_encoded, roots):
            return False
        header, claims = statement.header, statement.claims
        if not (isinstance(header, dict) and isinstance(claims, dict)):
            return False
        issued_at = claims.get("iat")
        return (
            header.get("alg") == "ES256"
            and header.get("kid") == statement.key.kid
            and not _is_expired(statement.key, self.clock.time - max_cached)
            and isinstance(issued_at, int | float)
            and not isinstance(issued_at, bool)
            and -max_age <= issued_at - int(self.clock.time.timestamp()) <= _MAX_AHEAD
            and claims.get("request_body_sha256") == hashlib.sha256(body).hexdigest()
        )


def other_root(signature: bytes) -> bytes:
    return signature[:32] + (_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def _is_expired(key: SigningKey, moment: datetime) -> bool:
    return key.expires_at is not None and key.expires_at <= moment


def _damaged(draw: Draw, token: str) -> str:
    """Draw a genuine token that was changed in transit, or written in another way."""
    place = draw(st.integers(0, len(token)))
    signing_input, _, text = token.rpartition(".")
    signature = base64.urlsafe_b64decode(f"{text}==")
    spelled = f"{signing_input}.{_encoded(pick(draw, other_root(signature), b'', bytes(64), b'1' * 63, b'1' * 65))}"
    # The last character carries four bits that no decoder reads.
    last = token[:-1] + draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    stray, following = pick(draw, *_STRAY), draw(st.integers(0, 1))
    changed = token[:place] + stray + token[place + following :]
    whole = f" {token}", f"Bearer {token}", f"{token},{token}", token * 20, token + stray
    return pick(draw, changed, changed, changed, token[:place], spelled, spelled, last, f"{token}=", *whole)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _lenient(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


@dataclass(slots=True)
class KeyEndpoint:
    """Plaid's /webhook_verification_key/get, in the place of urllib3's pool.

    Attributes:
        failing: returns the response in Plaid's place.
    """

    ring: KeyRing
    failing: Callable[[], tuple[int, bytes]] | None = None

    def request(self, _method: str, _url: str, *, body: bytes, **_more: Any) -> Any:
        status, response = self.failing() if self.failing else self._respond(json.loads(body)["key_id"])
        return SimpleNamespace(status=status, data=response)

    def _respond(self, key_id: str) -> tuple[int, bytes]:
        try:
            return 200, json.dumps({"key": self.ring.public(key_id), "request_id": "r"}).encode()
        except PlaidError as error:
            return error.status, json.dumps(error.body("r")).encode()

    def fail(self, draw: Draw) -> None:
        """Respond wrongly from now on."""
        key = self.ring.public(self.ring.current.kid)
        response = pick(
            draw,
            (0, b""),
            (pick(draw, 500, 429, 400, 302, 200), draw(st.binary(max_size=200))),
            (pick(draw, 400, 500), mutated(draw, {"error_code": "INTERNAL_SERVER_ERROR"})),
            (200, b'{"key":' + pick(draw, draw(HOSTILE_BYTES), mutated(draw, key)) + b"}"),
        )
        self.failing = lambda: response if response[0] else _time_out()


def _time_out() -> tuple[int, bytes]:
    raise urllib3.exceptions.ReadTimeoutError(urllib3.HTTPConnectionPool("127.0.0.1"), "/", "made to fail")
