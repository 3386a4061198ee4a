"""What can go wrong, named by what must happen next.

Plaid's `error_code` is the key ("safe for programmatic use", unlike messages, and unlike the HTTP status:
institution outages arrive as 400). Source: https://plaid.com/docs/errors/.
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
    INSTITUTION_DOWN = "institution_down"
    """It passes by itself within hours."""
    NEEDS_USER = "needs_user"
    """Only the user can repair it: record it on the Item and acknowledge."""
    TERMINAL = "terminal"
    """Nobody can repair it: record it on the Item and acknowledge."""
    OURS = "ours"
    """Our keys or our request are wrong: retry to the dead-letter queue, with an alarm."""


MUTATION_CODE: Final = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
INVALID_FIELD_CODE: Final = "INVALID_FIELD"

_CODES_BY_CLASS: Final[dict[FailureClass, tuple[str, ...]]] = {
    FailureClass.RESTART: (MUTATION_CODE,),
    FailureClass.RETRY: (
        "INTERNAL_SERVER_ERROR",
        "PLANNED_MAINTENANCE",
        "TRANSACTIONS_SYNC_LIMIT",
        "TRANSACTIONS_LIMIT",
        "RATE_LIMIT",
        "ITEM_GET_LIMIT",
        "INSTITUTION_RATE_LIMIT",
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
        "PRODUCTS_NOT_SUPPORTED",
        "PRODUCT_NOT_ENABLED",
    ),
    FailureClass.OURS: (
        "INVALID_ACCESS_TOKEN",
        "INVALID_API_KEYS",
        "UNAUTHORIZED_ENVIRONMENT",
        INVALID_FIELD_CODE,
        "INVALID_ACCOUNT_ID",
        "CREDITS_EXHAUSTED",
    ),
}

_CLASS_BY_CODE: Final = {code: failure for failure, codes in _CODES_BY_CLASS.items() for code in codes}


def classify(error_code: str) -> FailureClass:
    """Return the class of a Plaid error code; a code that we do not know is retried."""
    return _CLASS_BY_CODE.get(error_code, FailureClass.RETRY)


class PlaidSyncError(Exception):
    """Base of every failure that the engine expects."""


class PlaidError(PlaidSyncError):
    """Plaid answered with an error.

    Attributes:
        code: Plaid's `error_code`, or `HTTP_<status>` where the body was not Plaid's.
        request_id: Plaid's id of the call, for its support; empty where there was none.
    """

    def __init__(self, code: str, request_id: str = "") -> None:
        super().__init__(f"Plaid refused: {code} (request_id {request_id or 'none'})")
        self.code = code
        self.request_id = request_id

    @property
    def failure_class(self) -> FailureClass:
        """What must happen next."""
        return classify(self.code)


class RetryableError(PlaidSyncError):
    """Something outside failed in a way that passes: try again later.

    Attributes:
        code: a short, stable reason for logs and metrics.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"try again later: {code}")
        self.code = code


class SupersededError(PlaidSyncError):
    """A newer attempt has claimed the Item: this one may not write any more."""


class ContractBrokenError(PlaidSyncError):
    """Plaid's answer does not have the documented shape.

    Attributes:
        field: where in the answer.
    """

    def __init__(self, field: str) -> None:
        super().__init__(f"Plaid's answer breaks its contract at {field}")
        self.field = field
