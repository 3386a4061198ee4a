"""The routes of the Items API: what each takes from the event, and what it answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from plaid_sync.adapters.http.answers import (
    Answer,
    Event,
    answer,
    asked_of,
    body_of,
    item_id_of,
    optional_body_of,
    query_of,
    route_of,
)
from plaid_sync.core.items_api.item_view import known, moment_text
from plaid_sync.core.items_api.requests import RefusedError, erases, parse_object, refuse_unknown, token
from plaid_sync.core.linking.link_requests import parse_link_request, parse_link_token_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plaid_sync.adapters.http.items_api import ItemsApi
    from plaid_sync.core.items_api.asked import Asked


def answer_request(api: ItemsApi, event: Event, time_left: Callable[[], float]) -> Answer:
    """Answer one request.

    Args:
        api: what answers.
        event: API Gateway's event.
        time_left: seconds until the function is ended.

    Raises:
        PlaidSyncError: the request can't be served; `answers.refusal` is the answer to it.
    """
    route = _ROUTES.get(route_of(event))
    if route is None:
        raise RefusedError(HTTPStatus.NOT_FOUND, "route_unknown", "there is no such route", {"fix": "see docs/api.md"})
    return route(api, event, asked_of(event, api.webhook_url, time_left))


def _create_link_token(api: ItemsApi, event: Event, asked: Asked) -> Answer:
    refuse_unknown(query_of(event), (), "query parameter")
    created = api.link_tokens.create(parse_link_token_request(body_of(event)), asked)
    shown = known(
        link_token=created.link_token,
        expiration=moment_text(created.expiration),
        hosted_link_url=created.hosted_link_url,
    )
    return answer(HTTPStatus.CREATED, shown)


def _link(api: ItemsApi, event: Event, asked: Asked) -> Answer:
    item_id = api.linker.link(parse_link_request(body_of(event), query_of(event)), asked)
    return answer(HTTPStatus.CREATED, {"item_id": item_id}, location=f"/items/{item_id}")


def _list(api: ItemsApi, event: Event, _: Asked) -> Answer:
    return answer(HTTPStatus.OK, api.queries.list_items(query_of(event)))


def _show(api: ItemsApi, event: Event, _: Asked) -> Answer:
    return answer(HTTPStatus.OK, api.queries.show(item_id_of(event), query_of(event)))


def _history(api: ItemsApi, event: Event, _: Asked) -> Answer:
    return answer(HTTPStatus.OK, api.queries.history(item_id_of(event), query_of(event)))


def _transactions(api: ItemsApi, event: Event, _: Asked) -> Answer:
    return answer(HTTPStatus.OK, api.queries.list_transactions(item_id_of(event), query_of(event)))


def _remove(api: ItemsApi, event: Event, asked: Asked) -> Answer:
    query = _bare(event, ("transactions",))
    item_id = item_id_of(event)
    shown = api.operations.remove(item_id, asked, erase=erases(query))
    return answer(HTTPStatus.ACCEPTED, shown, location=f"/items/{item_id}")


def _sync(api: ItemsApi, event: Event, asked: Asked) -> Answer:
    refuse_unknown(query_of(event), (), "query parameter")
    body = parse_object(optional_body_of(event), ("link_token",), "{} or one with a link_token")
    link_token, item_id = token(body, "link_token", "link-"), item_id_of(event)
    if link_token is None:
        return answer(HTTPStatus.ACCEPTED, api.operations.sync(item_id, asked))
    return answer(HTTPStatus.ACCEPTED, api.operations.finish_update_mode(item_id, link_token, asked))


def _refresh(api: ItemsApi, event: Event, asked: Asked) -> Answer:
    _bare(event)
    return answer(HTTPStatus.ACCEPTED, api.operations.refresh(item_id_of(event), asked))


def _resync(api: ItemsApi, event: Event, asked: Asked) -> Answer:
    _bare(event)
    return answer(HTTPStatus.ACCEPTED, api.operations.resync(item_id_of(event), asked))


def _set_webhook(api: ItemsApi, event: Event, asked: Asked) -> Answer:
    _bare(event)
    return answer(HTTPStatus.OK, api.operations.set_webhook(item_id_of(event), asked))


def _fetch_accounts(api: ItemsApi, event: Event, asked: Asked) -> Answer:
    _bare(event)
    return answer(HTTPStatus.OK, api.operations.fetch_accounts(item_id_of(event), asked))


def _bare(event: Event, query_parameters: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Return the query of a request whose body has no fields."""
    query = query_of(event)
    refuse_unknown(query, query_parameters, "query parameter")
    parse_object(optional_body_of(event), (), "{}, or nothing")
    return query


_ROUTES: Final[dict[str, Callable[[ItemsApi, Event, Asked], Answer]]] = {
    "POST /link-tokens": _create_link_token,
    "POST /items": _link,
    "GET /items": _list,
    "GET /items/{item_id}": _show,
    "DELETE /items/{item_id}": _remove,
    "GET /items/{item_id}/history": _history,
    "GET /items/{item_id}/transactions": _transactions,
    "POST /items/{item_id}/sync": _sync,
    "POST /items/{item_id}/refresh": _refresh,
    "POST /items/{item_id}/resync": _resync,
    "POST /items/{item_id}/webhook": _set_webhook,
    "POST /items/{item_id}/accounts": _fetch_accounts,
}
