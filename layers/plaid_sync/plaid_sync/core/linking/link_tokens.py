"""Link tokens: for a new connection, or for the update mode of an Item, each bound to the caller's user."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from plaid_sync.core.items_api.item_record import permit
from plaid_sync.core.items_api.requests import InvalidRequestError, RefusedError, item_not_found
from plaid_sync.core.lifecycle.states import Event
from plaid_sync.core.linking.link_sessions import LINK_TOKEN_LIFE, SESSION_KEPT, LinkSession, session_key

if TYPE_CHECKING:
    from plaid_sync.core.items_api.asked import Asked
    from plaid_sync.core.items_api.item_record import ItemRecord
    from plaid_sync.core.linking.link_requests import LinkTokenRequest
    from plaid_sync.core.linking.plaid_answers import LinkToken
    from plaid_sync.ports.common import Clock, TokenDecryptor
    from plaid_sync.ports.items_api import ApiItems, Links, PlaidLinkTokens


@dataclass(frozen=True, slots=True)
class LinkTokenOrder:
    """What Plaid is asked for.

    Attributes:
        access_token: the Item's, for update mode.
    """

    request: LinkTokenRequest
    client_user_id: str
    client_name: str
    webhook_url: str
    access_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LinkTokens:
    """Creates link tokens.

    Attributes:
        client_name: what Link calls the application, where a request names nothing else.
    """

    plaid: PlaidLinkTokens
    links: Links
    items: ApiItems
    tokens: TokenDecryptor
    clock: Clock
    client_name: str

    def create(self, request: LinkTokenRequest, asked: Asked) -> LinkToken:
        """Create a link token, and remember for whom.

        Raises:
            RefusedError: there is no such Item, or it is another user's, or removed.
            InvalidRequestError: the Item has no user reference, and none is given.
            PlaidError: Plaid refused.
            RetryableError: Plaid or AWS could not be reached: send the same request again.
        """
        record = None if request.item_id is None else self._item(request)
        client_user_id = request.client_user_id or (record.client_user_id if record else None)
        if client_user_id is None:
            raise InvalidRequestError("client_user_id", "the Item has none: send your reference of the user")
        access_token = None if record is None else self.tokens.decrypt(record.item_id, record.access_token)
        created = self.plaid.create_link_token(
            LinkTokenOrder(
                request, client_user_id, request.client_name or self.client_name, asked.webhook_url, access_token
            )
        )
        expiration = created.expiration or self.clock() + LINK_TOKEN_LIFE
        self.links.add_session(
            LinkSession(
                key=session_key(created.link_token),
                client_user_id=client_user_id,
                item_id=request.item_id,
                days_requested=request.days_requested,
                expires_at=expiration + SESSION_KEPT,
            )
        )
        return created

    def _item(self, request: LinkTokenRequest) -> ItemRecord:
        record = None if request.item_id is None else self.items.load(request.item_id)
        if record is None:
            raise item_not_found("item_id")
        permit(record, Event.UPDATE_MODE)
        if request.client_user_id is not None and record.client_user_id not in {None, request.client_user_id}:
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "item_of_another_user",
                "the Item is not this user's",
                {"fix": "send the client_user_id that it was linked for, or leave it out", "field": "client_user_id"},
            )
        return record
