"""API Gateway's HTTP events (payload 2.0), read; and answers to them: JSON, and problem details (RFC 9457)."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.error_codes import FailureClass, remedy_of
from plaid_sync.core.failures import PlaidError, PlaidSyncError, RetryableError
from plaid_sync.core.items import ItemId
from plaid_sync.core.items_api.asked import Asked
from plaid_sync.core.items_api.item_record import fix_of
from plaid_sync.core.items_api.requests import InvalidRequestError, RefusedError, item_not_found
from plaid_sync.core.linking.linker import ExchangeUnknownError, ItemOrphanedError, LinkUndoneError
from plaid_sync.core.plain_text import is_plain
from plaid_sync.core.triggers import is_item_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Event = dict[str, Any]
Answer = dict[str, Any]

_AGAIN: Final = "send the same request again"
_RETRY_SECONDS: Final = 5
_INSTITUTION_RETRY_SECONDS: Final = 3600
_THROTTLED_RETRY_SECONDS: Final = 60
_USED_FIX: Final = (
    "a public token works once: if this request was sent twice, send it again in a moment, else run Link again"
)
_UNKNOWN_FIX: Final = (
    "send the same request again; if the answer then is INVALID_PUBLIC_TOKEN, the Item may exist at Plaid, billed, "
    "with its access token lost: let the user go through Link again, and ask Plaid's support to remove the other Item"
)
_LONGEST_CALLER: Final = 2048


# ---- reading


def route_of(event: Event) -> str:
    """Return which route was called, `POST /items`."""
    return str(event.get("routeKey", ""))


def query_of(event: Event) -> dict[str, str]:
    """Return the query's parameters; API Gateway joins those that are given twice with a comma."""
    return {str(name): str(value) for name, value in (event.get("queryStringParameters") or {}).items()}


def item_id_of(event: Event) -> ItemId:
    """Return the Item in the path.

    Raises:
        RefusedError: no Item can have such an id.
    """
    item_id = (event.get("pathParameters") or {}).get("item_id")
    if not is_item_id(item_id):
        raise item_not_found()
    return ItemId(str(item_id))


def body_of(event: Event) -> object:
    """Return the parsed body.

    Raises:
        InvalidRequestError: it is not JSON.
    """
    body: str | bytes = event.get("body") or ""
    try:
        return exact_json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
    except ValueError as error:
        raise InvalidRequestError("body", "send a JSON object") from error


def optional_body_of(event: Event) -> object:
    """Return the parsed body of a request that needs none: an empty object where there is none."""
    return body_of(event) if event.get("body") else {}


def asked_of(event: Event, webhook_url: str, time_left: Callable[[], float]) -> Asked:
    """Return who asks for what.

    Args:
        event: the event.
        webhook_url: where Plaid sends webhooks; empty for the host name that was called.
        time_left: seconds until the function is ended.
    """
    context = event.get("requestContext") or {}
    caller = ((context.get("authorizer") or {}).get("iam") or {}).get("userArn")
    request_id = context.get("requestId")
    return Asked(
        route=route_of(event),
        request_id=request_id if is_plain(request_id) else "",
        caller=caller if is_plain(caller, _LONGEST_CALLER) else "",
        webhook_url=webhook_url or f"https://{context.get('domainName', '')}/webhooks/plaid",
        time_left=time_left,
    )


# ---- answering


def answer(status: HTTPStatus, body: Mapping[str, Any], **headers: str) -> Answer:
    """Return an answer in JSON; a header's name has underscores for its hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "statusCode": status.value,
        "headers": {"content-type": "application/json", **named},
        "body": exact_json.dumps(dict(body)),
    }


def problem(
    status: HTTPStatus, code: str, detail: str, members: Mapping[str, str], retry_after: int | None = None
) -> Answer:
    """Return problem details: `code` is stable, `detail` and the member `fix` are for people, `field` is which part."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": code, "detail": detail}
    headers = {} if retry_after is None else {"retry_after": str(retry_after)}
    told = {name: value for name, value in members.items() if value}
    return answer(status, body | told, content_type="application/problem+json", **headers)


def refusal(error: PlaidSyncError) -> Answer:
    """Return the answer to a request that failed."""
    match error:
        case InvalidRequestError():
            members = {"field": error.field, "fix": error.fix}
            return problem(HTTPStatus.BAD_REQUEST, "invalid_request", str(error), members)
        case RefusedError():
            return problem(error.status, error.code, str(error), error.members, error.retry_after)
        case PlaidError():
            return _refused_by_plaid(error)
        case LinkUndoneError() | ItemOrphanedError() | ExchangeUnknownError():
            return _not_linked(error)
        case RetryableError():
            members = {"fix": _AGAIN}
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error), members, _RETRY_SECONDS)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, type(error).__name__, "the request could not be served", {})


def _not_linked(error: LinkUndoneError | ItemOrphanedError | ExchangeUnknownError) -> Answer:
    if isinstance(error, ExchangeUnknownError):
        members = {"fix": _UNKNOWN_FIX, "plaid_request_id": error.request_id}
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "exchange_unknown", str(error), members, _RETRY_SECONDS)
    if isinstance(error, LinkUndoneError):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "link_undone", str(error), {"fix": "run Link again"})
    members = {"fix": "ask Plaid to remove it", "plaid_request_id": error.request_id}
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "item_orphaned", str(error), members)


def _refused_by_plaid(error: PlaidError) -> Answer:
    told: dict[str, str] = {"plaid_request_id": error.request_id}
    if error.code.startswith("INVALID_PUBLIC_TOKEN"):
        told |= {"field": "public_token", "fix": _USED_FIX}
        return problem(HTTPStatus.BAD_REQUEST, error.code, str(error), told)
    remedy = remedy_of(error.code)
    match error.failure_class:
        case FailureClass.NEEDS_USER | FailureClass.TERMINAL:
            told |= {"remedy": remedy.value, "fix": fix_of(remedy)}
            return problem(HTTPStatus.CONFLICT, error.code, str(error), told)
        case FailureClass.THROTTLED:
            told |= {"fix": "wait as long as Retry-After says"}
            return problem(HTTPStatus.TOO_MANY_REQUESTS, error.code, str(error), told, _THROTTLED_RETRY_SECONDS)
        case FailureClass.OURS:
            told |= {"fix": "see Plaid's documentation of the code: our keys or our request are wrong"}
            return problem(HTTPStatus.BAD_GATEWAY, error.code, str(error), told)
    down = error.failure_class is FailureClass.INSTITUTION_DOWN
    seconds = _INSTITUTION_RETRY_SECONDS if down else _RETRY_SECONDS
    told |= {"fix": _AGAIN}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error), told, seconds)
