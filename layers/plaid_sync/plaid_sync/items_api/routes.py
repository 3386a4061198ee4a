"""The routes of the Items API: what each reads from the event, and its response."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.clock import format_optional_timestamp
from plaid_sync.domain.errors import InvalidRequestError, Refusal, RefusedError
from plaid_sync.domain.item import MAX_REASON_NOTE_LENGTH, REMOVAL_REASONS, RemovalReason, StateName
from plaid_sync.domain.requests import (
    MAX_RECIPIENT_LENGTH,
    MAX_USER_ID_LENGTH,
    erase_requested,
    kept_at_plaid,
    optional_choice,
    optional_text,
    optional_token,
    require_object,
)
from plaid_sync.items_api.http import (
    account_id_of,
    body_of,
    checked_query,
    context_of,
    endpoint_of,
    expected_version_of,
    format_page_token,
    int_parameter,
    item_id_of,
    item_path,
    optional_body_of,
    parse_page_token,
    pass_through,
    query_of,
    respond,
    respond_tagged,
    route_of,
    transaction_id_of,
    user_id_of,
    wants_fresh,
)
from plaid_sync.items_api.transaction_query import FILTERS, TransactionsQuery, parse_filter, parse_order
from plaid_sync.items_api.views import drop_none, sibling_warning
from plaid_sync.items_api.waiting import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import ItemId
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.items_api.annotations import TransactionAnnotations
    from plaid_sync.items_api.broker import Broker
    from plaid_sync.items_api.erasure import UserErasure
    from plaid_sync.items_api.http import ApiEvent, Response
    from plaid_sync.items_api.page_tokens import PageTokens
    from plaid_sync.items_api.ports import CreatedLinkToken, ImportReport
    from plaid_sync.items_api.queries import ItemQueries
    from plaid_sync.items_api.rotation import TokenRotation
    from plaid_sync.items_api.service import ItemOperations
    from plaid_sync.items_api.token_export import TokenExport
    from plaid_sync.items_api.views import View

LINK_ROUTE: Final = "POST /items"
IMPORT_ROUTE: Final = "POST /items/import"
EXPORT_ROUTE: Final = "POST /access-tokens/{item_id}/export"
"""Not below /items: the policies of applications allow all of that."""
_PAGE_SIZE: Final = 50
_MAX_PAGE_SIZE: Final = 100
_TRANSACTIONS_PAGE_SIZE: Final = 100
_MAX_TRANSACTIONS_PAGE_SIZE: Final = 500
_ERASURE_RETRY_SECONDS: Final = 5
_USER_LIST_KEY: Final = ("client_user_id", "item_id")
_RECIPIENT_EXAMPLE: Final = '{"recipient": "age1..."}'
_STATE_LIST_KEY: Final = ("state", "fresh_at", "item_id")
_REVIEW_KEY: Final = ("transaction_id",)


@dataclass(frozen=True, slots=True)
class ItemsApi:
    """The use cases behind the routes.

    Attributes:
        link: links an Item, from the parsed body and the query of the request.
        siblings: names the user's other Items that may be the same bank login.
        import_item: imports an Item, from the parsed body of the request.
        create_link_token: creates a link token, from the parsed body of the request.
        webhook_url: where Plaid sends webhooks; empty for the host of the request.
    """

    link: Callable[[object, Mapping[str, str], RequestContext], ItemId]
    siblings: Callable[[ItemId], tuple[ItemId, ...]]
    import_item: Callable[[object, RequestContext], ImportReport]
    create_link_token: Callable[[object, RequestContext], CreatedLinkToken]
    queries: ItemQueries
    operations: ItemOperations
    rotation: TokenRotation
    token_export: TokenExport
    broker: Broker
    annotations: TransactionAnnotations
    page_tokens: PageTokens
    erasure: UserErasure
    webhook_url: str


def handle_request(api: ItemsApi, event: ApiEvent, deadline: Deadline) -> Response:
    """Serve a request.

    Raises:
        PlaidSyncError: the request cannot be served; `http.error_response` returns the response.
    """
    route = _ROUTES.get(route_of(event))
    if route is None:
        raise RefusedError(Refusal.NOT_FOUND, "route_unknown", "there is no such route", {"fix": "see docs/api.md"})
    return route(api, event, context_of(event, api.webhook_url, deadline))


def _create_link_token(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    checked_query(event)
    created = api.create_link_token(body_of(event), context)
    shown = drop_none(
        link_token=created.link_token,
        expiration=format_optional_timestamp(created.expiration),
        hosted_link_url=created.hosted_link_url,
    )
    return respond(HTTPStatus.CREATED, shown)


def _link(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    item_id = api.link(body_of(event), query_of(event), context)
    warnings = [sibling_warning(sibling) for sibling in api.siblings(item_id)]
    shown = {"item_id": item_id} | ({"warnings": warnings} if warnings else {})
    return respond(HTTPStatus.CREATED, shown, location=item_path(item_id))


def _import(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    checked_query(event)
    report = api.import_item(body_of(event), context)
    return respond(
        HTTPStatus.CREATED if report.is_new else HTTPStatus.OK, report.document, location=item_path(report.item_id)
    )


def _list_items(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    query = checked_query(event, "state", "client_user_id", "limit", "next")
    user_id = optional_text(query, "client_user_id", MAX_USER_ID_LENGTH)
    state = optional_choice(query, "state", [state.value for state in StateName])
    after = parse_page_token(query, _STATE_LIST_KEY if user_id is None else _USER_LIST_KEY)
    items, last = api.queries.list_items(
        user_id, state, int_parameter(query, "limit", _PAGE_SIZE, 1, _MAX_PAGE_SIZE), after
    )
    return respond(HTTPStatus.OK, drop_none(items=items, next=format_page_token(last)))


def _show_item(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    item_id = item_id_of(event)
    checked_query(event)
    return respond(HTTPStatus.OK, api.queries.show(item_id))


def _list_history(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    item_id = item_id_of(event)
    query = checked_query(event, "limit", "next")
    after, limit = parse_page_token(query, ("entry_id",)), int_parameter(query, "limit", _PAGE_SIZE, 1, _MAX_PAGE_SIZE)
    history, last = api.queries.list_history(item_id, limit, None if after is None else after["entry_id"])
    following = format_page_token(None if last is None else {"entry_id": last})
    return respond(HTTPStatus.OK, drop_none(history=history, next=following))


def _list_transactions(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    return _transactions_page(api, event, None)


def _list_account_transactions(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    item_id_of(event)
    return _transactions_page(api, event, account_id_of(event))


def _transactions_page(api: ItemsApi, event: ApiEvent, account_id: str | None) -> Response:
    item_id = item_id_of(event)
    query = checked_query(event, *FILTERS, "order", "limit", "next")
    limit = int_parameter(query, "limit", _TRANSACTIONS_PAGE_SIZE, 1, _MAX_TRANSACTIONS_PAGE_SIZE)
    chosen = TransactionsQuery(parse_order(query), parse_filter(query), limit)
    bound_to = {f"query {name}": value for name, value in query.items() if name not in {"limit", "next"}}
    bound_to |= drop_none(item_id=item_id, account_id=account_id)
    position = api.page_tokens.parse(query.get("next"), bound_to)
    shown, following = api.queries.list_transactions(item_id, account_id, chosen, position)
    return respond_tagged(event, shown | drop_none(next=api.page_tokens.format(following, bound_to)))


def _show_transaction(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    item_id, transaction_id = item_id_of(event), transaction_id_of(event)
    checked_query(event)
    return respond_tagged(event, api.queries.show_transaction(item_id, transaction_id))


def _show_annotations(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    checked_query(event)
    return _with_version(api.annotations.show(item_id_of(event), transaction_id_of(event)))


def _patch_annotations(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    checked_query(event)
    item_id, transaction_id, expected = item_id_of(event), transaction_id_of(event), expected_version_of(event)
    return _with_version(api.annotations.patch(item_id, transaction_id, expected, body_of(event)))


def _delete_annotations(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    _query_without_body(event)
    item_id, transaction_id, expected = item_id_of(event), transaction_id_of(event), expected_version_of(event)
    return _with_version(api.annotations.delete(item_id, transaction_id, expected))


def _with_version(shown: View) -> Response:
    return respond(HTTPStatus.OK, shown, etag=f'"{shown["version"]}"')


def _review_annotations(api: ItemsApi, event: ApiEvent, _: RequestContext) -> Response:
    item_id = item_id_of(event)
    query = checked_query(event, "limit", "next")
    limit = int_parameter(query, "limit", _PAGE_SIZE, 1, _MAX_PAGE_SIZE)
    after = parse_page_token(query, _REVIEW_KEY)
    unmoved, last = api.annotations.review(item_id, limit, after)
    return respond(HTTPStatus.OK, drop_none(unmoved=unmoved, next=format_page_token(last)))


def _remove(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    query = _query_without_body(event, "transactions", "at_plaid", "reason_code", "reason_note")
    item_id, erase, reason = item_id_of(event), erase_requested(query), _removal_reason(query)
    if not kept_at_plaid(query):
        shown = api.operations.remove(item_id, context, erase=erase, reason=reason)
    elif reason is not None:
        raise InvalidRequestError("reason_code", "is for Plaid: leave it out where Plaid keeps the Item")
    else:
        shown = api.operations.remove_here(item_id, context, erase=erase)
    return respond(HTTPStatus.ACCEPTED, shown, location=item_path(item_id))


def _removal_reason(query: Mapping[str, str]) -> RemovalReason | None:
    code = optional_choice(query, "reason_code", REMOVAL_REASONS)
    note = optional_text(query, "reason_note", MAX_REASON_NOTE_LENGTH)
    if code is None:
        if note is not None:
            raise InvalidRequestError("reason_note", "requires reason_code: send both")
        return None
    return RemovalReason(code, note)


def _sync(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    seconds = int_parameter(checked_query(event, "wait"), "wait", 0, 0, MAX_WAIT_SECONDS)
    body = require_object(optional_body_of(event), ("link_token",), "{} or one with a link_token")
    link_token, item_id = optional_token(body, "link_token", "link-"), item_id_of(event)
    # Loaded before the request: what an attempt does between the two counts.
    before = api.operations.before_sync(item_id) if seconds else None
    if link_token is None:
        queued = api.operations.sync(item_id, context)
    else:
        queued = api.operations.finish_update_mode(item_id, link_token, context)
    if before is not None and api.operations.wait_for_pull(before, seconds, context):
        return respond(HTTPStatus.OK, api.queries.show(item_id))
    return respond(HTTPStatus.ACCEPTED, queued)


def _refresh(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    return respond(HTTPStatus.ACCEPTED, api.operations.refresh(item_id_of(event), context))


def _resync(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    return respond(HTTPStatus.ACCEPTED, api.operations.resync(item_id_of(event), context))


def _set_webhook(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    return respond(HTTPStatus.OK, api.operations.set_webhook(item_id_of(event), context))


def _restore_webhook(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    return respond(HTTPStatus.OK, api.operations.restore_webhook(item_id_of(event), context))


def _rotate_token(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    return respond(HTTPStatus.OK, api.rotation.rotate(item_id_of(event), context))


def _export_token(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    checked_query(event)
    body = require_object(body_of(event), ("recipient",), _RECIPIENT_EXAMPLE)
    recipient = optional_text(body, "recipient", MAX_RECIPIENT_LENGTH)
    if recipient is None:
        raise InvalidRequestError("recipient", f"send an age public key, {_RECIPIENT_EXAMPLE}")
    return respond(HTTPStatus.OK, api.token_export.export(item_id_of(event), recipient, context))


def _fetch_accounts(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    return respond(HTTPStatus.OK, api.operations.fetch_accounts(item_id_of(event), context))


def _call_endpoint(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    checked_query(event)
    item_id, endpoint, fields = item_id_of(event), endpoint_of(event), optional_body_of(event)
    return pass_through(api.broker.call(item_id, endpoint, fields, context, fresh=wants_fresh(event)))


def _erase_account(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    shown = api.operations.erase_account(item_id_of(event), account_id_of(event), context)
    return respond(HTTPStatus.ACCEPTED, shown)


def _restore_account(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    shown = api.operations.restore_account(item_id_of(event), account_id_of(event), context)
    return respond(HTTPStatus.ACCEPTED, shown)


def _erase_user(api: ItemsApi, event: ApiEvent, context: RequestContext) -> Response:
    _query_without_body(event)
    shown, completed = api.erasure.erase(user_id_of(event), context)
    if completed:
        return respond(HTTPStatus.OK, shown)
    return respond(HTTPStatus.ACCEPTED, shown, retry_after=str(_ERASURE_RETRY_SECONDS))


def _query_without_body(event: ApiEvent, *expected: str) -> Mapping[str, str]:
    """Return the query parameters of a request whose body has no fields."""
    query = checked_query(event, *expected)
    require_object(optional_body_of(event), (), "{}, or nothing")
    return query


_ROUTES: Final[dict[str, Callable[[ItemsApi, ApiEvent, RequestContext], Response]]] = {
    "POST /link-tokens": _create_link_token,
    LINK_ROUTE: _link,
    IMPORT_ROUTE: _import,
    "GET /items": _list_items,
    "GET /items/{item_id}": _show_item,
    "DELETE /items/{item_id}": _remove,
    "GET /items/{item_id}/history": _list_history,
    "GET /items/{item_id}/transactions": _list_transactions,
    "GET /items/{item_id}/transactions/{transaction_id}/annotations": _show_annotations,
    "PATCH /items/{item_id}/transactions/{transaction_id}/annotations": _patch_annotations,
    "DELETE /items/{item_id}/transactions/{transaction_id}/annotations": _delete_annotations,
    "GET /items/{item_id}/annotations/review": _review_annotations,
    "GET /items/{item_id}/transactions/{transaction_id}": _show_transaction,
    "GET /items/{item_id}/accounts/{account_id}/transactions": _list_account_transactions,
    "POST /items/{item_id}/sync": _sync,
    "POST /items/{item_id}/refresh": _refresh,
    "POST /items/{item_id}/resync": _resync,
    "POST /items/{item_id}/webhook": _set_webhook,
    "DELETE /items/{item_id}/webhook": _restore_webhook,
    "POST /items/{item_id}/access-token/rotate": _rotate_token,
    EXPORT_ROUTE: _export_token,
    "POST /items/{item_id}/accounts": _fetch_accounts,
    "POST /items/{item_id}/plaid/{endpoint+}": _call_endpoint,
    "DELETE /items/{item_id}/accounts/{account_id}": _erase_account,
    "POST /items/{item_id}/accounts/{account_id}/restore": _restore_account,
    "DELETE /users/{client_user_id}": _erase_user,
}
