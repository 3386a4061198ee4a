"""What a request to link may link: proven by its link session, and linked only once for each user and bank account."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from plaid_sync.core.items_api.item_record import removed_item
from plaid_sync.core.items_api.removal_request import requested_removal
from plaid_sync.core.items_api.requests import RefusedError, item_not_found
from plaid_sync.core.linking.bank_logins import fingerprints
from plaid_sync.core.linking.link_requests import link_id_of
from plaid_sync.core.linking.link_sessions import AddedItem
from plaid_sync.core.linking.registration import Replacement

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.items_api.asked import Asked
    from plaid_sync.core.items_api.item_record import ItemRecord
    from plaid_sync.core.linking.link_requests import LinkRequest
    from plaid_sync.core.linking.link_sessions import LinkSession
    from plaid_sync.core.linking.session_reader import SessionReader
    from plaid_sync.ports.items_api import LinkItems, Links


@dataclass(frozen=True, slots=True)
class LinkWish:
    """A connection that may be exchanged.

    Attributes:
        added: what Link has told of it; with nothing but the public token where there is no session.
        client_user_id: the caller's reference of the user; None without a session.
        days_requested: days of history; None for all.
        claims: fingerprints of its accounts.
        yielding: Items whose claims it may take.
        replaced: the Item that it replaces, unless that is removed already.
        ours: what the same public token was linked as, a moment ago.
        request_id: Plaid's id of the call that told of the connection; empty where there was none.
    """

    request: LinkRequest
    added: AddedItem
    client_user_id: str | None
    days_requested: int | None
    claims: tuple[str, ...] = ()
    yielding: frozenset[ItemId] = frozenset()
    replaced: ItemRecord | None = None
    ours: ItemRecord | None = None
    request_id: str = ""

    @property
    def public_token(self) -> str:
        """The public token, which works once."""
        return self.added.public_token


@dataclass(frozen=True, slots=True)
class LinkWishes:
    """Finds out what a request may link. Everything here happens before the exchange, and can be repeated."""

    sessions: SessionReader
    links: Links
    items: LinkItems

    def session_of(self, request: LinkRequest) -> LinkSession | None:
        """Return the session of the link token, if one is sent, which was made for this user and a new link.

        Raises:
            RefusedError: there is no such session, or it is another user's, or one of update mode.
        """
        if request.link_token is None:
            return None
        session = self.sessions.find(request.link_token)
        if session.client_user_id != request.client_user_id:
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "link_session_of_another_user",
                "the link token was made for another user",
                {"fix": "send the client_user_id that the link token was made for", "field": "client_user_id"},
            )
        if session.item_id is not None:
            raise RefusedError(
                HTTPStatus.CONFLICT,
                "link_session_of_update_mode",
                "the link token was made for the update mode of an Item",
                {"fix": "send it to POST /items/{item_id}/sync", "field": "link_token"},
            )
        return session

    def confirm(self, record: ItemRecord, request: LinkRequest) -> ItemId:
        """Return the Item that was linked with the same public token, if the request asks for what was done then.

        Raises:
            RefusedError: the Item is removed, or not this user's, or the one to be replaced still lives.
        """
        if record.removed:
            raise removed_item(record.item_id)
        if request.link_token is not None and record.client_user_id != request.client_user_id:
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "public_token_of_another_session",
                "the public token is not one of this link session's, or was linked without it",
                {"fix": "send it with the link token that its Link was opened with", "field": "public_token"},
            )
        replaced = self._to_be_replaced(request)
        if replaced is not None and not replaced.removed:
            raise RefusedError(
                HTTPStatus.CONFLICT,
                "linked_without_replace",
                "the public token is linked already, and nothing was replaced",
                {"fix": "DELETE the other Item", "field": "replace", "item_id": record.item_id},
            )
        return record.item_id

    def wish(self, request: LinkRequest, session: LinkSession | None) -> LinkWish:
        """Return what is to be exchanged.

        Raises:
            RefusedError: the session does not allow it, or the bank is linked already.
            InvalidRequestError: the session has several public tokens, and none is named.
            PlaidError: Plaid refused to tell what came of the session.
        """
        if session is None or request.link_token is None:
            return LinkWish(request, AddedItem(request.public_token or ""), None, request.days_requested)
        added, request_id = self.sessions.added(request.link_token, request.public_token)
        replaced = self._to_be_replaced(request)
        claims = fingerprints(session.client_user_id, added)
        yielding, ours = self._holders(claims, link_id_of(added.public_token), request.replace)
        return LinkWish(
            request=request,
            added=added,
            client_user_id=session.client_user_id,
            days_requested=request.days_requested or session.days_requested,
            claims=claims,
            yielding=yielding,
            replaced=None if replaced is None or replaced.removed else replaced,
            ours=ours,
            request_id=request_id,
        )

    def remember(self, session: LinkSession, wish: LinkWish) -> None:
        """Note what a session without a public token leads to: Plaid forgets it within hours."""
        self.links.add_session(dataclasses.replace(session, link_id=link_id_of(wish.public_token)))

    def _to_be_replaced(self, request: LinkRequest) -> ItemRecord | None:
        """Return the Item to be replaced; of another user's Item nothing is told, and nothing erased."""
        if request.replace is None:
            return None
        record = self.items.load(request.replace)
        if record is None or (record.client_user_id != request.client_user_id and not _is_as_asked(record, request)):
            raise item_not_found("replace")
        return record

    def _holders(
        self, claims: tuple[str, ...], link_id: str, replace: ItemId | None
    ) -> tuple[frozenset[ItemId], ItemRecord | None]:
        """Return the Items whose claims may be taken, and the Item that this very public token is linked as.

        Raises:
            RefusedError: another Item that lives holds one of the accounts.
        """
        yielding = set() if replace is None else {replace}
        for claim in self.links.claims(claims).values():
            if claim.item_id in yielding:
                continue
            holder = self.items.load(claim.item_id)
            if holder is None or holder.removed:
                yielding.add(claim.item_id)
            elif claim.link_id == link_id:
                return frozenset(yielding), holder
            else:
                raise duplicate_item(claim.item_id, f"or send again with ?replace={claim.item_id}")
        return frozenset(yielding), None

    def replacement(self, wish: LinkWish, item_id: ItemId, now: datetime, asked: Asked) -> Replacement | None:
        """Return what becomes of the Item that a new one replaces."""
        replaced = wish.replaced
        if replaced is None:
            return None
        erase = wish.request.erase
        standing, entry = requested_removal(replaced, asked, now, erase=erase, replaced_by=item_id)
        return Replacement(replaced.item_id, standing, erase, entry)


def _is_as_asked(record: ItemRecord, request: LinkRequest) -> bool:
    """Tell whether an Item is removed and nothing is left to do to it: one that was erased knows no user any more."""
    erased = record.removal is None or record.removal.erase
    return record.removed and (erased or not request.erase)


def duplicate_item(holder: ItemId | None, otherwise: str) -> RefusedError:
    """Return the refusal of a bank account that is linked already."""
    return RefusedError(
        HTTPStatus.CONFLICT,
        "duplicate_item",
        "the user has linked one of these bank accounts already",
        {
            "fix": f"use that Item, in update mode where it needs repair, {otherwise}",
            **({} if holder is None else {"field": "item_id", "item_id": holder}),
        },
    )
