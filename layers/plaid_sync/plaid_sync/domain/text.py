"""Foreign text that is safe to log, store and send on unchanged."""

from __future__ import annotations

import re
from typing import Final, TypeGuard

MAX_TEXT_LENGTH: Final = 128
MAX_TOKEN_LENGTH: Final = 512
_ERROR_CODE: Final = re.compile("[A-Z][A-Z0-9_]{0,63}")


def is_printable_ascii(value: object, max_length: int = MAX_TEXT_LENGTH) -> TypeGuard[str]:
    """Return whether a value is a text of 1 to `max_length` printable ASCII characters.

    JSON can hold characters that no request, queue or log line can (half a surrogate pair), and texts of any size.
    """
    return isinstance(value, str) and 0 < len(value) <= max_length and value.isascii() and value.isprintable()


def is_token(value: object) -> TypeGuard[str]:
    """Return whether a value can be a token of Plaid's: a link, public or access token."""
    return is_printable_ascii(value, MAX_TOKEN_LENGTH)


def printable_or_empty(value: object) -> str:
    """Return an informational value if it is printable, else "": it must not fail a sync."""
    return value if is_printable_ascii(value) else ""


def has_half_surrogate(text: str) -> bool:
    """Return whether a text has half a surrogate pair, which JSON can hold and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def is_error_code(value: object) -> TypeGuard[str]:
    """Return whether a value has the form of Plaid's error codes: they are stored, logged and shown."""
    return isinstance(value, str) and _ERROR_CODE.fullmatch(value) is not None
