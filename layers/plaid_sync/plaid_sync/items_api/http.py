"""HTTP of the Items API: requests, responses, problem details (RFC 9457), page tokens.

Events are API Gateway's HTTP API events, payload 2.0.
"""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import (
    AccessTokenLostError,
    CallBudgetError,
    ExchangeUnknownError,
    FailureClass,
    InvalidRequestError,
    ItemOrphanedError,
    LinkRolledBackError,
    PlaidError,
    PlaidSyncError,
    Refusal,
    RefusedError,
    Remedy,
    TransientError,
    UnreadableItemError,
)
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.messages import is_item_id
from plaid_sync.domain.requests import (
    MAX_USER_ID_LENGTH,
    RequestContext,
    account_not_found_error,
    fix_for,
    if_match_required_error,
    item_not_found_error,
    reject_unknown,
    transaction_not_found_error,
    user_not_found_error,
)
from plaid_sync.domain.text import is_printable_ascii
from plaid_sync.domain.transaction import TransactionId, is_transaction_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.items_api.ports import PlaidResponse

ApiEvent = dict[str, Any]
Response = dict[str, Any]
_PLAIN_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._-]+")
"""Ids that stay as they are in each part of a path, on each way: also decoded twice, or with dots resolved."""
_VERSION: Final = re.compile(r'"([0-9]{1,18})"')
_ENCODED_ID: Final = re.compile(r"~([A-Za-z0-9_-]+)")
_MAX_CALLER_LENGTH: Final = 2048
_MAX_PAGE_TOKEN_LENGTH: Final = 2048
STATUS_OF_REFUSAL: Final = {
    Refusal.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Refusal.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Refusal.CONFLICT: HTTPStatus.CONFLICT,
    Refusal.GONE: HTTPStatus.GONE,
    Refusal.PRECONDITION_FAILED: HTTPStatus.PRECONDITION_FAILED,
    Refusal.PRECONDITION_REQUIRED: HTTPStatus.PRECONDITION_REQUIRED,
    Refusal.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Refusal.BAD_GATEWAY: HTTPStatus.BAD_GATEWAY,
}
_RETRY_SECONDS: Final = 5
_INSTITUTION_RETRY_SECONDS: Final = 3600
_THROTTLED_RETRY_SECONDS: Final = 60
_RETRY_FIX: Final = "send the same request again"
_WAIT_FIX: Final = "wait as long as Retry-After says"
_CLIENT_ERROR_FIX: Final = "see Plaid's documentation of the code: the stack's keys or its request are wrong"
_OPTIONAL_FIX: Final = (
    "this request is not possible now, or not for this Item; GET /items/{item_id} shows the Item's state"
)
_LINK_AGAIN_FIX: Final = (
    "a public token works once: if this request was sent twice, send it again in a moment, else run Link again"
)
_EXCHANGE_UNKNOWN_FIX: Final = (
    "send the same request again; if the response is then INVALID_PUBLIC_TOKEN, the Item may exist at Plaid, billed, "
    "with its access token lost: let the user go through Link again, and ask Plaid's support to remove the other Item"
)
_NEXT_FIX: Final = "send the next of the previous page as it is, with the same other parameters; or leave it out"


# ---- requests


def route_of(event: ApiEvent) -> str:
    """Return the route key, such as `POST /items`."""
    return str(event.get("routeKey", ""))


def query_of(event: ApiEvent) -> dict[str, str]:
    """Return the query parameters; API Gateway joins repeated ones with a comma."""
    return {str(name): str(value) for name, value in (event.get("queryStringParameters") or {}).items()}


def checked_query(event: ApiEvent, *expected: str) -> dict[str, str]:
    """Return the query parameters.

    Raises:
        InvalidRequestError: there is another one than expected.
    """
    query = query_of(event)
    reject_unknown(query, expected, "query parameter")
    return query


def format_path_id(text: str) -> str:
    """Return an id as a path has it: plain, or `~` and its base64url.

    A percent-encoded one would not do: API Gateway decodes a path before it looks for the route, so that an encoded
    slash separates, and an encoded question mark ends the path (https://github.com/hotsock/voker/pull/8).
    """
    if _PLAIN_ID.fullmatch(text):
        return text
    return f"~{base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')}"


