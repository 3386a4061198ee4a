"""JSON as Plaid writes it, with decimals that never pass through a float."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import simplejson

JsonObject = dict[str, Any]


def encode(value: object) -> bytes:
    """Write a body as Plaid does: keys sorted, indented by two spaces, no newline at the end.

    Webhook signatures cover exactly these bytes.
    """
    text: str = simplejson.dumps(value, indent=2, sort_keys=True, use_decimal=True, ensure_ascii=False)
    return text.encode()


def encode_response(value: object) -> bytes:
    """Write the body of a successful response: the same JSON without the indentation, which costs time.

    Half of a surrogate pair, which UTF-8 has no form for, becomes the escape that JSON has for it.
    """
    text: str = simplejson.dumps(value, use_decimal=True, ensure_ascii=False)
    return text.encode(errors="backslashreplace")


def decode(body: bytes) -> object:
    """Read JSON with every fractional number as an exact Decimal.

    Raises:
        ValueError: the body is not JSON.
    """
    value: object = simplejson.loads(body, use_decimal=True)
    return value


def timestamp(moment: datetime) -> str:
    """Write a moment as Plaid does (RFC 3339 in UTC, whole seconds)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
