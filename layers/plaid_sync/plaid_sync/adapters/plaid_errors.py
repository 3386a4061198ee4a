"""Plaid's error answers (https://plaid.com/docs/errors/), for both clients; imports nothing of plaid-python."""

from __future__ import annotations

import re
from typing import Final

_CODE: Final = re.compile("[A-Z][A-Z0-9_]{0,63}")


def error_code(answer: object, status: int | None) -> str:
    """Return the `error_code` of a parsed answer, or `HTTP_<status>` where it has none.

    A text of another form is none: codes are stored, logged and shown, and proxies answer in Plaid's place.
    """
    code = answer.get("error_code") if isinstance(answer, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else f"HTTP_{status}"
