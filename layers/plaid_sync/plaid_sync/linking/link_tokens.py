"""Link tokens: for a new connection, or for the update mode of an Item; each is bound to the caller's user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.domain.errors import InvalidRequestError, Refusal, RefusedError
from plaid_sync.domain.requests import require_allowed
from plaid_sync.domain.transitions import EventType
from plaid_sync.linking.eligibility import replaceable_item
from plaid_sync.linking.requests import LinkTokenParameters
from plaid_sync.linking.sessions import DEFAULT_LINK_TOKEN_TTL, SESSION_TTL, LinkSession, session_key

if TYPE_CHECKING:
    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.ports import TokenDecryptor
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.linking.ports import LinkItems, Links, PlaidLinkTokens
    from plaid_sync.linking.requests import LinkTokenRequest
    from plaid_sync.linking.sessions import LinkToken


@dataclass(frozen=True, slots=True)
class LinkTokens:
    """Creates link tokens.

    Attributes:
        client_name: the application's name in Link, where a request has no other.
    """

    plaid: PlaidLinkTokens
    links: Links
    items: LinkItems
    tokens: TokenDecryptor
    clock: Clock
    client_name: str

    def create(self, request: LinkTokenRequest, context: RequestContext) -> LinkToken:
        """Create a link token, and store its session with the user's reference.

        Raises:
            RefusedError: there is no such Item, or it is another user's, or removed; or there is none to replace.
            InvalidRequestError: neither the request nor the Item has a reference of the user.
            PlaidError: Plaid refused.
            TransientError: Plaid or AWS was unreachable: send the same request again.
        """
        item = None if request.item_id is None else self._item(request.item_id, request.client_user_id)
        client_user_id = request.client_user_id or (item.client_user_id if item else None)
        if client_user_id is None:
            raise InvalidRequestError("client_user_id", "the Item has none: send your reference of the user")
        if request.replace is not None:
            replaceable_item(self.items, request.replace, client_user_id, erase=request.erase)
        access_token = None if item is None else self.tokens.decrypt(item.item_id, item.access_token)
        client_name = request.client_name or self.client_name
        now = self.clock.now()
        created = self.plaid.create_link_token(
            LinkTokenParameters(request, client_user_id, client_name, context.webhook_url, access_token)
        )
        expiration = created.expiration or now + DEFAULT_LINK_TOKEN_TTL
        self.links.add_session(
            LinkSession(
                key=session_key(created.link_token),
                client_user_id=client_user_id,
                item_id=request.item_id,
                days_requested=request.days_requested,
                expires_at=expiration + SESSION_TTL,
                created_at=now,
                hosted=request.hosted,
                multi_item=request.multi_item,
                replace=request.replace,
                erase=request.erase,
            )
        )
        return created

    def _item(self, item_id: ItemId, client_user_id: str | None) -> Item:
        item = require_allowed(self.items.load(item_id), EventType.UPDATE_MODE, "item_id")
        if client_user_id is not None and item.client_user_id not in {None, client_user_id}:
            raise RefusedError(
                Refusal.FORBIDDEN,
                "item_of_another_user",
                "the Item is another user's",
                {"fix": "send the client_user_id that it was linked for, or leave it out", "field": "client_user_id"},
            )
        return item
