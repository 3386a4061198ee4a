"""The formats on the wire: JSON with exact decimals, timestamps and identifiers, each as Plaid writes them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import simplejson

if TYPE_CHECKING:
    from random import Random

JsonObject = dict[str, Any]

# Plaid's ids are case-sensitive and leave out the characters that people confuse.
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ID_LENGTH = 37
_REQUEST_ID_LENGTH = 15


def encode(value: object) -> bytes:
    """Encode a body as Plaid does: keys sorted, indented by two spaces, no newline at the end.

    Webhook signatures cover exactly these bytes.
    """
    text: str = simplejson.dumps(value, indent=2, sort_keys=True, use_decimal=True, ensure_ascii=False)
    return text.encode()


def encode_response(value: object) -> bytes:
    """Encode the body of a successful response: the same JSON without indentation, which is faster.

    A lone surrogate, which UTF-8 cannot encode, becomes a JSON escape.
    """
    text: str = simplejson.dumps(value, use_decimal=True, ensure_ascii=False)
    return text.encode(errors="backslashreplace")


def decode(body: bytes) -> object:
    """Decode JSON with every fractional number as an exact Decimal."""
    value: object = simplejson.loads(body, use_decimal=True)
    return value


def timestamp(moment: datetime) -> str:
    """Format a timestamp as Plaid does (RFC 3339 in UTC, whole seconds)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def nanosecond_timestamp(moment: datetime) -> str:
    """Format a timestamp with nine fractional digits, as /link/token/get does."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}653Z"


def optional_timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


def entity_id(rng: Random) -> str:
    return "".join(rng.choices(_ALPHABET, k=_ID_LENGTH))


def request_id(rng: Random) -> str:
    return "".join(rng.choices(_ALPHABET, k=_REQUEST_ID_LENGTH))


def uuid4(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
