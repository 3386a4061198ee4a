"""Every failure that the engine expects, and Plaid's error codes by failure class.

    PlaidSyncError
    ├── PlaidError                  Plaid refused the call; `failure_class` says what must happen next
    ├── TransientError              AWS or the network failed, or the Item changed concurrently: retry
    │   ├── CallBudgetError         the call was not made: Plaid's limit is used up, or kept for more urgent calls
    │   ├── OutcomeUnknownError     the call may have had its effect
    │   ├── RowNewerThanItemError   a row is newer than its Item, as after a restore
    │   ├── SharedStateError        what the webhook processes share cannot be used (webhook.ports)
    │   └── NotQueuedError          a verified webhook that SQS did not accept (webhook.receiver)
    ├── SupersededError             a newer attempt holds the Item
    ├── SchemaViolationError        a response of Plaid that is not as documented
    ├── ConditionFailedError        a conditional write failed (aws.dynamodb.transact)
    ├── ClaimHeldError              another Item holds an account (linking.sessions)
    ├── InvalidRequestError         a request that names a wrong field
    ├── RefusedError                a request that the Item's state or ownership does not allow
    ├── LinkRolledBackError, ExchangeUnknownError, ItemOrphanedError   a link that failed after the exchange
    ├── AccessTokenLostError        a rotated access token that could not be stored
    ├── MalformedMessageError       a message that is not ours (domain.messages)
    └── RejectedError, UnprocessableWebhookError   a webhook that is forged, or unusable (webhook)

Plaid's `error_code` is the key of the table ("safe for programmatic use", unlike messages, and unlike the HTTP status:
institution outages arrive as 400). Source: https://plaid.com/docs/errors/. Codes of products and endpoints that the
engine never calls are omitted. The error's type and the HTTP status decide about a code that is not in the table; such
a code is counted. The endpoint decides whether the error says anything about the Item.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plaid_sync.domain.item import ItemId


ITEM_MODIFIED: Final = "item_modified_concurrently"
CURSOR_CHANGED: Final = "cursor_changed"
TRANSACTION_CANCELED: Final = "transaction_canceled"
TOKEN_ROTATING: Final = "access_token_rotating"  # noqa: S105 - an error code
CALL_BUDGET: Final = "call_budget"
"""Codes of a `TransientError`: the Item changed between its read and its write; a transaction met others too often; a
request may be replacing the access token; Plaid's limit of calls would be reached."""


class PlaidSyncError(Exception):
    """Base of every failure that the engine expects."""


class PlaidError(PlaidSyncError):
    """Plaid responded with an error.

    Attributes:
        code: Plaid's `error_code`, or `HTTP_<status>` where the body was not Plaid's.
        request_id: Plaid's id of the call, for its support; empty where there was none.
        error_type: Plaid's `error_type`; empty where there was none.
        code_reason: Plaid's `error_code_reason`, such as `OAUTH_USER_REVOKED`; None where there was none.
        status: the HTTP status; None where it is unknown.
        endpoint: the path of the call; empty where it is unknown.
    """

    def __init__(  # noqa: PLR0913 - what an error of Plaid's consists of
        self,
        code: str,
        request_id: str = "",
        *,
        error_type: str = "",
        code_reason: str | None = None,
        status: int | None = None,
        endpoint: str = "",
    ) -> None:
        super().__init__(f"Plaid refused: {code} (request_id {request_id or 'none'})")
        self.code = code
        self.request_id = request_id
        self.error_type = error_type
        self.code_reason = code_reason
        self.status = status
        self.endpoint = endpoint

    @property
    def failure_class(self) -> FailureClass:
        """What must happen next."""
        return classify(self.code, self.error_type, self.status)

    @property
    def remedy(self) -> Remedy:
        """What the user of the Item has to do: nothing where only an optional endpoint refuses."""
        if self.endpoint in OPTIONAL_ENDPOINTS:
            return Remedy.NONE
        return remedy_for(self.code, self.failure_class)


