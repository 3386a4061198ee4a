"""Whether a request may link: its link session proves the user, and no bank account is linked twice for one user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.claims import claim_keys
from plaid_sync.domain.clock import MAX_CLOCK_SKEW
from plaid_sync.domain.errors import InvalidRequestError, Refusal, RefusedError
from plaid_sync.domain.requests import item_not_found_error, item_removed_error, request_removal, require_allowed
from plaid_sync.domain.transitions import EventType
from plaid_sync.linking.session_reader import public_token_error
from plaid_sync.linking.sessions import (
    PROGRESS_TTL,
    AddedItem,
    LinkProgress,
    Replacement,
    link_id_of,
)

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.linking.ports import LinkItems, Links
    from plaid_sync.linking.requests import LinkRequest
    from plaid_sync.linking.session_reader import SessionReader
    from plaid_sync.linking.sessions import AccountClaim, LinkSession, ListedResults

ENDS_OLDER_CONNECTION: Final = frozenset({"ins_3", "ins_56", "ins_13", "ins_15", "ins_11"})
"""Chase (two ids), PNC, Navy Federal and Charles Schwab: a second connection of one login ends the first
(https://plaid.com/docs/link/duplicate-items/)."""


@dataclass(frozen=True, slots=True)
class LinkCandidate:
    """A connection that may be exchanged.

    Attributes:
        request: the request to link it.
        added: the connection, as Plaid lists it; at least its public token.
        session: None where it is linked without one.
        replaced_item: the Item that it replaces, unless that is removed already.
    """

    request: LinkRequest
    added: AddedItem
    session: LinkSession | None
    replaced_item: Item | None = None

    @property
    def public_token(self) -> str:
        """The public token, which works once."""
        return self.added.public_token

    @property
    def link_id(self) -> str:
        """The digest of the public token."""
        return link_id_of(self.public_token)

    @property
    def client_user_id(self) -> str | None:
        """The caller's reference of the user; None without a session."""
        return None if self.session is None else self.session.client_user_id

    @property
    def days_requested(self) -> int | None:
        """Days of history; None for all."""
        return self.request.days_requested or (None if self.session is None else self.session.days_requested)

    @property
    def listed(self) -> ListedResults | None:
        """What Plaid lists of a session whose results it lists only for the clients that it enabled."""
        if self.session is None or self.session.hosted or self.session.multi_item:
            return None
        return self.added.listed

    @property
    def claim_keys(self) -> tuple[str, ...]:
        """The keys of its account claims, as far as its accounts are known."""
        if self.client_user_id is None:
            return ()
        return claim_keys(self.client_user_id, self.added.institution_id, self.added.accounts)

    def replacement(self, item_id: ItemId, now: datetime, context: RequestContext) -> Replacement | None:
        """Return the removal of the Item that the new one, with this id, replaces."""
        replaced, erase = self.replaced_item, self.request.erase
        if replaced is None or replaced.item_id == item_id:
            return None
        state, entry = request_removal(replaced, context, now, erase=erase, replaced_by=item_id)
        return Replacement(replaced.item_id, state, erase, entry)


@dataclass(frozen=True, slots=True)
class Holders:
    """The Items that hold the accounts of a connection.

    Attributes:
        releasable_item_ids: those whose claims it may take: they are removed, or are replaced.
        existing_item: the Item that the same public token was exchanged for.
        duplicate: another Item, which is not removed.
    """

    releasable_item_ids: frozenset[ItemId] = frozenset()
    existing_item: Item | None = None
    duplicate: Item | None = None


@dataclass(frozen=True, slots=True)
class LinkValidator:
    """Decides what a request may link. All of it can be repeated."""

    sessions: SessionReader
    links: Links
    items: LinkItems

    def opened(self, request: LinkRequest) -> tuple[LinkRequest, LinkSession | None]:
        """Return the request, which replaces what its session replaces, and the session of its link token, if any.

        Raises:
            RefusedError: there is no such session, or it is of another user, or of update mode.
            InvalidRequestError: its session replaces another Item.
        """
        session = None if request.link_token is None else self._session(request, request.link_token)
        if session is None or session.replace is None:
            return request, session
        if request.replace not in {None, session.replace}:
            raise InvalidRequestError("replace", "the link token was created to replace another Item: leave it out")
        return replace(request, replace=session.replace, erase=session.erase or request.erase), session

    def _session(self, request: LinkRequest, link_token: str) -> LinkSession:
        session = self.sessions.find(link_token)
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
            RefusedError: the session does not allow it.
            InvalidRequestError: the session has several public tokens, and the request has none.
            PlaidError: Plaid refused to return the results of the session.
        """
        if session is None or request.link_token is None:
            added = AddedItem(request.public_token or "")
        else:
            added = self.sessions.added(session, request.link_token, request.public_token, proven=request.proven)
        replaced = self._replaced_item(request)
        return LinkCandidate(request, added, session, None if replaced is None or replaced.removed else replaced)

    def begin(self, candidate: LinkCandidate, now: datetime) -> LinkProgress:
        """Record that the session takes the public token; return how far the link is.

        Raises:
            RefusedError: the session took another public token, or another session took this one.
        """
        session, link_id = candidate.session, candidate.link_id
        # Plaid's word that the public token is the session's outweighs that it took another one.
        if session is not None and not session.takes(link_id) and not candidate.added.proven:
            raise _session_used_error()
        binds = None if session is None or session.multi_item or session.link_id is not None else session
        session_key = None if session is None else session.key
        new = LinkProgress(link_id, session_key, now + PROGRESS_TTL, client_user_id=candidate.client_user_id)
        progress = self.links.begin(new, binds)
        if progress.session_key != session_key:
            raise public_token_error("another request took the public token, with another link token or without one")
        return progress

    def holders(self, candidate: LinkCandidate, keys: tuple[str, ...]) -> Holders:
        """Return the Items that hold accounts of the connection."""
        replaced_id = candidate.request.replace
        releasable = set() if replaced_id is None else {replaced_id}
        left_behind: set[ItemId] = set()
        for claim in self.links.claims(keys).values() if keys else ():
            if claim.item_id in releasable:
                continue
            holder = self.items.load(claim.item_id)
            if holder is None or holder.removed:
                releasable.add(claim.item_id)
            elif is_left_behind(claim, holder):
                left_behind.add(claim.item_id)
            elif claim.link_id == candidate.link_id:
                return Holders(frozenset(releasable), existing_item=holder)
            else:
                return Holders(frozenset(releasable), duplicate=holder)
        return Holders(frozenset(releasable | left_behind))

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

    def _replaced_item(self, request: LinkRequest) -> Item | None:
        """Return the Item to replace, if there is one."""
        if request.replace is None:
            return None
        return replaceable_item(self.items, request.replace, request.client_user_id, erase=request.erase)


def is_left_behind(claim: AccountClaim, holder: Item) -> bool:
    """Return whether an attempt took the claim for its Item and died before it recorded that.

    The Item's accounts were compared since then, and the account was not among them.
    """
    if claim.taken_at is None or holder.accounts_checked_at is None or claim.key in holder.bank_login_ids:
        return False
    return holder.unfinished_attempts == 0 and holder.accounts_checked_at > claim.taken_at + MAX_CLOCK_SKEW


def replaceable_item(items: LinkItems, item_id: ItemId, client_user_id: str | None, *, erase: bool) -> Item:
    """Return an Item that a new one of the user can replace.

    Raises:
        RefusedError: there is none; of another user's, the response does not say that it exists.
    """
    item = items.load(item_id)
    if item is None or (item.client_user_id != client_user_id and not _needs_no_removal(item, erase=erase)):
        raise item_not_found_error("replace")
    return require_allowed(item, EventType.REMOVE)


def duplicate_item_error(holder: ItemId | None, *, exchanged: bool, ends_older: bool) -> RefusedError:
    """Return the refusal of a bank account that another Item holds.

    Args:
        holder: that Item; None where it is unknown.
        exchanged: the public token is used: to replace the Item, the user has to go through Link again.
        ends_older: the bank ends the older connection when the user connects again.
    """
    replacing = f"?replace={holder}" if holder else "?replace="
    if exchanged:
        again = f"go through Link again, with a link token that has replace {holder or ''}".rstrip()
    else:
        again = f"send again with {replacing}"
    if ends_older:
        fix = f"{again}: this bank ends the older connection when the user connects again, and that Item is checked now"
    else:
        fix = f"use that Item, in update mode where it needs repair, or {again}"
    named = {} if holder is None else {"field": "item_id", "item_id": holder}
    detail = "the user linked one of these bank accounts already"
    return RefusedError(Refusal.CONFLICT, "duplicate_item", detail, {"fix": fix, **named})


def _session_used_error() -> RefusedError:
    """Return the refusal of a second public token of one session."""
    fix = "create a link token with POST /link-tokens for each Link; for several Items, one with enable_multi_item_link"
    members = {"fix": fix, "field": "link_token"}
    return RefusedError(Refusal.CONFLICT, "link_session_used", "the link session took another public token", members)


def _needs_no_removal(item: Item, *, erase: bool) -> bool:
    """Return whether an Item is removed as the request asks; an erased one no longer has a user."""
    erased = item.removal is None or item.removal.erase
    return item.removed and (erased or not erase)
