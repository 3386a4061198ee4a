"""Plaid's errors: a catalogue of codes, and the bodies that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.plaid.wire import JsonObject


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What Plaid documents about one error code."""

    error_type: str
    status: int
    message: str
    display: str | None = None


_INSTITUTION_DISPLAY = (
    "This financial institution is not currently responding to requests. We apologize for the inconvenience."
)
_REVOKED = "the account holder has revoked permission for this Item"

CATALOGUE: dict[str, ErrorKind] = {
    "MISSING_FIELDS": ErrorKind("INVALID_REQUEST", 400, "the following required fields are missing: {fields}"),
    "UNKNOWN_FIELDS": ErrorKind(
        "INVALID_REQUEST", 400, "the following fields are not recognized by this endpoint: {fields}"
    ),
    "INVALID_FIELD": ErrorKind("INVALID_REQUEST", 400, "{detail}"),
    "INVALID_BODY": ErrorKind("INVALID_REQUEST", 400, "body could not be parsed as JSON"),
    "NOT_FOUND": ErrorKind("INVALID_REQUEST", 404, "not found"),
    "INVALID_API_KEYS": ErrorKind("INVALID_INPUT", 400, "invalid client_id or secret provided"),
    "UNAUTHORIZED_ENVIRONMENT": ErrorKind(
        "INVALID_INPUT", 400, "you are not authorized to create items in this api environment"
    ),
    "INVALID_ACCESS_TOKEN": ErrorKind("INVALID_INPUT", 400, "could not find matching access token"),
    "INVALID_PUBLIC_TOKEN": ErrorKind("INVALID_INPUT", 400, "could not find matching public token"),
    "INVALID_LINK_TOKEN": ErrorKind("INVALID_INPUT", 400, "invalid link_token provided"),
    "INVALID_ACCOUNT_ID": ErrorKind("INVALID_INPUT", 400, "one or more of the account IDs is invalid for this Item"),
    "INVALID_WEBHOOK_VERIFICATION_KEY_ID": ErrorKind(
        "INVALID_INPUT", 400, "invalid key_id provided. note that key_ids are specific to Plaid environments"
    ),
    "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION": ErrorKind(
        "TRANSACTIONS_ERROR",
        400,
        "Underlying transaction data changed since last page was fetched. Please restart pagination from last update.",
    ),
    "ITEM_LOGIN_REQUIRED": ErrorKind(
        "ITEM_ERROR",
        400,
        "the login details of this item have changed (credentials, MFA, or required user action) and a user "
        "login is required to update this information. use Link's update mode to restore the item to a good state",
        "The login details of this account have changed. Please log in again.",
    ),
    "ITEM_NOT_FOUND": ErrorKind(
        "ITEM_ERROR",
        400,
        "The Item you requested cannot be found. This Item does not exist, has been previously removed via "
        "/item/remove, or has had access removed by the user.",
    ),
    "ITEM_CONCURRENTLY_DELETED": ErrorKind(
        "ITEM_ERROR", 400, "This item was deleted while the operation was in progress"
    ),
    "ITEM_LOCKED": ErrorKind(
        "ITEM_ERROR",
        400,
        "the account is locked. prompt the user to visit the institution's site and unlock their account",
        "The given account has been locked. Please log in to your bank's website and unlock it.",
    ),
    "ITEM_NOT_SUPPORTED": ErrorKind("ITEM_ERROR", 400, "this account is currently not supported"),
    "ACCESS_NOT_GRANTED": ErrorKind(
        "ITEM_ERROR", 400, "access to this product was not granted for the account", "The user did not grant access."
    ),
    "ADDITIONAL_CONSENT_REQUIRED": ErrorKind(
        "INVALID_INPUT", 400, "client does not have user consent to access the requested product"
    ),
    "NO_ACCOUNTS": ErrorKind("ITEM_ERROR", 400, "no valid accounts were found for this item"),
    "PASSWORD_RESET_REQUIRED": ErrorKind("ITEM_ERROR", 400, "user must reset their password"),
    "USER_SETUP_REQUIRED": ErrorKind(
        "ITEM_ERROR", 400, "the account has not been fully set up. prompt the user to visit the issuing institution"
    ),
    "USER_PERMISSION_REVOKED": ErrorKind("ITEM_ERROR", 400, _REVOKED),
    "PRODUCTS_NOT_SUPPORTED": ErrorKind("ITEM_ERROR", 400, "the requested product is not supported by this Item"),
    "PRODUCT_NOT_ENABLED": ErrorKind("ITEM_ERROR", 400, "the product is not enabled for this Item"),
    "INSTITUTION_DOWN": ErrorKind(
        "INSTITUTION_ERROR",
        400,
        "this institution is not currently responding to this request. please try again soon",
        _INSTITUTION_DISPLAY,
    ),
    "INSTITUTION_NOT_RESPONDING": ErrorKind(
        "INSTITUTION_ERROR",
        400,
        "this institution is not currently responding to this request. please try again soon",
        _INSTITUTION_DISPLAY,
    ),
    "INSTITUTION_NOT_AVAILABLE": ErrorKind(
        "INSTITUTION_ERROR", 400, "this institution is not currently available", _INSTITUTION_DISPLAY
    ),
    "INSTITUTION_NO_LONGER_SUPPORTED": ErrorKind(
        "INSTITUTION_ERROR", 400, "this institution is no longer supported", _INSTITUTION_DISPLAY
    ),
    "UNSUPPORTED_RESPONSE": ErrorKind(
        "INSTITUTION_ERROR", 400, "the data returned from the institution is not supported", _INSTITUTION_DISPLAY
    ),
    "INTERNAL_SERVER_ERROR": ErrorKind("API_ERROR", 500, "an unexpected error occurred"),
    "PLANNED_MAINTENANCE": ErrorKind("API_ERROR", 503, "the Plaid API is temporarily unavailable due to maintenance"),
    "CREDITS_EXHAUSTED": ErrorKind("RATE_LIMIT_EXCEEDED", 429, "the trial credits are exhausted"),
    "INSTITUTION_RATE_LIMIT": ErrorKind("RATE_LIMIT_EXCEEDED", 429, "this institution is rate limiting requests"),
    "SANDBOX_WEBHOOK_INVALID": ErrorKind(
        "SANDBOX_ERROR", 400, "Webhook for this Item is either not set up, or invalid for the given product"
    ),
    **{
        code: ErrorKind(
            "RATE_LIMIT_EXCEEDED",
            429,
            'rate limit exceeded for attempts to access "{endpoint}". please try again later',
        )
        for code in ("RATE_LIMIT", "TRANSACTIONS_SYNC_LIMIT", "TRANSACTIONS_LIMIT", "ITEM_GET_LIMIT", "ACCOUNTS_LIMIT")
    },
}
_UNKNOWN = ErrorKind("API_ERROR", 500, "an unexpected error occurred")


class PlaidError(Exception):
    """A failure that the server answers with Plaid's error body."""

    def __init__(self, code: str, /, *, status: int | None = None, message: str | None = None, **details: str) -> None:
        super().__init__(code)
        self.code = code
        self.kind = CATALOGUE.get(code, _UNKNOWN)
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
