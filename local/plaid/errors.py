"""Plaid's error codes, and the bodies that carry them in responses, webhooks and Link sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.plaid.wire import JsonObject


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """Plaid's documentation of one error code: type, HTTP status and messages."""

    error_type: str
    status: int
    message: str
    display: str | None = None


_INSTITUTION_DISPLAY = (
    "This financial institution is not currently responding to requests. We apologize for the inconvenience."
)
_NOT_RESPONDING = "this institution is not currently responding to this request. please try again soon"
_LOGIN_REQUIRED = (
    "the login details of this item have changed (credentials, MFA, or required user action) and a user "
    "login is required to update this information. use Link's update mode to restore the item to a good state"
)
_RATE_LIMIT = 'rate limit exceeded for attempts to access "{endpoint}". please try again later'


# Each code's error_message, or that and its display_message.
_Messages = dict[str, str | tuple[str, str]]


def _codes(error_type: str, status: int, messages: _Messages) -> dict[str, ErrorCode]:
    texts = {code: (text, None) if isinstance(text, str) else text for code, text in messages.items()}
    return {code: ErrorCode(error_type, status, *pair) for code, pair in texts.items()}


_REQUEST: _Messages = {
    "MISSING_FIELDS": "the following required fields are missing: {fields}",
    "UNKNOWN_FIELDS": "the following fields are not recognized by this endpoint: {fields}",
    "INVALID_FIELD": "{detail}",
    "INVALID_BODY": "body could not be parsed as JSON",
    "INVALID_CONFIGURATION": "please ensure that the request body is formatted correctly",
    "INVALID_HEADERS": "the request headers are invalid",
    "INVALID_ACCOUNT_NUMBER": "The provided account number was invalid.",
    "INCOMPATIBLE_API_VERSION": "the request uses fields that this version of the API does not have",
    "SANDBOX_ONLY": "access to this endpoint is only available in the sandbox environment",
}
_INPUT: _Messages = {
    "ADDITIONAL_CONSENT_REQUIRED": "client does not have user consent to access the requested product",
    "DIRECT_INTEGRATION_NOT_ENABLED": "your client ID is only authorized to use Plaid Link",
    "INVALID_ACCESS_TOKEN": "could not find matching access token",
    "INVALID_ACCOUNT_ID": "one or more of the account IDs is invalid for this Item",
    "INVALID_API_KEYS": "invalid client_id or secret provided",
    "INVALID_INSTITUTION": "invalid institution_id provided",
    "INVALID_LINK_CUSTOMIZATION": "requested Link customization is not compatible with this request",
    "INVALID_LINK_TOKEN": "invalid link_token provided",
    "INVALID_PROCESSOR_TOKEN": "could not find matching processor token",
    "INVALID_USER_ID": "could not find matching user ID",
    "INVALID_USER_IDENTITY_DATA": "the user's identity data is missing or invalid",
    "INVALID_USER_TOKEN": "could not find matching user token",
    "TOO_MANY_VERIFICATION_ATTEMPTS": "too many attempts to verify micro-deposit codes",
    "USER_PERMISSION_REVOKED": "the account holder has revoked permission for this Item",
    "INVALID_PRODUCT": "client is not authorized to access the requested product",
    "INVALID_PUBLIC_TOKEN": "could not find matching public token",
    "INVALID_WEBHOOK_VERIFICATION_KEY_ID": (
        "invalid key_id provided. note that key_ids are specific to Plaid environments"
    ),
    "UNAUTHORIZED_ENVIRONMENT": "you are not authorized to create items in this api environment",
    "UNAUTHORIZED_ROUTE_ACCESS": "you are not authorized to access this route in this api environment",
}
_ITEM: _Messages = {
    "ACCESS_NOT_GRANTED": "access to this product was not granted for the account",
    "INSTANT_MATCH_FAILED": "the account number does not match the account",
    "INSUFFICIENT_CREDENTIALS": "the user did not provide sufficient authorization to link their account",
    "INVALID_CREDENTIALS": "the provided credentials were not correct",
    "INVALID_MFA": "the provided MFA response(s) were not correct",
    "INVALID_OTP": "the provided one-time passcode was not correct",
    "INVALID_PHONE_NUMBER": "the provided phone number is not valid",
    "INVALID_SEND_METHOD": "the send method for MFA is no longer valid",
    "INVALID_UPDATED_USERNAME": "the username does not match the original username for this Item",
    "ITEM_CONCURRENTLY_DELETED": "This item was deleted while the operation was in progress",
    "ITEM_LOCKED": "the account is locked. prompt the user to visit the institution's site and unlock their account",
    "ITEM_LOGIN_REQUIRED": (
        _LOGIN_REQUIRED,
        "The login details of this account have changed. Please log in again.",
    ),
    "ITEM_NOT_FOUND": (
        "The Item you requested cannot be found. This Item does not exist, has been previously removed via "
        "/item/remove, or has had access removed by the user."
    ),
    "ITEM_NOT_SUPPORTED": "this account is currently not supported",
    "MANUAL_VERIFICATION_REQUIRED": "the account needs manual verification",
    "MFA_NOT_SUPPORTED": "this account requires a MFA type that is not currently supported",
    "NO_ACCOUNTS": "no valid accounts were found for this item",
    "NO_AUTH_ACCOUNTS": "there are no valid checking or savings account(s) associated with this Item",
    "NO_INVESTMENT_ACCOUNTS": "there are no valid investment account(s) associated with this Item",
    "NO_INVESTMENT_AUTH_ACCOUNTS": "there are no valid investment auth account(s) associated with this Item",
    "NO_LIABILITY_ACCOUNTS": "there are no valid liability account(s) associated with this Item",
    "PASSWORD_RESET_REQUIRED": "user must reset their password",
    "PRODUCT_NOT_ENABLED": "the product is not enabled for this Item",
    "PRODUCT_NOT_READY": "the requested product is not yet ready. please provide a webhook or try the request again",
    "PRODUCTS_NOT_SUPPORTED": "the requested product is not supported by this Item",
    "USER_INPUT_TIMEOUT": "user failed to provide a response in time",
    "USER_SETUP_REQUIRED": "the account has not been fully set up. prompt the user to visit the issuing institution",
}
_INSTITUTION: _Messages = {
    "INSTITUTION_DOWN": (_NOT_RESPONDING, _INSTITUTION_DISPLAY),
    "INSTITUTION_NO_LONGER_SUPPORTED": ("this institution is no longer supported", _INSTITUTION_DISPLAY),
    "INSTITUTION_NOT_ENABLED_IN_ENVIRONMENT": "this institution is not enabled in this environment",
    "INSTITUTION_NOT_AVAILABLE": ("this institution is not currently available", _INSTITUTION_DISPLAY),
    "INSTITUTION_NOT_RESPONDING": (_NOT_RESPONDING, _INSTITUTION_DISPLAY),
    "INSTITUTION_REGISTRATION_REQUIRED": "this institution requires registration",
    "UNAUTHORIZED_INSTITUTION": "not authorized to access this institution",
    "UNSUPPORTED_RESPONSE": ("the data returned from the institution is not supported", _INSTITUTION_DISPLAY),
}
_RATE: _Messages = {
    "CREDITS_EXHAUSTED": "the trial credits are exhausted",
    "INSTITUTION_RATE_LIMIT": "this institution is rate limiting requests",
    "TRIAL_CONNECTION_LIMIT": "the limit of connections in trial is reached",
    **dict.fromkeys(
        (
            *("ACCOUNTS_BALANCE_GET_LIMIT", "ACCOUNTS_LIMIT", "ADDITION_LIMIT", "AUTH_LIMIT", "BALANCE_LIMIT"),
            *("IDENTITY_LIMIT", "INSTITUTIONS_GET_BY_ID_LIMIT", "INSTITUTIONS_GET_LIMIT"),
            *("INVESTMENT_HOLDINGS_GET_LIMIT", "INVESTMENT_TRANSACTIONS_LIMIT", "ITEM_GET_LIMIT", "RATE_LIMIT"),
            *("TRANSACTIONS_LIMIT", "TRANSACTIONS_REFRESH_LIMIT", "TRANSACTIONS_SYNC_LIMIT"),
        ),
        _RATE_LIMIT,
    ),
}
_OAUTH: _Messages = {
    "INCORRECT_LINK_TOKEN": "the link_token is not the one that this OAuth flow began with",
    "INCORRECT_OAUTH_NONCE": "nonce does not match",
    "OAUTH_STATE_ID_ALREADY_PROCESSED": "the OAuth state ID has already been processed",
    "OAUTH_STATE_ID_NOT_FOUND": "the OAuth state ID could not be found",
}
_SANDBOX: _Messages = {
    "SANDBOX_PRODUCT_NOT_ENABLED": "the product is not enabled for this Item",
    "SANDBOX_WEBHOOK_INVALID": "Webhook for this Item is either not set up, or invalid for the given product",
}

