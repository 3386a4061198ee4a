"""Foreign words that are fit to be logged, stored and sent on as they are."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, TypeGuard

LONGEST: Final = 128
_ERROR_CODE: Final = re.compile("[A-Z][A-Z0-9_]{0,63}")


def is_plain(value: object, longest: int = LONGEST) -> TypeGuard[str]:
    """Tell whether a value is a text of 1 to `longest` printable ASCII characters.

    JSON can name characters that no request, queue or log line can hold (half a surrogate pair), and texts of any size.
    """
    return isinstance(value, str) and 0 < len(value) <= longest and value.isascii() and value.isprintable()


def plain_or_empty(value: object) -> str:
    """Return a value that only informs, if it is plain, else "": no sync may fail for the sake of what none needs."""
    return value if is_plain(value) else ""


def is_error_code(value: object) -> TypeGuard[str]:
    """Tell whether a value has the form of Plaid's error codes: they are stored, logged and shown."""
    return isinstance(value, str) and _ERROR_CODE.fullmatch(value) is not None


def moment_text(moment: datetime) -> str:
    """Write a time the way all tables do: ISO 8601, UTC, cut to milliseconds, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_or_none(value: object) -> datetime | None:
    """Return a time in ISO 8601 (without an offset: in UTC) as UTC, or None for whatever else it is."""
    if not is_plain(value):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
