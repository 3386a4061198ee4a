"""ES256 against PyJWT: what one accepts the other does too, except where this one is stricter, with the reason.

Tokens and keys are made here by hand and by Hypothesis, with genuine signatures over hostile parts too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.webhook.es256 import decode_base64url, decode_key, encode_key, parse_jwk, parse_token

from tests.unit.properties.hostile_json import HOSTILE
from tests.unit.properties.signing import other_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

PRIVATE_KEY: Final = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY: Final = PRIVATE_KEY.public_key()
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FIELD: Final = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
HEADER: Final = '{"alg":"ES256","kid":"key","typ":"JWT"}'
CLAIMS: Final = '{"iat":1772366400,"request_body_sha256":"00"}'


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signature_of(signed: str, key: ec.EllipticCurvePrivateKey = PRIVATE_KEY, size: int = 32) -> bytes:
    numbers = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return b"".join(number.to_bytes(size, "big") for number in numbers)


def token(header: str | bytes = HEADER, claims: str | bytes = CLAIMS, signature: bytes | None = None) -> str:
    parts = [part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in (header, claims)]
    signed = ".".join(map(encoded, parts))
    return f"{signed}.{encoded(signature_of(signed) if signature is None else signature)}"


def ours(text: str) -> Any:
    """Return the payload's JSON of a token that this key signed with ES256; None where it is rejected."""
    try:
        parsed = parse_token(text)
        verified = parsed.header.get("alg") == "ES256" and parsed.is_signed_with(PUBLIC_KEY)
        return json.loads(parsed.payload) if verified else None
    except (ValueError, RecursionError):
        return None


def pyjwt(text: str, key: EllipticCurvePublicKey = PUBLIC_KEY) -> Any:
    """Return the same of PyJWT."""
    names = ("iat", "exp", "nbf", "aud", "iss", "sub", "jti")
    options: Any = {f"verify_{name}": False for name in names}
    try:
        return jwt.decode(text, key, algorithms=["ES256"], options=options)
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        return None


def test_a_genuine_token_is_accepted_by_both_with_the_same_claims() -> None:
    assert ours(token()) == pyjwt(token()) == json.loads(CLAIMS)
    assert parse_token(token()).header == json.loads(HEADER)


def with_hs256(header: str = '{"alg":"HS256","kid":"key"}') -> str:
    """Return a token with the public key as the secret of a MAC: algorithm confusion."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = PUBLIC_KEY.public_bytes(serialization.Encoding.PEM, form)
    signed = f"{encoded(header.encode())}.{encoded(CLAIMS.encode())}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def with_numbers(r: int, s: int) -> str:
    return token(signature=r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def with_der() -> str:
    signed = f"{encoded(HEADER.encode())}.{encoded(CLAIMS.encode())}"
    return f"{signed}.{encoded(PRIVATE_KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))}"


def with_curve(curve: ec.EllipticCurve, size: int) -> str:
    signed = f"{encoded(HEADER.encode())}.{encoded(CLAIMS.encode())}"
    return f"{signed}.{encoded(signature_of(signed, ec.generate_private_key(curve), size))}"


def last_bits_changed(text: str) -> str:
    """Return a token whose last character differs in the bits that a lenient decoder does not read."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


