"""Plaid's errors, and the bodies that carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.plaid.catalogue import CATALOGUE, UNKNOWN

if TYPE_CHECKING:
    from local.plaid.wire import JsonObject

__all__ = ["CATALOGUE", "PlaidError"]


class PlaidError(Exception):
    """A failure that the server answers with Plaid's error body."""

    def __init__(self, code: str, /, *, status: int | None = None, message: str | None = None, **details: str) -> None:
        super().__init__(code)
        self.code = code
        self.kind = CATALOGUE.get(code, UNKNOWN)
        self.status = status or self.kind.status
        self.message = message or self.kind.message.format_map(_Blank(details))

    def body(self, request_id: str) -> JsonObject:
        """Return the body of an API response."""
        page = self.kind.error_type.removesuffix("_ERROR").lower().replace("_", "-")
        return {
            "display_message": self.kind.display,
            "documentation_url": f"https://plaid.com/docs/?ref=error#{page}-errors",
            "error_code": self.code,
            "error_message": self.message,
            "error_type": self.kind.error_type,
            "request_id": request_id,
            "suggested_action": None,
        }

    def webhook_body(self, reason: str | None = None) -> JsonObject:
        """Return the object as webhooks and /item/get carry it: with a status, without a request id."""
        return {
            "display_message": self.kind.display,
            "error_code": self.code,
            "error_code_reason": reason,
            "error_message": self.message,
            "error_type": self.kind.error_type,
            "status": self.status,
        }


class _Blank(dict[str, str]):
    """Leaves a placeholder without a value blank, so that an injected code needs no details."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"