class TransientError(PlaidSyncError):
    """A transient failure outside the engine: retry later.

    Attributes:
        code: a short, stable reason for logs and metrics.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"transient failure, retry later: {code}")
        self.code = code


class CallBudgetError(TransientError):
    """The call was not made: with it, Plaid's limit of calls would be reached, or more urgent calls would have to wait.

    Attributes:
        endpoint: the path of the call.
        retry_after: seconds until the next calls are allowed.
        waits: whether what the call is for waits within the invocation.
    """

    def __init__(self, endpoint: str, retry_after: float, *, waits: bool) -> None:
        super().__init__(CALL_BUDGET)
        self.endpoint = endpoint
        self.retry_after = retry_after
        self.waits = waits


class OutcomeUnknownError(TransientError):
    """A call was sent, and its response was lost or unreadable: it may have had its effect."""


class RowNewerThanItemError(TransientError):
    """A row is of a later generation than its Item, as after a restore of the Items table from a backup.

    Attributes:
        generation: the latest generation of the rows that were found.
    """

    def __init__(self, generation: int) -> None:
        super().__init__("row_newer_than_item")
        self.generation = generation


class SupersededError(PlaidSyncError):
    """A newer attempt claimed the Item: this one must not write any more."""


class SchemaViolationError(PlaidSyncError):
    """Plaid's response does not have the documented schema.

    Attributes:
        field: where in the response.
    """

    def __init__(self, field: str) -> None:
        super().__init__(f"Plaid's response violates its schema at {field}")
        self.field = field


class FailureClass(StrEnum):
    """What must happen after a failure. The backoff by class is the retry policy (`domain.schedule`)."""

    RESTART = "restart"
    """The data changed during the pagination: pull again from the stored cursor."""
    TRANSIENT = "transient"
    """Passes within seconds or minutes: retry with exponential backoff."""
    THROTTLED = "throttled"
    """Too many calls in this minute: retry in the next one. Says nothing about the Item."""
    INSTITUTION_DOWN = "institution_down"
    """Passes within hours: retried automatically."""
    NEEDS_USER = "needs_user"
    """Only the user can repair it: recorded as the Item's state."""
    TERMINAL = "terminal"
    """Permanent: recorded as the Item's state."""
    CLIENT_ERROR = "client_error"
    """Our keys, our quota or our request are wrong: retried, with an alarm."""


class Remedy(StrEnum):
    """What the user of an Item has to do."""

    NONE = "none"
    """Nothing."""
    WAIT = "wait"
    """Nothing: retried automatically."""
    UPDATE_MODE = "update_mode"
    """Go through Link in update mode."""
    BANK_THEN_UPDATE_MODE = "bank_then_update_mode"
    """Fix the login at the bank, then go through Link in update mode."""
    RELINK = "relink"
    """Link the bank again."""