ERROR_CODES: dict[str, ErrorCode] = {
    **_codes("INVALID_REQUEST", 400, _REQUEST),
    **_codes(
        "INVALID_REQUEST",
        404,
        {"NO_LONGER_AVAILABLE": "the endpoint is no longer available", "NOT_FOUND": "not found"},
    ),
    **_codes(
        "INVALID_RESULT",
        400,
        {"PLAID_DIRECT_ITEM_IMPORT_RETURNED_INVALID_MFA": "the imported Item returned an invalid MFA challenge"},
    ),
    **_codes("OAUTH_ERROR", 400, _OAUTH),
    **_codes("USER_ERROR", 400, {"USER_NOT_FOUND": "the User you requested cannot be found"}),
    **_codes("INVALID_INPUT", 400, _INPUT),
    **_codes("ITEM_ERROR", 400, _ITEM),
    **_codes("INSTITUTION_ERROR", 400, _INSTITUTION),
    **_codes(
        "TRANSACTIONS_ERROR",
        400,
        {
            "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION": "Underlying transaction data changed since last page was "
            "fetched. Please restart pagination from last update."
        },
    ),
    **_codes("SANDBOX_ERROR", 400, _SANDBOX),
    **_codes("RATE_LIMIT_EXCEEDED", 429, _RATE),
    **_codes("API_ERROR", 500, {"INTERNAL_SERVER_ERROR": "an unexpected error occurred"}),
    **_codes("API_ERROR", 503, {"PLANNED_MAINTENANCE": "the Plaid API is temporarily unavailable due to maintenance"}),
}
_UNKNOWN = ErrorCode("API_ERROR", 500, "an unexpected error occurred")


