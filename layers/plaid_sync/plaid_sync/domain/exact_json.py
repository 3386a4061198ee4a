"""JSON whose numbers stay exact: a fraction becomes a Decimal and is written back digit for digit.

Plaid documents `amount` as a double without a stated scale, and real amounts have up to seven decimals. A float
anywhere between the socket and the table would change money, so this is the only JSON the engine uses.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Any, Final

import simplejson

MAX_DEPTH: Final = 100
"""Levels of nesting in what is stored. Parsers fail at several hundred, sooner the deeper their caller's stack is."""
_TOKENS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},"]', re.DOTALL)
"""Texts whole, brackets and commas outside of them, and the quotation mark of a text without an end."""
_MEMBER: Final = re.compile(rb'("(?:[^"\\]++|\\.)*+")[ \t\n\r]*:(.*)', re.DOTALL)
_CLOSING: Final = {b"[": b"]", b"{": b"}"}
_SPACE: Final = b" \t\n\r"
_INSEPARABLE: Final = "not valid JSON: its parts cannot be separated"


class InvalidJsonError(ValueError):
    """The bytes are not JSON in UTF-8, or hold a number that no decimal can be (NaN, 1e9999999999999999999)."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a document that is not JSON, or that is nested deeper than `MAX_DEPTH`, as its own text."""

    text: bytes

    @property
    def members(self) -> dict[str, Any]:
        """Its members, as `loads_apart` returns them; none where it is not an object."""
        try:
            return loads_apart(self.text)
        except InvalidJsonError:
            return {}


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


def loads_apart(document: bytes) -> dict[str, Any]:
    """Parse an object member by member, and a member that is an array element by element.

    A part that cannot be parsed becomes `Unreadable`, and all others keep their values. Much slower than `loads`.

    Raises:
        InvalidJsonError: it is not an object, or its brackets and texts do not match: no part of it has a certain end.
    """
    members = {}
    for part in _split(document, b"{"):
        member = _MEMBER.fullmatch(part)
        if member is None:
            raise InvalidJsonError("not valid JSON: a member without a name")
        name, value = _load_part(member[1]), member[2].strip(_SPACE)
        if isinstance(name, str):
            members[name] = list(map(_load_part, _split(value, b"["))) if value[:1] == b"[" else _load_part(value)
    return members


def _load_part(text: bytes) -> Any:  # noqa: ANN401 - see `loads`
    try:
        return Unreadable(text) if is_deep(text) else loads(text)
    except InvalidJsonError:
        return Unreadable(text)


def _split(document: bytes, opening: bytes) -> list[bytes]:
    """Return the texts between the commas of an array or of an object."""
    text = document.removeprefix(codecs.BOM_UTF8).strip(_SPACE)
    parts: list[bytes] = []
    expected: list[bytes] = []
    start = len(opening)
    for token in _TOKENS.finditer(text) if text.startswith(opening) else ():
        found = token[0]
        if found in _CLOSING:
            expected.append(_CLOSING[found])
        elif found == b'"' or (found in _CLOSING.values() and found != expected.pop()):
            raise InvalidJsonError(_INSEPARABLE)
        if not expected or (found == b"," and len(expected) == 1):
            parts.append(text[start : token.start()].strip(_SPACE))
            start = token.end()
        if not expected:
            break
    if expected or not parts or start < len(text):
        raise InvalidJsonError(_INSEPARABLE)
    if parts == [b""]:
        return []
    if not all(parts):
        raise InvalidJsonError(_INSEPARABLE)
    return parts


def is_deep(text: bytes) -> bool:
    """Return whether a JSON text is nested deeper than `MAX_DEPTH`."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += (token[0] in _CLOSING) - (token[0] in _CLOSING.values())
        if depth > MAX_DEPTH:
            return True
    return False


def _encoder(*, ensure_ascii: bool) -> simplejson.JSONEncoder:
    separators = (",", ":")
    return simplejson.JSONEncoder(
        use_decimal=True, allow_nan=False, sort_keys=True, separators=separators, ensure_ascii=ensure_ascii
    )


_ASCII: Final = _encoder(ensure_ascii=True)
_UNICODE: Final = _encoder(ensure_ascii=False)


def dumps(value: object, *, ascii_only: bool = False) -> str:
    """Serialise compactly with sorted keys, so that equal values give equal text.

    Args:
        value: what `loads` returned, or the like.
        ascii_only: write everything beyond ASCII as escapes.

    Raises:
        InvalidJsonError: it is nested too deeply. `loads` of the same text can just succeed.
    """
    try:
        text: str = _ASCII.encode(value)
        # Only this form is written in C; without an escape of a character it equals the other.
        return text if ascii_only or r"\u" not in text else str(_UNICODE.encode(value))
    except RecursionError as error:
        raise InvalidJsonError("not valid JSON: nested too deeply") from error


def dumps_for_storage(value: object, *, ascii_only: bool = False) -> bytes:
    """Serialise like `dumps`, so that every reader can parse it.

    Raises:
        InvalidJsonError: it is nested deeper than `MAX_DEPTH`.
        UnicodeEncodeError: it has half a surrogate pair, and `ascii_only` is false.
    """
    text = dumps(value, ascii_only=ascii_only).encode()
    if is_deep(text):
        raise InvalidJsonError("not valid JSON: nested too deeply")
    return text
