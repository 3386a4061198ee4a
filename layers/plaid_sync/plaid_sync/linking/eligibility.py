"""Whether a request may link: its link session proves the user, and no bank account is linked twice for one user."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.domain.claims import claim_keys
from plaid_sync.domain.errors import Refusal, RefusedError
from plaid_sync.domain.requests import item_not_found_error, item_removed_error, request_removal, require_allowed
from plaid_sync.domain.transitions import EventType
from plaid_sync.linking.session_reader import public_token_error
from plaid_sync.linking.sessions import AddedItem, Replacement, link_id_of

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.linking.ports import LinkItems, Links
    from plaid_sync.linking.requests import LinkRequest
    from plaid_sync.linking.session_reader import SessionReader
    from plaid_sync.linking.sessions import LinkSession


@dataclass(frozen=True, slots=True)
class LinkCandidate:
    """A connection that may be exchanged.

    Attributes:
        added: the connection, as Plaid lists it; without a session only its public token.
        client_user_id: the caller's reference of the user; None without a session.
        days_requested: days of history; None for all.
        claim_keys: keys of its account claims.
        releasable_item_ids: Items whose account claims it may take.
        replaced_item: the Item that it replaces, unless that is removed already.
        existing_item: the Item that the same public token was exchanged for, a moment ago.
        request_id: Plaid's id of the call that listed the connection; empty where there was none.
    """

    request: LinkRequest
    added: AddedItem
    client_user_id: str | None
    days_requested: int | None
    claim_keys: tuple[str, ...] = ()
    releasable_item_ids: frozenset[ItemId] = frozenset()
    replaced_item: Item | None = None
    existing_item: Item | None = None
    request_id: str = ""

    @property
    def public_token(self) -> str:
        """The public token, which works once."""
        return self.added.public_token

    @property
    def link_id(self) -> str:
        """The digest of the public token."""
        return link_id_of(self.public_token)

    def replacement(self, item_id: ItemId, now: datetime, context: RequestContext) -> Replacement | None:
        """Return the removal of the Item that the new one, with this id, replaces."""
        replaced, erase = self.replaced_item, self.request.erase
        if replaced is None:
            return None
        state, entry = request_removal(replaced, context, now, erase=erase, replaced_by=item_id)
        return Replacement(replaced.item_id, state, erase, entry)


@dataclass(frozen=True, slots=True)
class LinkValidator:
    """Decides what a request may link. All of it happens before the exchange, and can be repeated."""

    sessions: SessionReader
    links: Links
    items: LinkItems

    def session_of(self, request: LinkRequest) -> LinkSession | None:
        """Return the session of the request's link token, if it has one.

        Raises:
            RefusedError: there is no such session, or it is of another user, or of update mode.
        """
        if request.link_token is None:
            return None
        session = self.sessions.find(request.link_token)
        if session.client_user_id != request.client_user_id:
            raise RefusedError(
                Refusal.FORBIDDEN,
                "link_session_of_another_user",
                "the link token was created for another user",
                {"fix": "send the client_user_id that the link token was created for", "field": "client_user_id"},
            )
        if session.item_id is not None:
            raise RefusedError(
                Refusal.CONFLICT,
                "link_session_of_update_mode",
                "the link token was created for the update mode of an Item",
                {"fix": "send it to POST /items/{item_id}/sync", "field": "link_token"},
            )
        return session

    def candidate(self, request: LinkRequest, session: LinkSession | None) -> LinkCandidate:
        """Return the connection to exchange.

        Raises:
            RefusedError: the session does not allow it, or the bank is linked already.
            InvalidRequestError: the session has several public tokens, and the request has none.
            PlaidError: Plaid refused to return the results of the session.
        """
        if session is None or request.link_token is None:
            return LinkCandidate(request, AddedItem(request.public_token or ""), None, request.days_requested)
        added, request_id = self.sessions.added(request.link_token, request.public_token)
        replaced = self._replaced_item(request)
        keys = claim_keys(session.client_user_id, added.institution_id, added.accounts)
        releasable_item_ids, existing_item = self._holders(keys, link_id_of(added.public_token), request.replace)
        return LinkCandidate(
            request=request,
            added=added,
            client_user_id=session.client_user_id,
            days_requested=request.days_requested or session.days_requested,
            claim_keys=keys,
            releasable_item_ids=releasable_item_ids,
            replaced_item=None if replaced is None or replaced.removed else replaced,
            existing_item=existing_item,
            request_id=request_id,
        )

    def confirm(self, item: Item, request: LinkRequest) -> ItemId:
        """Return the id of the Item that the same public token was exchanged for, if the request is a repeat.

        Raises:
            RefusedError: the Item is removed, or another user's, or the one to be replaced is not removed.
        """
        if item.removed:
            raise item_removed_error(item.item_id)
        if request.link_token is not None and item.client_user_id != request.client_user_id:
            raise public_token_error("the public token is not one of this link session's, or was linked without it")
        replaced = self._replaced_item(request)
        if replaced is not None and not replaced.removed:
            raise RefusedError(
                Refusal.CONFLICT,
                "linked_without_replace",
                "the public token is linked already, and nothing was replaced",
                {"fix": "DELETE the other Item", "field": "replace", "item_id": item.item_id},
            )
        return item.item_id

    def remember(self, session: LinkSession, candidate: LinkCandidate) -> None:
        """Store the public token's digest of a session without one: Plaid keeps its results for hours only."""
        self.links.add_session(dataclasses.replace(session, link_id=candidate.link_id))

    def _replaced_item(self, request: LinkRequest) -> Item | None:
        """Return the Item to replace, if there is one; for another user's, the response does not say that it exists."""
        if request.replace is None:
            return None
        item = self.items.load(request.replace)
        if item is None or (item.client_user_id != request.client_user_id and not _needs_no_removal(item, request)):
            raise item_not_found_error("replace")
        require_allowed(item, EventType.REMOVE)
        return item

    def _holders(
        self, keys: tuple[str, ...], link_id: str, replace: ItemId | None
    ) -> tuple[frozenset[ItemId], Item | None]:
        """Return the Items whose account claims may be taken, and the Item that this public token is linked as.

        Raises:
            RefusedError: another Item, which is not removed, holds one of the accounts.
        """
        releasable_item_ids = set() if replace is None else {replace}
        for claim in self.links.claims(keys).values():
            if claim.item_id in releasable_item_ids:
                continue
            holder = self.items.load(claim.item_id)
            if holder is None or holder.removed:
                releasable_item_ids.add(claim.item_id)
            elif claim.link_id == link_id:
                return frozenset(releasable_item_ids), holder
            else:
                raise duplicate_item_error(claim.item_id, f"or send again with ?replace={claim.item_id}")
        return frozenset(releasable_item_ids), None


def duplicate_item_error(holder: ItemId | None, otherwise: str) -> RefusedError:
    """Return the refusal of a bank account that another Item holds."""
    return RefusedError(
        Refusal.CONFLICT,
        "duplicate_item",
        "the user linked one of these bank accounts already",
        {
            "fix": f"use that Item, in update mode where it needs repair, {otherwise}",
            **({} if holder is None else {"field": "item_id", "item_id": holder}),
        },
    )


def _needs_no_removal(item: Item, request: LinkRequest) -> bool:
    """Return whether an Item is removed as the request asks; an erased one no longer has a user."""
    erased = item.removal is None or item.removal.erase
    return item.removed and (erased or not request.erase)
