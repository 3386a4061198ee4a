"""Plaid's error answers (https://plaid.com/docs/errors/), for both clients; imports nothing of plaid-python."""

from __future__ import annotations

from typing import Final

from plaid_sync.core.plain_text import is_error_code

REFUSED_CREDENTIALS: Final = frozenset({"INVALID_API_KEYS", "INVALID_SECRET", "INVALID_CLIENT_ID"})
"""The client_id or the secret is wrong, or was rotated a moment ago."""


def error_code(answer: object, status: int | None) -> str:
    """Return the `error_code` of a parsed answer, or `HTTP_<status>` where it has none.

    A text of another form is none: codes are stored, logged and shown, and proxies answer in Plaid's place.
    """
    code = answer.get("error_code") if isinstance(answer, dict) else None
    return code if is_error_code(code) else f"HTTP_{status}"
