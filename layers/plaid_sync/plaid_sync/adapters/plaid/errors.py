"""Plaid's error answers (https://plaid.com/docs/errors/), for both clients; imports nothing of plaid-python."""

from __future__ import annotations

from plaid_sync.core.plain_text import is_error_code


def error_code(answer: object, status: int | None) -> str:
    """Return the `error_code` of a parsed answer, or `HTTP_<status>` where it has none.

    A text of another form is none: codes are stored, logged and shown, and proxies answer in Plaid's place.
    """
    code = answer.get("error_code") if isinstance(answer, dict) else None
    return code if is_error_code(code) else f"HTTP_{status}"
