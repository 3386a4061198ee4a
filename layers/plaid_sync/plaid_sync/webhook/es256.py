"""What Plaid uses of JSON Web Signatures, and nothing else: ES256, compact tokens, P-256 keys.

A token is "header.payload.signature" (RFC 7515, section 7.1), each part in base64url without padding. Its signature is
the numbers r and s, 32 bytes each, over the text of the first two parts (RFC 7518, section 3.4).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from plaid_sync.domain import exact_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

ALGORITHM: Final = "ES256"
_NUMBER_BYTES: Final = 32
"""Of a coordinate, and of r and s."""
_CHANGES_THE_MEANING: Final = frozenset({"crit", "b64"})
"""Members of a header that change what the token says (RFC 7515, section 4.1.11; RFC 7797)."""
_ECDSA: Final = ECDSA(SHA256())


@dataclass(frozen=True, slots=True)
class Token:
    """A token, of which nothing is verified.

    Attributes:
        signed: the bytes that the signature is over.
    """

    header: Mapping[str, Any]
    signed: bytes
    payload: bytes
    signature: bytes

    def is_signed_with(self, key: EllipticCurvePublicKey) -> bool:
        """Return whether the signature is one of this key's."""
        if len(self.signature) != 2 * _NUMBER_BYTES:
            return False
        r, s = self.signature[:_NUMBER_BYTES], self.signature[_NUMBER_BYTES:]
        try:
            key.verify(encode_dss_signature(int.from_bytes(r), int.from_bytes(s)), self.signed, _ECDSA)
        except InvalidSignature:
            return False
        return True


def parse_token(text: str) -> Token:
    """Parse a token of any algorithm.

    Raises:
        ValueError: it is not three parts in their one canonical form, the first of them a JSON object; or its header
            has a member that changes the meaning of the rest.
    """
    parts = text.encode("ascii").split(b".")
    raw_header, payload, signature = map(decode_base64url, parts)
    header = exact_json.loads(raw_header)
    if not isinstance(header, dict) or header.keys() & _CHANGES_THE_MEANING:
        raise ValueError("not a header of Plaid's")
    return Token(header, b".".join(parts[:2]), payload, signature)


def parse_jwk(jwk: Mapping[str, Any]) -> EllipticCurvePublicKey:
    """Parse a public key (RFC 7517).

    Raises:
        ValueError: it is not a key for ES256, or no point of its curve.
    """
    if (jwk.get("kty"), jwk.get("crv"), jwk.get("alg", ALGORITHM)) != ("EC", "P-256", ALGORITHM):
        raise ValueError("not a key for ES256")
    x, y = (decode_base64url(str(jwk.get(name)).encode("ascii")) for name in ("x", "y"))
    return _key_at(x, y)


def encode_key(key: EllipticCurvePublicKey) -> bytes:
    """Return a key as the 64 bytes of its coordinates.

    The functions of `cryptography` for keys in files import a format for each tool that has one, at each cold start.
    """
    point = key.public_numbers()
    return point.x.to_bytes(_NUMBER_BYTES) + point.y.to_bytes(_NUMBER_BYTES)


def decode_key(encoded: bytes) -> EllipticCurvePublicKey:
    """Parse what `encode_key` returned.

    Raises:
        ValueError: it is no point of P-256.
    """
    return _key_at(encoded[:_NUMBER_BYTES], encoded[_NUMBER_BYTES:])


def _key_at(x: bytes, y: bytes) -> EllipticCurvePublicKey:
    if not len(x) == len(y) == _NUMBER_BYTES:
        raise ValueError("not the coordinates of a P-256 key")
    return EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1()).public_key()


def decode_base64url(text: bytes) -> bytes:
    """Decode the only text that encodes these bytes: no padding, no other alphabet, no bits that no decoder reads.

    Raises:
        ValueError: it is another one.
    """
    decoded = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise ValueError("not canonical base64url")
    return decoded