def path_id_of(event: ApiEvent, name: str) -> str | None:
    """Return an id in the path; None where there is none, or an unreadable one."""
    text = (event.get("pathParameters") or {}).get(name)
    return parse_path_id(text) if isinstance(text, str) else None


def parse_path_id(text: str) -> str | None:
    """Return the id that a path has, as `format_path_id` formats it; None where it is unreadable."""
    encoded = _ENCODED_ID.fullmatch(text)
    if encoded is None:
        return text
    try:
        return base64.urlsafe_b64decode(encoded[1] + "=" * (-len(encoded[1]) % 4)).decode()
    except ValueError:
        return None


def item_id_of(event: ApiEvent) -> ItemId:
    """Return the Item in the path.

    Raises:
        RefusedError: no Item can have such an id.
    """
    item_id = path_id_of(event, "item_id")
    if not is_item_id(item_id):
        raise item_not_found_error()
    return ItemId(str(item_id))


def item_path(item_id: str) -> str:
    """Return the path of an Item."""
    return f"/items/{format_path_id(item_id)}"


def user_id_of(event: ApiEvent) -> str:
    """Return the user in the path.

    Raises:
        RefusedError: no user can have such a reference.
    """
    client_user_id = path_id_of(event, "client_user_id")
    if client_user_id is None or not 0 < len(client_user_id) <= MAX_USER_ID_LENGTH or not client_user_id.isprintable():
        raise user_not_found_error()
    return client_user_id


def account_id_of(event: ApiEvent) -> str:
    """Return the account in the path.

    Raises:
        RefusedError: no account can have such an id.
    """
    account_id = path_id_of(event, "account_id")
    if not is_printable_ascii(account_id):
        raise account_not_found_error()
    return str(account_id)


def transaction_id_of(event: ApiEvent) -> TransactionId:
    """Return the transaction in the path.

    Raises:
        RefusedError: no transaction can have such an id.
    """
    transaction_id = path_id_of(event, "transaction_id")
    if transaction_id is None or not is_transaction_id(transaction_id):
        raise transaction_not_found_error()
    return TransactionId(transaction_id)


def expected_version_of(event: ApiEvent) -> int | None:
    """Return the version that `If-Match` requires; None for any.

    Raises:
        RefusedError: there is no such header.
        InvalidRequestError: it is no version.
    """
    text = _header(event, "if-match").strip()
    if not text:
        raise if_match_required_error()
    if text == "*":
        return None
    version = _VERSION.fullmatch(text)
    if version is None:
        raise InvalidRequestError("If-Match", 'send one version in quotation marks, such as "3", or * for any')
    return int(version[1])


def endpoint_of(event: ApiEvent) -> str:
    """Return Plaid's endpoint in the rest of the path."""
    return f"/{(event.get('pathParameters') or {}).get('endpoint', '')}"


def wants_fresh(event: ApiEvent) -> bool:
    """Return whether the caller wants no stored response (RFC 9111, section 5.2.1.4)."""
    return "no-cache" in {text.strip() for text in _header(event, "cache-control").lower().split(",")}


def _header(event: ApiEvent, name: str) -> str:
    """Return a header by its name in lower case; empty where there is none."""
    headers = event.get("headers") or {}
    return next((str(value) for sent, value in headers.items() if str(sent).lower() == name), "")


def body_of(event: ApiEvent) -> object:
    """Return the parsed body.

    Raises:
        InvalidRequestError: it is not JSON.
    """
    body: str | bytes = event.get("body") or ""
    try:
        return exact_json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
    except ValueError as error:
        raise InvalidRequestError("body", "send a JSON object") from error


def optional_body_of(event: ApiEvent) -> object:
    """Return the parsed body; an empty object where there is none."""
    return body_of(event) if event.get("body") else {}