GENUINE: Final = token()
SIGNED, _, SIGNATURE = GENUINE.rpartition(".")
FORGED: Final = {
    "no algorithm": token('{"kid":"key"}'),
    "none": token('{"alg":"none","kid":"key"}', signature=b""),
    "none, with the signature": token('{"alg":"none","kid":"key"}'),
    "HS256 with the public key": with_hs256(),
    "HS256 that is named ES256": with_hs256(HEADER),
    "another algorithm": token('{"alg":"ES384","kid":"key"}'),
    "the algorithm in lower case": token('{"alg":"es256","kid":"key"}'),
    "an algorithm that is no text": token('{"alg":["ES256"],"kid":"key"}'),
    "two algorithms, the last one counts": token('{"alg":"ES256","alg":"none","kid":"key"}'),
    "another key": f"{SIGNED}.{encoded(signature_of(SIGNED, ec.generate_private_key(ec.SECP256R1())))}",
    "another curve of the same size": with_curve(ec.SECP256K1(), 32),
    "another curve": with_curve(ec.SECP384R1(), 48),
    "DER": with_der(),
    "r = 0": with_numbers(0, 1),
    "s = 0": with_numbers(1, 0),
    "both 0": with_numbers(0, 0),
    "r = n": with_numbers(ORDER, 1),
    "s = n": with_numbers(1, ORDER),
    "s of more than n": with_numbers(1, 2**256 - 1),
    "no signature": f"{SIGNED}.",
    "63 bytes": token(signature=decode_base64url(SIGNATURE.encode())[:-1]),
    "65 bytes": token(signature=decode_base64url(SIGNATURE.encode()) + b"\0"),
    "the claims of another token": ".".join((*SIGNED.split(".")[:1], encoded(b'{"iat":0}'), SIGNATURE)),
    "the header of another token": ".".join((encoded(b'{"alg":"ES256"}'), *SIGNED.split(".")[1:], SIGNATURE)),
    "bits that no decoder reads": last_bits_changed(GENUINE),
    "a part too few": SIGNED,
    "a part too many": f"{GENUINE}.{SIGNATURE}",
    "an empty part": f"{SIGNED}..{SIGNATURE}",
    "the other alphabet": f"{SIGNED}.{SIGNATURE}".replace("-", "+").replace("_", "/") + "+",
    "a space": f" {GENUINE}",
    "a line feed": f"{GENUINE}\n",
    "beyond ASCII": GENUINE.replace("e", "\u0435"),
    "half a surrogate": f"{GENUINE}\ud800",
    "a token in a token": token(claims=GENUINE),
    "JSON serialization": json.dumps({"payload": SIGNED.split(".")[1], "signature": SIGNATURE}),
    "a header that is an array": token('["ES256"]'),
    "a header that is not JSON": token("{alg:ES256}"),
    "a header that is not UTF-8": token(b'{"alg":"ES256","kid":"\xff"}'),
    "a header with a huge integer": token('{"alg":"ES256","kid":"key","n":' + "1" * 5000 + "}"),
    "a header that is nested too deeply": token("[" * 100_000),
    "crit of a member that it has not": token('{"alg":"ES256","crit":["exp"],"kid":"key"}'),
    "an empty crit": token('{"alg":"ES256","crit":[],"kid":"key"}'),
    "crit that is no list": token('{"alg":"ES256","crit":"b64","kid":"key"}'),
    "a payload that is not encoded": token('{"alg":"ES256","b64":false,"crit":["b64"],"kid":"key"}'),
    "the same without crit": token('{"alg":"ES256","b64":false,"kid":"key"}'),
    "claims that are not JSON": token(claims="{iat:0}"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_accepted_by_neither(name: str) -> None:
    assert (ours(FORGED[name]), pyjwt(FORGED[name])) == (None, None)


ACCEPTED: Final = {
    "the other root, which ECDSA accepts": f"{SIGNED}.{encoded(other_root(decode_base64url(SIGNATURE.encode())))}",
    "two algorithms, the last one counts": token('{"alg":"none","alg":"ES256","kid":"key"}'),
    "members that say nothing to a receiver": token('{"alg":"ES256","jku":"http://127.0.0.1:9","jwk":{},"typ":7}'),
    "spaces in its JSON": token(' {"alg" : "ES256"}\n'),
    "escapes in its JSON": token('{"\\u0061lg":"ES\\u0032\\u0035\\u0036"}'),
    "a byte order mark": token(b"\xef\xbb\xbf" + HEADER.encode()),
    "a huge integer that can be parsed": token(claims='{"iat":' + "1" * 4000 + "}"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_unusual_token_that_is_genuine_is_accepted_by_both(name: str) -> None:
    assert ours(ACCEPTED[name]) == pyjwt(ACCEPTED[name]) != None  # noqa: E711 - neither rejects it


STRICTER: Final = {
    "padding, so that one delivery would have several deduplication ids": f"{GENUINE}==",
    "crit and b64 that change nothing: Plaid never sends them": token('{"alg":"ES256","b64":true,"crit":["b64"]}'),
    "b64 that changes nothing": token('{"alg":"ES256","b64":true}'),
    "a number that no decimal can be, as in all JSON of the engine": token('{"alg":"ES256","n":1e9999999999999999999}'),
    "another encoding than UTF-8": token('{"alg":"ES256"}'.encode("utf-16")),
}


@pytest.mark.parametrize("why", STRICTER)
def test_a_genuine_token_that_only_pyjwt_accepts_is_one_that_plaid_never_makes(why: str) -> None:
    assert pyjwt(STRICTER[why]) is not None
    assert ours(STRICTER[why]) is None


@given(HOSTILE | st.just(HEADER), HOSTILE | st.just(CLAIMS), st.none() | st.binary(max_size=70))
def test_no_parts_make_a_token_that_pyjwt_rejects(header: str, claims: str, signature: bytes | None) -> None:
    text = token(header, claims, signature)
    accepted = ours(text)
    assert accepted is None or not isinstance(accepted, dict) or pyjwt(text) == accepted


@given(st.integers(0, len(GENUINE)), st.text(max_size=3), st.integers(0, 3))
def test_no_change_of_a_genuine_token_is_accepted(place: int, inserted: str, dropped: int) -> None:
    text = GENUINE[:place] + inserted + GENUINE[place + dropped :]
    assert (ours(text) is None) == (text != GENUINE)
    assert pyjwt(text) is None or text.rstrip("=") == GENUINE


@given(st.text(max_size=80))
def test_a_text_is_decoded_only_if_it_is_the_encoding_of_its_bytes(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    try:
        decoded = decode_base64url(raw)
    except ValueError:
        return
    assert base64.urlsafe_b64encode(decoded).rstrip(b"=") == raw


# ---- keys

JWK: Final[dict[str, Any]] = jwt.algorithms.ECAlgorithm.to_jwk(PUBLIC_KEY, as_dict=True)
X, Y = PUBLIC_KEY.public_numbers().x, PUBLIC_KEY.public_numbers().y


def our_key(jwk: Mapping[str, Any]) -> Any:
    try:
        return parse_jwk(jwk).public_numbers()
    except ValueError:
        return None


def pyjwt_key(jwk: Any) -> Any:
    try:
        key = jwt.PyJWK.from_dict(jwk, algorithm="ES256").key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    # PyJWT leaves the curve to its caller.
    is_p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    return key.public_numbers() if is_p256 else None


def coordinate(number: int, size: int = 32) -> str:
    return encoded(number.to_bytes(size, "big"))


def jwk_of(curve: ec.EllipticCurve) -> dict[str, Any]:
    return dict(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(curve).public_key(), as_dict=True))


def test_a_key_of_plaid_is_parsed_as_pyjwt_parses_it() -> None:
    plaids = JWK | {"alg": "ES256", "use": "sig", "kid": "key", "created_at": 1, "expired_at": None}
    for jwk in (JWK, plaids):
        assert our_key(jwk) == pyjwt_key(jwk) == PUBLIC_KEY.public_numbers()


MALFORMED: Final = {
    "nothing": {},
    "another curve": jwk_of(ec.SECP384R1()),
    "another curve of the same size": jwk_of(ec.SECP256K1()),
    "that curve under a false name": jwk_of(ec.SECP256K1()) | {"crv": "P-256"},
    "RSA": dict(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)),
    "a secret": {"kty": "oct", "k": "AAAA", "crv": "P-256"} | {name: JWK[name] for name in "xy"},
    "no coordinate": JWK | {"y": None},
    "a coordinate that is a number": JWK | {"y": 7},
    "a point that is not on the curve": JWK | {"x": coordinate(X ^ 1)},
    "the point (0, 0)": JWK | {"x": coordinate(0), "y": coordinate(0)},
    "a coordinate that is no element of the field": JWK | {"x": coordinate(FIELD + 1)},
    "a coordinate with a zero in front": JWK | {"x": coordinate(X, 33)},
    "a coordinate that is too short": JWK | {"x": "AAAA"},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_key_is_accepted_by_neither(name: str) -> None:
    assert (our_key(MALFORMED[name]), pyjwt_key(MALFORMED[name])) == (None, None)


STRICTER_KEYS: Final = {
    "a key that is meant for another algorithm": JWK | {"alg": "ES384"},
    "padding: RFC 7515 has none": JWK | {"x": JWK["x"] + "="},
    "characters that PyJWT skips": JWK | {"x": "!!!!" + JWK["x"]},
}


@pytest.mark.parametrize("why", STRICTER_KEYS)
def test_a_key_that_only_pyjwt_accepts_is_one_that_plaid_never_sends(why: str) -> None:
    assert pyjwt_key(STRICTER_KEYS[why]) is not None
    assert our_key(STRICTER_KEYS[why]) is None


def test_an_encoded_key_is_the_same_one_and_no_other_bytes_are_a_key() -> None:
    encoded_key = encode_key(PUBLIC_KEY)
    assert decode_key(encoded_key) == PUBLIC_KEY
    for other in (b"", encoded_key[:-1], encoded_key + b"\0", bytes(64), encoded_key[32:] + encoded_key[:32]):
        with pytest.raises(ValueError, match="key"):
            decode_key(other)


def test_a_verified_token_has_the_bytes_that_were_signed() -> None:
    parsed = parse_token(GENUINE)
    assert parsed.signed.decode() == SIGNED
    assert hashlib.sha256(parsed.payload).digest() == hashlib.sha256(CLAIMS.encode()).digest()
