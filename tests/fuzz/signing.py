"""Plaid's side of a webhook: what it signs, how that is forged, and what is thereby proven.

A delivery is proven exactly if all of this holds, whatever the code under test thinks:

- the token's signing input (header and claims, byte for byte) is one that a key of Plaid's has signed in this case;
- its signature is that one, or the other root of the same (ECDSA: r, s and r, n - s), in canonical base64url. Anyone
  who has a genuine token can make the second; it says the same about the same body. In any other spelling the same
  statement could be delivered again and again under new deduplication ids;
- the header says ES256 and names that key, and the key has not expired for longer than keys are kept unasked;
- `iat` is a number, not older than five minutes and not more than five seconds ahead;
- `request_body_sha256` is the hash of exactly the bytes that are delivered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from local.plaid.keys import KeyRing
from tests.fuzz.documents import hostile

if TYPE_CHECKING:
    from local.plaid.keys import SigningKey
    from tests.fuzz.choices import Choices

NOON: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEPT_UNASKED: Final = timedelta(minutes=5)
KEPT_WHILE_UNREACHABLE: Final = timedelta(days=1)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_OLDEST, _NEWEST = 300, 5
_OFFSETS: Final = (0, -299, -300, -301, 1, 5, 6, -3600, 60, -86_400)
_CLAIMS: Final = ("iat", "request_body_sha256", "exp", "nbf", "aud", "iss", "sub", "jti")
_HEADERS: Final = (
    '"typ":"JWT"', '"typ":7', '"crit":["b64"],"b64":false', '"b64":false', '"crit":["exp"]', '"crit":[]', '"crit":"x"',
    '"jku":"http://127.0.0.1:9/keys"', '"jwk":{"kty":"EC"}', '"x5u":"http://127.0.0.1:9"', '"x5c":[]', '"zip":"DEF"',
    '"alg":"none"', '"alg":"HS256"', '"alg":null', '"alg":"es256"', '"kid":"\\ud800"', '"kid":null', '"kid":7',
    '"kid":"unknown"', '"kid":["a"]', '"kid":"' + "k" * 129 + '"', '"kid":"\\u0000"', '"kid":"../key"', '"":0',
)  # fmt: skip
_STRAY: Final = ("A", "!", ".", " ", "=", "\n", "\u00e9", "\ud800", "\0")
_APPENDED: Final = ("=", "==", "=" * 100, "!", "\n", "*" * 50, ".", ".AAAA", ",a.b.c", " ")


class Now:
    """The clock of a case."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time


@dataclass(frozen=True, slots=True)
class Statement:
    """What a key of Plaid's has signed."""

    key: SigningKey
    header: Any
    claims: Any
    signature: bytes


@dataclass(slots=True)
class Token:
    """A token for a body.

    Attributes:
        genuine: signed as Plaid does, and delivered as it was signed.
    """

    text: str | None
    genuine: bool = False