def context_of(event: ApiEvent, webhook_url: str, deadline: Deadline) -> RequestContext:
    """Return the context of a request.

    Args:
        event: the event.
        webhook_url: where Plaid sends webhooks; empty for the host of the request.
        deadline: when the invocation ends.
    """
    context = event.get("requestContext") or {}
    caller = ((context.get("authorizer") or {}).get("iam") or {}).get("userArn")
    request_id = context.get("requestId")
    return RequestContext(
        route=route_of(event),
        request_id=request_id if is_printable_ascii(request_id) else "",
        caller=caller if is_printable_ascii(caller, _MAX_CALLER_LENGTH) else "",
        webhook_url=webhook_url or f"https://{context.get('domainName', '')}/webhooks/plaid",
        deadline=deadline,
    )


# ---- pages


def int_parameter(query: Mapping[str, str], name: str, default: int, minimum: int, maximum: int) -> int:
    """Return a number of the query.

    Raises:
        InvalidRequestError: it is not an integer from `minimum` to `maximum`.
    """
    text = query.get(name, str(default))
    is_short_number = text.isascii() and text.isdecimal() and len(text) <= len(str(maximum))
    if not is_short_number or not minimum <= int(text) <= maximum:
        raise InvalidRequestError(name, f"send an integer from {minimum} to {maximum}")
    return int(text)


def format_page_token(key: Mapping[str, str] | None) -> str | None:
    """Return the opaque `next` of a page from the key of its last entry."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(exact_json.dumps(dict(key)).encode()).decode().rstrip("=")


def parse_page_token(query: Mapping[str, str], names: Collection[str]) -> dict[str, str] | None:
    """Return the key that the query's `next` holds, if there is one.

    Args:
        query: the query parameters.
        names: the parts of the key, all texts.

    Raises:
        InvalidRequestError: this route returned no such token.
    """
    token = query.get("next")
    if token is None:
        return None
    try:
        if len(token) > _MAX_PAGE_TOKEN_LENGTH:
            raise InvalidRequestError("next", _NEXT_FIX)
        key = exact_json.loads(base64.b64decode(f"{token}{'=' * (-len(token) % 4)}", altchars=b"-_", validate=True))
    except ValueError as error:
        raise InvalidRequestError("next", _NEXT_FIX) from error
    if not isinstance(key, dict) or key.keys() != set(names) or not all(map(_is_key_part, key.values())):
        raise InvalidRequestError("next", _NEXT_FIX)
    return key


def _is_key_part(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


# ---- responses


def respond(status: HTTPStatus, body: Mapping[str, Any], **headers: str) -> Response:
    """Return a response in JSON; underscores in a header's name become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "statusCode": status.value,
        "headers": {"content-type": "application/json", **named},
        "body": exact_json.dumps(dict(body)),
    }


def respond_tagged(event: ApiEvent, body: Mapping[str, Any]) -> Response:
    """Return a response with the ETag of its body; 304 without a body where the caller has the same one."""
    response = respond(HTTPStatus.OK, body)
    etag = f'"{hashlib.sha256(response["body"].encode()).hexdigest()[:32]}"'
    known = {text.strip().removeprefix("W/") for text in _header(event, "if-none-match").split(",")}
    if known & {etag, "*"}:
        return {"statusCode": HTTPStatus.NOT_MODIFIED.value, "headers": {"etag": etag}, "body": ""}
    response["headers"]["etag"] = etag
    return response


def pass_through(response: PlaidResponse) -> Response:
    """Return a response of Plaid's as it is; `plaid-request-id` distinguishes it from one of the stack's."""
    headers = {
        "content-type": response.content_type,
        "plaid-request-id": response.request_id or "unknown",
        "retry-after": response.retry_after,
        "age": "" if response.age_seconds is None else str(response.age_seconds),
    }
    shown = {"statusCode": response.status, "headers": {name: value for name, value in headers.items() if value}}
    try:
        return {**shown, "body": response.body.decode()}
    except UnicodeDecodeError:
        return {**shown, "body": base64.b64encode(response.body).decode(), "isBase64Encoded": True}


