"""Plaid's endpoints around Link: link tokens, the results of their sessions, and the exchange of public tokens.

Responses are parsed leniently: an informational field may be absent or unreadable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.link_token_get_request import LinkTokenGetRequest

from plaid_sync.domain.clock import parse_timestamp
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.messages import is_item_id
from plaid_sync.domain.text import is_printable_ascii, is_token, printable_or_empty
from plaid_sync.linking.sessions import AddedItem, ExchangedItem, LinkResults, LinkToken
from plaid_sync.plaid.responses import parse_accounts, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plaid_sync.linking.requests import LinkTokenParameters
    from plaid_sync.plaid.client import PlaidTransport

_CREATE_SECONDS: Final = 10.0
_GET_SECONDS: Final = 5.0
_EXCHANGE_SECONDS: Final = 8.0
_MAX_URL_LENGTH: Final = 2048
_MAX_SESSIONS: Final = 100
_MAX_RESULTS: Final = 100
_MAX_EVENTS: Final = 1000
_LEFT: Final = "EXIT"
"""The event of a user who left Link; one who finished it has a HANDOFF."""


@dataclass(frozen=True, slots=True)
class PlaidLinkClient:
    """Calls around Link; implements `PlaidLink` and `PlaidLinkTokens`."""

    transport: PlaidTransport

    def create_link_token(self, parameters: LinkTokenParameters) -> LinkToken:
        """See `PlaidLinkTokens`."""
        return self.transport.call("/link/token/create", _fields(parameters), _CREATE_SECONDS, parse_link_token)

    def link_results(self, link_token: str) -> LinkResults:
        """See `PlaidLink`."""
        request = LinkTokenGetRequest(link_token=link_token)
        return self.transport.call("/link/token/get", request, _GET_SECONDS, parse_link_results)

    def exchange(self, public_token: str) -> ExchangedItem:
        """See `PlaidLink`. Never retried here: a public token works once."""
        request = ItemPublicTokenExchangeRequest(public_token=public_token)
        return self.transport.call("/item/public_token/exchange", request, _EXCHANGE_SECONDS, parse_exchange)


def _fields(parameters: LinkTokenParameters) -> dict[str, Any]:
    """Return the request's fields, in plaid-python's order: the caller's, in Plaid's form, and the stack's own."""
    given = parameters.request.fields
    fields: dict[str, Any] = {
        "client_name": parameters.client_name,
        "language": given["language"],
        "country_codes": given["country_codes"],
        **given,
    }
    if "user_id" not in given:  # a user of Plaid's User API replaces `user`
        fields["user"] = given.get("user", {}) | {"client_user_id": parameters.client_user_id}
    if parameters.access_token is not None:
        fields["access_token"] = parameters.access_token
    return fields | {"webhook": parameters.webhook_url}


# ---- responses


def parse_link_token(document: bytes) -> LinkToken:
    """Parse the body of a /link/token/create response.

    Raises:
        InvalidJsonError: it is not JSON.
        SchemaViolationError: it holds no link token.
    """
    response = parse_object(document)
    token, url = response.get("link_token"), response.get("hosted_link_url")
    if not is_token(token):
        raise SchemaViolationError("link_token")
    return LinkToken(
        token,
        parse_timestamp(response.get("expiration")),
        url if is_printable_ascii(url, _MAX_URL_LENGTH) else None,
        printable_or_empty(response.get("request_id")),
    )


def parse_exchange(document: bytes) -> ExchangedItem:
    """Parse the body of an /item/public_token/exchange response.

    Raises:
        InvalidJsonError: it is not JSON.
        SchemaViolationError: it holds no access token: the Item can be neither used nor removed.
    """
    response = parse_object(document)
    item_id, access_token = response.get("item_id"), response.get("access_token")
    if not is_token(access_token):
        raise SchemaViolationError("access_token")
    usable_id = ItemId(str(item_id)) if is_item_id(item_id) else None
    return ExchangedItem(usable_id, access_token, printable_or_empty(response.get("request_id")))


def parse_link_results(document: bytes) -> LinkResults:
    """Parse the body of a /link/token/get response, with its `results` and its deprecated `on_success` fields.

    Raises:
        InvalidJsonError: it is not JSON.
        SchemaViolationError: it is not an object.
    """
    response = parse_object(document)
    listed = _bounded_list(response.get("link_sessions"), _MAX_SESSIONS)
    sessions = [session for session in listed if isinstance(session, dict)]
    added = {item.public_token: item for session in sessions for item in _added_items(session)}
    finished = [session for session in sessions if _is_finished(session)]
    ends = [moment for session in finished if (moment := parse_timestamp(session.get("finished_at"))) is not None]
    return LinkResults(
        added=tuple(added.values()),
        finished=bool(finished),
        left=bool(sessions) and all(map(_was_left, sessions)),
        request_id=printable_or_empty(response.get("request_id")),
        finished_at=max(ends, default=None),
    )


def _is_finished(session: dict[str, Any]) -> bool:
    return session.get("finished_at") is not None and not _was_left(session)


def _was_left(session: dict[str, Any]) -> bool:
    if session.get("exit") is not None or session.get("on_exit") is not None:
        return True
    events = (event for event in _bounded_list(session.get("events"), _MAX_EVENTS) if isinstance(event, dict))
    return any(event.get("event_name") == _LEFT for event in events)


def _added_items(session: dict[str, Any]) -> Iterator[AddedItem]:
    success = session.get("on_success")
    if isinstance(success, dict):
        metadata = success.get("metadata")
        yield from _added_item(success.get("public_token"), metadata if isinstance(metadata, dict) else {})
    results = session.get("results")
    if isinstance(results, dict):
        for result in _bounded_list(results.get("item_add_results"), _MAX_RESULTS):
            if isinstance(result, dict):
                yield from _added_item(result.get("public_token"), result)


def _added_item(public_token: object, metadata: dict[str, Any]) -> Iterator[AddedItem]:
    """Yield the connection, if it has a public token; both forms name bank and accounts alike."""
    if not is_token(public_token):
        return
    institution = metadata.get("institution")
    institution_id = institution.get("institution_id") if isinstance(institution, dict) else None
    printable_id = institution_id if is_printable_ascii(institution_id) else None
    yield AddedItem(public_token, printable_id, parse_accounts(metadata.get("accounts"), id_field="id"))


def _bounded_list(value: object, maximum: int) -> list[Any]:
    return value[:maximum] if isinstance(value, list) else []
