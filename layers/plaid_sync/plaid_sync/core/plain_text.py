"""Foreign words that are fit to be logged, stored and sent on as they are."""

from __future__ import annotations

from typing import Final, TypeGuard

LONGEST: Final = 128


def is_plain(value: object, longest: int = LONGEST) -> TypeGuard[str]:
    """Tell whether a value is a text of 1 to `longest` printable ASCII characters.

    JSON can name characters that no request, queue or log line can hold (half a surrogate pair), and texts of any size.
    """
    return isinstance(value, str) and 0 < len(value) <= longest and value.isascii() and value.isprintable()


def plain_or_empty(value: object) -> str:
    """Return a value that only informs, if it is plain, else "": no sync may fail for the sake of what none needs."""
    return value if is_plain(value) else ""
