"""JSON whose numbers stay exact: a fraction becomes a Decimal and is written back digit for digit.

Plaid documents `amount` as a double without a stated scale, and real amounts have up to seven decimals. A float
anywhere between the socket and the table would change money, so this is the only JSON the engine uses.
"""

from __future__ import annotations

from typing import Any

import simplejson


class InvalidJsonError(ValueError):
    """The bytes are not JSON in UTF-8, or hold a number that no decimal can be (NaN, 1e9999999999999999999)."""


def loads(document: bytes | str) -> Any:  # noqa: ANN401 - JSON is any of six types; callers narrow it
    """Parse a JSON document; fractions become `Decimal`, integers `int`.

    Raises:
        InvalidJsonError: the document is not valid JSON, not UTF-8, or nested too deeply.
    """
    try:
        text = document.decode("utf-8") if isinstance(document, bytes) else document
        return simplejson.loads(text, use_decimal=True)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidJsonError(f"not valid JSON: {type(error).__name__}") from error


def dumps(value: object, *, ascii_only: bool = False) -> str:
    """Serialise compactly with sorted keys, so that equal values give equal text.

    Args:
        value: what `loads` returned, or the like.
        ascii_only: write everything beyond ASCII as escapes.

    Raises:
        InvalidJsonError: it is nested too deeply. `loads` of the same text can just succeed.
    """
    try:
        return simplejson.dumps(value, use_decimal=True, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only)
    except RecursionError as error:
        raise InvalidJsonError("not valid JSON: nested too deeply") from error