def problem_response(
    status: HTTPStatus, code: str, detail: str, members: Mapping[str, str], retry_after: int | None = None
) -> Response:
    """Return problem details; empty members are omitted. `code` is stable, `detail` and the member `fix` are texts."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": code, "detail": detail}
    headers = {} if retry_after is None else {"retry_after": str(retry_after)}
    shown = {name: value for name, value in members.items() if value}
    return respond(status, body | shown, content_type="application/problem+json", **headers)


def error_response(error: PlaidSyncError) -> Response:
    """Return the response to a request that failed."""
    detail = str(error)
    match error:
        case InvalidRequestError():
            members = {"field": error.field, "fix": error.fix}
            return problem_response(HTTPStatus.BAD_REQUEST, "invalid_request", detail, members)
        case RefusedError():
            status = STATUS_OF_REFUSAL[error.refusal]
            return problem_response(status, error.code, detail, error.members, error.retry_after)
        case PlaidError():
            return _plaid_error_response(error)
        case (
            LinkRolledBackError()
            | ItemOrphanedError()
            | ExchangeUnknownError()
            | AccessTokenLostError()
            | UnreadableItemError()
        ):
            return _lasting_error_response(error)
        case TransientError():
            return _transient_error_response(error)
    code = type(error).__name__
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, code, "the request could not be served", {})


def _transient_error_response(error: TransientError) -> Response:
    detail = str(error)
    if isinstance(error, CallBudgetError):
        members, seconds = {"fix": _WAIT_FIX}, ceil(error.retry_after)
        return problem_response(HTTPStatus.TOO_MANY_REQUESTS, "call_budget", detail, members, seconds)
    members = {"fix": _RETRY_FIX}
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, error.code, detail, members, _RETRY_SECONDS)


def _lasting_error_response(
    error: LinkRolledBackError | ItemOrphanedError | ExchangeUnknownError | AccessTokenLostError | UnreadableItemError,
) -> Response:
    detail = str(error)
    if isinstance(error, UnreadableItemError):
        members = {"item_id": error.item_id, "fix": "report it to the operator"}
        return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, "item_unreadable", detail, members)
    if isinstance(error, LinkRolledBackError):
        members = {"fix": "run Link again"}
        return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, "link_rolled_back", detail, members)
    members = {"plaid_request_id": error.request_id}
    if isinstance(error, ExchangeUnknownError):
        members |= {"fix": _EXCHANGE_UNKNOWN_FIX}
        return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, "exchange_unknown", detail, members, _RETRY_SECONDS)
    if isinstance(error, AccessTokenLostError):
        members |= {"remedy": Remedy.RELINK.value, "fix": fix_for(Remedy.RELINK)}
        return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, "access_token_lost", detail, members)
    members |= {"fix": "ask Plaid to remove it"}
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, "item_orphaned", detail, members)


def _plaid_error_response(error: PlaidError) -> Response:
    code, detail = error.code, str(error)
    members: dict[str, str] = {"plaid_request_id": error.request_id}
    if code.startswith("INVALID_PUBLIC_TOKEN"):
        members |= {"field": "public_token", "fix": _LINK_AGAIN_FIX}
        return problem_response(HTTPStatus.BAD_REQUEST, code, detail, members)
    match error.failure_class:
        case FailureClass.NEEDS_USER | FailureClass.TERMINAL:
            fix = _OPTIONAL_FIX if error.remedy is Remedy.NONE else fix_for(error.remedy, error.code_reason)
            members |= {"remedy": error.remedy.value, "fix": fix}
            return problem_response(HTTPStatus.CONFLICT, code, detail, members)
        case FailureClass.THROTTLED:
            members |= {"fix": _WAIT_FIX}
            return problem_response(HTTPStatus.TOO_MANY_REQUESTS, code, detail, members, _THROTTLED_RETRY_SECONDS)
        case FailureClass.CLIENT_ERROR:
            members |= {"fix": _CLIENT_ERROR_FIX}
            return problem_response(HTTPStatus.BAD_GATEWAY, code, detail, members)
    institution_down = error.failure_class is FailureClass.INSTITUTION_DOWN
    seconds = _INSTITUTION_RETRY_SECONDS if institution_down else _RETRY_SECONDS
    members |= {"fix": _RETRY_FIX}
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, code, detail, members, seconds)