DEAD_TOKEN: Final = "INVALID_ACCESS_TOKEN"  # noqa: S105 - an error code
INSTITUTION_RATE_LIMIT: Final = "INSTITUTION_RATE_LIMIT"
"""A bank's limit, not Plaid's."""
MUTATION_CODE: Final = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
INVALID_FIELD_CODE: Final = "INVALID_FIELD"
MISSING_NEXT_CURSOR: Final = "missing_next_cursor"
CURSOR_NOT_ADVANCING: Final = "cursor_not_advancing"
SCHEMA_VIOLATION: Final = "plaid_schema_violation_"
WORKER_DIED: Final = "worker_died"
"""Our own codes: of responses of Plaid that lead nowhere (the last one begins with this, and ends with the field), and
of an Item whose attempts have no outcome.
"""
OAUTH_USER_REVOKED: Final = "OAUTH_USER_REVOKED"
"""The `error_code_reason` of an ITEM_LOGIN_REQUIRED whose user ended the access at the bank."""
OPTIONAL_ENDPOINTS: Final = frozenset({"/transactions/refresh"})
"""Endpoints that no sync needs. Their errors are often about a product that this bank or client does not have, and
leave the Item's state to /item/get and the sync.
"""
REFUSED_CREDENTIALS: Final = frozenset({"INVALID_API_KEYS", "INVALID_SECRET", "INVALID_CLIENT_ID"})
"""The client_id or the secret is wrong, or was just rotated."""
PENDING_EXPIRATION: Final = "PENDING_EXPIRATION"
PENDING_DISCONNECT: Final = "PENDING_DISCONNECT"
CODES_BY_CLASS: Final[dict[FailureClass, tuple[str, ...]]] = {
    FailureClass.RESTART: (MUTATION_CODE,),
    FailureClass.TRANSIENT: (
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
        INSTITUTION_RATE_LIMIT,
        "INSTITUTIONS_GET_LIMIT",
        "INSTITUTIONS_GET_BY_ID_LIMIT",
        "TRANSACTIONS_REFRESH_LIMIT",
        "BALANCE_LIMIT",
        "ACCOUNTS_BALANCE_GET_LIMIT",
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
        "INVALID_OTP",
        "INVALID_PHONE_NUMBER",
        "INVALID_SEND_METHOD",
        "INVALID_UPDATED_USERNAME",
        "INSUFFICIENT_CREDENTIALS",
        "MANUAL_VERIFICATION_REQUIRED",
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
    FailureClass.CLIENT_ERROR: (
        "INVALID_ACCESS_TOKEN",
        "INVALID_API_KEYS",
        "INVALID_SECRET",
        "INVALID_CLIENT_ID",
        "INVALID_LINK_TOKEN",
        "INVALID_PUBLIC_TOKEN",
        "INVALID_LINK_CUSTOMIZATION",
        "INVALID_INSTITUTION",
        "INVALID_USER_ID",
        "INVALID_USER_TOKEN",
        "INVALID_WEBHOOK_VERIFICATION_KEY_ID",
        "UNAUTHORIZED_ENVIRONMENT",
        "UNAUTHORIZED_INSTITUTION",
        "INSTITUTION_NOT_ENABLED_IN_ENVIRONMENT",
        "INSTITUTION_REGISTRATION_REQUIRED",
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
        "NO_LONGER_AVAILABLE",
        "INCOMPATIBLE_API_VERSION",
        "SANDBOX_ONLY",
        "CREDITS_EXHAUSTED",
        "TRIAL_CONNECTION_LIMIT",
        "ADDITION_LIMIT",
    ),
}
_REMEDY_OF_CLASS: Final = {
    FailureClass.NEEDS_USER: Remedy.UPDATE_MODE,
    FailureClass.TERMINAL: Remedy.RELINK,
    FailureClass.INSTITUTION_DOWN: Remedy.WAIT,
    FailureClass.THROTTLED: Remedy.WAIT,
    FailureClass.TRANSIENT: Remedy.WAIT,
}
_REMEDY_OF_CODE: Final = {
    "ITEM_LOCKED": Remedy.BANK_THEN_UPDATE_MODE,
    "PASSWORD_RESET_REQUIRED": Remedy.BANK_THEN_UPDATE_MODE,
    "USER_SETUP_REQUIRED": Remedy.BANK_THEN_UPDATE_MODE,
    PENDING_EXPIRATION: Remedy.UPDATE_MODE,
    PENDING_DISCONNECT: Remedy.UPDATE_MODE,
}
_CLASS_OF_CODE: Final = {code: failure for failure, codes in CODES_BY_CLASS.items() for code in codes}
_QUOTA_CODES: Final = frozenset({"CREDITS_EXHAUSTED", "TRIAL_CONNECTION_LIMIT", "ADDITION_LIMIT"})
"""Of type RATE_LIMIT_EXCEEDED, too, but no minute ends them: the client's plan does."""
_RATE_LIMIT_TYPE: Final = "RATE_LIMIT_EXCEEDED"
_TOO_MANY_REQUESTS: Final = 429
_CLASS_OF_TYPE: Final = {
    "ITEM_ERROR": FailureClass.NEEDS_USER,
    "INVALID_REQUEST": FailureClass.CLIENT_ERROR,
    "INVALID_INPUT": FailureClass.CLIENT_ERROR,
}
"""The class of a code that is not in the table. Most errors of an Item need its user: it shows as such, is published,
and is looked at daily. All others are transient, also where the HTTP status is 400."""


def classify(error_code: str, error_type: str = "", status: int | None = None) -> FailureClass:
    """Return the class of an error: a limit by its type or HTTP status, else by its code, else by its type.

    The same code can have different types (USER_PERMISSION_REVOKED: ITEM_ERROR and INVALID_INPUT), so that a code of
    the table wins over a type.
    """
    limited = error_type == _RATE_LIMIT_TYPE or status == _TOO_MANY_REQUESTS
    if limited and error_code not in _QUOTA_CODES:
        return FailureClass.THROTTLED
    known = _CLASS_OF_CODE.get(error_code)
    return known or _CLASS_OF_TYPE.get(error_type, FailureClass.TRANSIENT)


def says_token_is_dead(error: PlaidError) -> bool:
    """Return whether a refusal of /item/get says that the access token is not valid, or else that it is.

    Raises:
        PlaidError: the given one, where it says neither, like a gateway's, or one about the client's keys.
    """
    if error.code == DEAD_TOKEN:
        return True
    if error.failure_class in {FailureClass.NEEDS_USER, FailureClass.TERMINAL}:
        return False
    raise error


def is_known(error_code: str) -> bool:
    """Return whether the code is in the table, a warning's, or not Plaid's: `HTTP_502` is a proxy's response."""
    return error_code in _CLASS_OF_CODE or error_code in _REMEDY_OF_CODE or error_code.startswith("HTTP_")


def remedy_for(code: str | None, failure_class: FailureClass | None = None) -> Remedy:
    """Return what the user has to do about an Item with this code (None: nothing is wrong).

    Args:
        code: Plaid's error code, or a warning's.
        failure_class: its class, where more than the code decided it.
    """
    if code is None:
        return Remedy.NONE
    return _REMEDY_OF_CODE.get(code) or _REMEDY_OF_CLASS.get(failure_class or classify(code), Remedy.NONE)


class InvalidRequestError(PlaidSyncError):
    """The request cannot be served as it is.

    Attributes:
        field: which part of it.
        fix: what to send instead.
    """

    def __init__(self, field_name: str, fix: str) -> None:
        super().__init__(f"{field_name}: {fix}")
        self.field = field_name
        self.fix = fix


class Refusal(StrEnum):
    """Why a request is refused, by kind; the Items API maps each to an HTTP status."""

    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"
    GONE = "gone"
    PRECONDITION_FAILED = "precondition_failed"
    PRECONDITION_REQUIRED = "precondition_required"
    RATE_LIMITED = "rate_limited"
    BAD_GATEWAY = "bad_gateway"


class RefusedError(PlaidSyncError):
    """The request is understood, and not allowed now.

    Attributes:
        refusal: the kind.
        code: a stable reason.
        members: what else the caller gets: `fix` says what the caller can do, `field` which part of the request is
            meant.
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(
        self, refusal: Refusal, code: str, detail: str, members: Mapping[str, str], retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.code = code
        self.members = members
        self.retry_after = retry_after


class LinkRolledBackError(PlaidSyncError):
    """The Item could not be stored and was removed at Plaid: nothing is left, the user goes through Link again.

    Attributes:
        code: why it could not be stored.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the link was rolled back: {code}")
        self.code = code


class ExchangeUnknownError(PlaidSyncError):
    """The response of the exchange is lost: an Item may exist at Plaid whose access token is lost.

    Attributes:
        code: how it was lost.
        request_id: Plaid's id of the call; empty where none is known.
    """

    def __init__(self, code: str, request_id: str = "") -> None:
        super().__init__(f"whether Plaid exchanged the public token is unknown: {code}")
        self.code = code
        self.request_id = request_id


class UnreadableItemError(PlaidSyncError):
    """Another program has damaged the row of an Item: nothing is done with it.

    Attributes:
        item_id: the Item.
    """

    def __init__(self, item_id: ItemId) -> None:
        super().__init__(f"the row of Item {item_id} is damaged")
        self.item_id = item_id


class AccessTokenLostError(PlaidSyncError):
    """Plaid replaced an Item's access token, and the new one could not be stored: the user has to link again.

    Attributes:
        item_id: the Item.
        request_id: Plaid's id of the call; empty where its response is lost, too.
    """

    def __init__(self, item_id: ItemId, request_id: str = "") -> None:
        super().__init__(f"the access token of Item {item_id} was replaced at Plaid, and the new one is lost")
        self.item_id = item_id
        self.request_id = request_id


class ItemOrphanedError(PlaidSyncError):
    """The Item could neither be stored nor removed: Plaid's support has to remove it.

    Attributes:
        item_id: None where Plaid's response had none.
        request_id: Plaid's id of its exchange; empty where there was none.
    """

    def __init__(self, item_id: ItemId | None, request_id: str = "") -> None:
        name = f"Item {item_id}" if item_id else f"the Item of the exchange {request_id or 'without an id'}"
        super().__init__(f"{name} exists at Plaid but could neither be stored nor removed")
        self.item_id = item_id
        self.request_id = request_id