REASONS = ("OAUTH_INVALID_TOKEN", "OAUTH_CONSENT_EXPIRED", "OAUTH_USER_REVOKED")


class PlaidError(Exception):
    """An error that the server returns in Plaid's format; `reason` is its `error_code_reason`."""

    def __init__(
        self,
        code: str,
        /,
        *,
        status: int | None = None,
        message: str | None = None,
        reason: str | None = None,
        **details: str,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self._documented = ERROR_CODES.get(code, _UNKNOWN)
        self.status = status or self._documented.status
        self.message = message or self._documented.message.format_map(_Placeholders(details))

    def body(self, request_id: str) -> JsonObject:
        page = self._documented.error_type.removesuffix("_ERROR").lower().replace("_", "-")
        return {
            "display_message": self._documented.display,
            "documentation_url": f"https://plaid.com/docs/?ref=error#{page}-errors",
            "error_code": self.code,
            "error_message": self.message,
            "error_type": self._documented.error_type,
            "request_id": request_id,
            "suggested_action": None,
            **({"error_code_reason": self.reason} if self.reason else {}),
        }

    def webhook_body(self) -> JsonObject:
        """Return the error object of webhooks, /item/get and Link sessions: with a status, without a request id.

        USER_PERMISSION_REVOKED has another type there than in responses.
        """
        revoked = self.code == "USER_PERMISSION_REVOKED"
        return {
            "display_message": self._documented.display,
            "error_code": self.code,
            "error_code_reason": self.reason,
            "error_message": self.message,
            "error_type": "ITEM_ERROR" if revoked else self._documented.error_type,
            "status": self.status,
        }


class _Placeholders(dict[str, str]):
    """Leaves a placeholder without a value as it is, so that an injected error needs no details."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"