@dataclass(slots=True)
class Signer:
    """Plaid's keys: one that expired long ago, one that expires two minutes after noon, and the current one.

    Attributes:
        signed: every statement of this case, by its signing input.
    """

    now: Now = field(default_factory=Now)
    signed: dict[str, Statement] = field(default_factory=dict)
    ring: KeyRing = field(init=False)
    keys: list[SigningKey] = field(init=False)

    def __post_init__(self) -> None:
        self.now.time = NOON - timedelta(days=2)
        self.ring = KeyRing(Random(7), self.now)  # noqa: S311 - reproducible on purpose
        expired = self.ring.current
        self.ring.rotate(timedelta(hours=1))
        expiring = self.ring.current
        self.ring.rotate(timedelta(days=2, minutes=2))
        self.keys = [self.ring.current, expiring, expired]
        self.begin()

    def begin(self) -> None:
        """Forget the case before."""
        self.now.time = NOON
        self.signed.clear()

    def token(self, body: bytes, choices: Choices) -> Token:
        """Return a token for a body: genuine, or hostile in one of many ways."""
        kind = choices.below(16)
        if kind < 6:
            return self._as_plaid(body, choices)
        if kind < 9:
            return Token(self._with_hostile_parts(body, choices))
        if kind < 12:
            return Token(_damaged(self._as_plaid(body, choices).text or "", choices))
        if kind < 14:
            return Token(self._forged(body, choices))
        return Token(_garbage(choices))

    def _as_plaid(self, body: bytes, choices: Choices) -> Token:
        key = choices.pick((*self.keys[:1] * 6, *self.keys))
        offset = _OFFSETS[choices.below(len(_OFFSETS))] if choices.one_in(4) else 0
        issued_at = int(self.now().timestamp()) + offset
        text = self.ring.sign(body, issued_at, key.kid)
        header, claims, signature = text.split(".")
        statement = Statement(key, json.loads(_decoded(header)), json.loads(_decoded(claims)), _decoded(signature))
        self.signed[f"{header}.{claims}"] = statement
        fresh = -_OLDEST <= offset <= _NEWEST
        return Token(text, genuine=fresh and not _expired(key, self.now()))

    def _with_hostile_parts(self, body: bytes, choices: Choices) -> str:
        """Return a token that a genuine key has signed over what Plaid would never say."""
        key = choices.pick((*self.keys[:1] * 6, *self.keys))
        header = [f'"alg":"ES256","kid":"{key.kid}"']
        header += [choices.pick(_HEADERS) for _ in range(choices.below(3))]
        issued_at = json.dumps(int(self.now().timestamp()) + choices.pick(_OFFSETS))
        claims = [f'"iat":{issued_at}', f'"request_body_sha256":"{hashlib.sha256(body).hexdigest()}"']
        for _ in range(choices.below(3)):
            value = f"{issued_at}.{choices.below(1000)}" if choices.one_in(8) else hostile(choices)
            claims.append(f'"{choices.pick(_CLAIMS)}":{value}')
        texts = ["{" + ",".join(members) + "}" for members in (header, claims)]
        if choices.one_in(8):
            texts[choices.below(2)] = hostile(choices)
        return self._sign(key, *(text.encode("utf-8", "surrogatepass") for text in texts))

    def _sign(self, key: SigningKey, header: bytes, claims: bytes) -> str:
        signing_input = f"{_encoded(header)}.{_encoded(claims)}"
        numbers = decode_dss_signature(key.private.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
        signature = b"".join(number.to_bytes(32, "big") for number in numbers)
        self.signed[signing_input] = Statement(key, _lenient(header), _lenient(claims), signature)
        return f"{signing_input}.{_encoded(signature)}"

    def _forged(self, body: bytes, choices: Choices) -> str:
        kind = choices.below(5)
        if kind < 3:
            return self.ring.forge(body, ("none", "HS256", "ES256")[kind])
        return self.ring.sign(body, kid=("unknown", "\u00e9 \U0001f600")[kind - 3])

    def proves(self, token: str | None, body: bytes, *, kept: timedelta = KEPT_UNASKED) -> bool:
        """Tell whether the token proves that Plaid has sent exactly this body, now (see above).

        `kept` is how long a key may be used without asking Plaid whether it has expired.
        """
        signing_input, _, signature = (token or "").rpartition(".")
        statement = self.signed.get(signing_input)
        if statement is None or not _same_signature(signature, statement.signature):
            return False
        header, claims = statement.header, statement.claims
        return (
            isinstance(header, dict)
            and isinstance(claims, dict)
            and header.get("alg") == "ES256"
            and header.get("kid") == statement.key.kid
            and not _expired(statement.key, self.now() - kept)
            and self._is_fresh(claims.get("iat"))
            and claims.get("request_body_sha256") == hashlib.sha256(body).hexdigest()
        )

    def _is_fresh(self, issued_at: object) -> bool:
        if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
            return False
        return -_OLDEST <= issued_at - int(self.now().timestamp()) <= _NEWEST


def _expired(key: SigningKey, moment: datetime) -> bool:
    return key.expires_at is not None and key.expires_at <= moment


def _same_signature(text: str, signature: bytes) -> bool:
    return text in (_encoded(signature), _encoded(_other_root(signature)))


def _other_root(signature: bytes) -> bytes:
    """Return the other signature of the same (ECDSA: s and n - s both verify)."""
    return signature[:32] + (_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def _damaged(token: str, choices: Choices) -> str:
    """Return a genuine token that was changed on its way, or written in another way."""
    kind = choices.below(9)
    place = choices.below(1024) % (len(token) + 1)
    signing_input, _, signature = token.rpartition(".")
    if kind < 4:
        instead = (choices.pick(_STRAY), "", chr(choices.below(128)), token[place : place + 1] * 2)[kind]
        return token[:place] + instead + token[place + (kind != 0) :]
    if kind == 4:
        return choices.pick((token[:place], f" {token}", f"Bearer {token}", f"{token},{token}", token * 20))
    if kind == 5:
        return token + choices.pick(_APPENDED)
    raw = _decoded(signature)
    if kind == 6:  # the last character carries four bits that nobody reads
        return token[:-1] + choices.pick("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    if kind == 7:
        raw = choices.pick((b"", bytes(64), b"1" * 63, b"1" * 65, b"1" * 128))
        return f"{signing_input}.{_encoded(raw)}"
    return f"{signing_input}.{_encoded(_other_root(raw))}"


def _garbage(choices: Choices) -> str | None:
    kind = choices.below(6)
    if kind == 0:
        return None
    if kind == 1:
        return choices.pick(
            ("", ".", "..", "...", "a.b.c", "\ud800", "e30.e30.", "x" * 4096, "x" * 4097, "x" * 100_000)
        )
    parts = [hostile(choices).encode("utf-8", "surrogatepass")[:3000] for _ in range(choices.below(3))]
    if kind == 2:
        header = b'{"alg":"ES256",' + choices.pick(_HEADERS).encode("utf-8", "surrogatepass") + b"}"
        return f"{_encoded(header)}.e30.{_encoded(bytes(64))}"
    if kind == 3:
        return ".".join([_encoded(b'{"alg":"ES256","kid":' + parts[0] + b"}") if parts else "", "e30", "AAAA"])
    if kind == 4:
        return ".".join(map(_encoded, parts)) + ".AAAA"
    return choices.rest().decode("latin-1")


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        return (
            base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if re.fullmatch(r"[\w-]*", text, re.ASCII) else b""
        )
    except binascii.Error:
        return b""


def _lenient(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
