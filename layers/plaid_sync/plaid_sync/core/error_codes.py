"""Plaid's error codes: what must happen after each, and what the user has to do. Data, and nothing else.

Plaid's `error_code` is the key ("safe for programmatic use", unlike messages, and unlike the HTTP status:
institution outages arrive as 400). Source: https://plaid.com/docs/errors/. Codes that concern only products and
endpoints that the engine never calls are left out: a code that is not here is retried, and counted.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class FailureClass(StrEnum):
    """What must happen after a failure."""

    RESTART = "restart"
    """The data changed under the pagination: pull again from the stored cursor."""
    RETRY = "retry"
    """It passes by itself within seconds or minutes."""
    THROTTLED = "throttled"
    """Too many calls in this minute: wait for the next one. Says nothing about the Item, and is never given up."""
    INSTITUTION_DOWN = "institution_down"
    """It passes by itself within hours."""
    NEEDS_USER = "needs_user"
    """Only the user can repair it: record it on the Item and acknowledge."""
    TERMINAL = "terminal"
    """Nobody can repair it: record it on the Item and acknowledge."""
    OURS = "ours"
    """Our keys or our request are wrong: retry to the dead-letter queue, with an alarm."""


class Remedy(StrEnum):
    """What the user of an Item has to do."""

    NONE = "none"
    """Nothing."""
    WAIT = "wait"
    """Nothing: it passes by itself."""
    UPDATE_MODE = "update_mode"
    """Go through Link in update mode."""
    BANK_THEN_UPDATE_MODE = "bank_then_update_mode"
    """Put things right at the bank, then go through Link in update mode."""
    RELINK = "relink"
    """Link the bank anew."""


MUTATION_CODE: Final = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
INVALID_FIELD_CODE: Final = "INVALID_FIELD"
PENDING_EXPIRATION: Final = "PENDING_EXPIRATION"
PENDING_DISCONNECT: Final = "PENDING_DISCONNECT"

CODES_BY_CLASS: Final[dict[FailureClass, tuple[str, ...]]] = {
    FailureClass.RESTART: (MUTATION_CODE,),
    FailureClass.RETRY: (
        "INTERNAL_SERVER_ERROR",
        "PLANNED_MAINTENANCE",
        "PRODUCT_NOT_READY",
        "USER_INPUT_TIMEOUT",
    ),
    FailureClass.THROTTLED: (
        "TRANSACTIONS_SYNC_LIMIT",
        "TRANSACTIONS_LIMIT",
        "RATE_LIMIT",
        "RATE_LIMIT_EXCEEDED",
        "ITEM_GET_LIMIT",
        "ACCOUNTS_LIMIT",
        "INSTITUTION_RATE_LIMIT",
        "INSTITUTIONS_GET_LIMIT",
        "INSTITUTIONS_GET_BY_ID_LIMIT",
        "ADDITION_LIMIT",
        "HTTP_429",
    ),
    FailureClass.INSTITUTION_DOWN: (
        "INSTITUTION_DOWN",
        "INSTITUTION_NOT_RESPONDING",
        "INSTITUTION_NOT_AVAILABLE",
    ),
    FailureClass.NEEDS_USER: (
        "ITEM_LOGIN_REQUIRED",
        "ACCESS_NOT_GRANTED",
        "ADDITIONAL_CONSENT_REQUIRED",
        "NO_ACCOUNTS",
        "INVALID_CREDENTIALS",
        "INVALID_MFA",
        "INVALID_SEND_METHOD",
        "INVALID_UPDATED_USERNAME",
        "INSUFFICIENT_CREDENTIALS",
        "ITEM_LOCKED",
        "PASSWORD_RESET_REQUIRED",
        "USER_SETUP_REQUIRED",
    ),
    FailureClass.TERMINAL: (
        "ITEM_NOT_FOUND",
        "ITEM_CONCURRENTLY_DELETED",
        "USER_PERMISSION_REVOKED",
        "INSTITUTION_NO_LONGER_SUPPORTED",
        "UNSUPPORTED_RESPONSE",
        "ITEM_NOT_SUPPORTED",
        "MFA_NOT_SUPPORTED",
        "PRODUCTS_NOT_SUPPORTED",
        "PRODUCT_NOT_ENABLED",
    ),
    FailureClass.OURS: (
        "INVALID_ACCESS_TOKEN",
        "INVALID_API_KEYS",
        "UNAUTHORIZED_ENVIRONMENT",
        "UNAUTHORIZED_ROUTE_ACCESS",
        "DIRECT_INTEGRATION_NOT_ENABLED",
        "INVALID_CONFIGURATION",
        "INVALID_PRODUCT",
        "INVALID_BODY",
        "INVALID_HEADERS",
        "MISSING_FIELDS",
        "UNKNOWN_FIELDS",
        INVALID_FIELD_CODE,
        "INVALID_ACCOUNT_ID",
        "NOT_FOUND",
        "SANDBOX_ONLY",
        "CREDITS_EXHAUSTED",
    ),
}

_REMEDY_OF_CLASS: Final = {
    FailureClass.NEEDS_USER: Remedy.UPDATE_MODE,
    FailureClass.TERMINAL: Remedy.RELINK,
    FailureClass.INSTITUTION_DOWN: Remedy.WAIT,
    FailureClass.THROTTLED: Remedy.WAIT,
    FailureClass.RETRY: Remedy.WAIT,
}
_REMEDY_OF_CODE: Final = {
    "ITEM_LOCKED": Remedy.BANK_THEN_UPDATE_MODE,
    "PASSWORD_RESET_REQUIRED": Remedy.BANK_THEN_UPDATE_MODE,
    "USER_SETUP_REQUIRED": Remedy.BANK_THEN_UPDATE_MODE,
    PENDING_EXPIRATION: Remedy.UPDATE_MODE,
    PENDING_DISCONNECT: Remedy.UPDATE_MODE,
}

_CLASS_OF_CODE: Final = {code: failure for failure, codes in CODES_BY_CLASS.items() for code in codes}


def classify(error_code: str) -> FailureClass:
    """Return the class of a Plaid error code; a code that we do not know is retried."""
    return _CLASS_OF_CODE.get(error_code, FailureClass.RETRY)


def is_known(error_code: str) -> bool:
    """Tell whether the code is in the table, or none of Plaid's: `HTTP_502` stands for a proxy's answer."""
    return error_code in _CLASS_OF_CODE or error_code.startswith("HTTP_")


def remedy_of(code: str | None) -> Remedy:
    """Return what the user has to do about an Item with this code (None: nothing is wrong)."""
    if code is None:
        return Remedy.NONE
    return _REMEDY_OF_CODE.get(code) or _REMEDY_OF_CLASS.get(classify(code), Remedy.NONE)
