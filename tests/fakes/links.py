"""The Links table in memory: link sessions, account claims, and the registration of Items."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.schedule import ROLLBACK_AFTER, after_request
from plaid_sync.linking.sessions import AccountClaim, ClaimHeldError
from plaid_sync.webhook.ports import LinkOutcome

from tests.fakes.clock import FakeClock
from tests.fakes.items import Exchanged

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.linking.sessions import LinkProgress, LinkSession, Registration, Replacement

    from tests.fakes.items import FakeItems


@dataclass(slots=True)
class FakeLinks:
    """Implements `Links` and `AccountClaims`.

    Attributes:
        links: how far links are, by the digest of the public token.
        held: the account claims by key.
        blocked: Items that are never registered.
    """

    sessions: dict[str, LinkSession] = field(default_factory=dict)
    links: dict[str, LinkProgress] = field(default_factory=dict)
    held: dict[str, AccountClaim] = field(default_factory=dict)
    blocked: set[ItemId] = field(default_factory=set)
    clock: FakeClock = field(default_factory=FakeClock)

    def add_session(self, session: LinkSession) -> None:
        self.sessions[session.key] = session

    def session(self, key: str, now: datetime) -> LinkSession | None:
        session = self.sessions.get(key)
        return None if session is None or session.expires_at <= now else session

    def begin(self, progress: LinkProgress, session: LinkSession | None) -> LinkProgress:
        if progress.link_id in self.links:
            return self.links[progress.link_id]
        stored = None if session is None else self.sessions.get(session.key)
        if session is not None and stored is not None and stored.link_id is not None:
            raise TransientError("link_session_modified")
        self.links[progress.link_id] = progress
        if session is not None:
            self.sessions[session.key] = replace(session, link_id=progress.link_id)
        return progress

    def save_progress(self, progress: LinkProgress) -> None:
        self.links[progress.link_id] = progress

    def claims(self, keys: Collection[str]) -> Mapping[str, AccountClaim]:
        return {key: self.held[key] for key in keys if key in self.held}

    def claims_of(self, item_id: str) -> set[str]:
        return {key for key, claim in self.held.items() if claim.item_id == item_id}

    def take(self, item: Item, keys: Collection[str]) -> frozenset[str]:
        for key in keys:
            held = self.held.get(key, AccountClaim(key, item.item_id, item.link_id))
            if held.item_id == item.item_id:
                self.held[key] = replace(held, taken_at=self.clock.now())
        return frozenset(self.claims_of(item.item_id).intersection(keys))

    def release(self, item_id: ItemId, bank_login_ids: Collection[str]) -> None:
        for key in self.claims_of(item_id).intersection(bank_login_ids):
            del self.held[key]


@dataclass(frozen=True, slots=True)
class FakeRegistrations:
    """Implements `Registrations`: all of a registration is stored, or nothing."""

    items: FakeItems
    links: FakeLinks

    def record_exchange(self, progress: LinkProgress, item_id: ItemId, access_token: bytes, now: datetime) -> None:
        if item_id not in self.items.stored and item_id not in self.items.exchanged:
            following = after_request(item_id, now, ROLLBACK_AFTER).at
            self.items.exchanged[item_id] = Exchanged(progress.link_id, access_token, now, following)
        self.links.save_progress(progress)

    def register(self, registration: Registration) -> None:
        item, replacement = registration.item, registration.replacement
        stored = self.items.load(item.item_id)
        other_user = stored is not None and stored.client_user_id != item.client_user_id
        exchanged = self.items.exchanged.get(item.item_id)
        if exchanged is not None and (exchanged.rolls_back or exchanged.link_id != item.link_id):
            raise TransientError("item_modified_concurrently")
        if item.item_id in self.links.blocked or (stored is not None and stored.removed) or other_user:
            raise TransientError("item_modified_concurrently")
        allowed = {item.item_id, *registration.releasable_item_ids}
        for claim in self.links.claims(sorted(item.bank_login_ids)).values():
            if claim.item_id not in allowed:
                raise ClaimHeldError(claim.item_id)
        if replacement is not None:
            self._replace(replacement, item)
        self.items.history.add(registration.entry)
        self.items.exchanged.pop(item.item_id, None)
        self.items.put(item if stored is None else _updated(stored, item))
        if stored is None and item.linked_at is not None:
            self.items.plan(item.item_id, after_request(item.item_id, item.linked_at))
        if registration.progress is not None:
            self.links.save_progress(registration.progress)
        self.links.held |= {key: AccountClaim(key, item.item_id, item.link_id) for key in item.bank_login_ids}

    def register_imported(self, registration: Registration) -> None:
        item_id = registration.item.item_id
        if item_id in self.items.stored or item_id in self.items.exchanged:
            raise TransientError("item_modified_concurrently")
        self.register(registration)

    def _replace(self, replacement: Replacement, item: Item) -> None:
        replaced = self.items.load(replacement.item_id)
        if replaced is None or replaced.client_user_id != item.client_user_id:
            raise TransientError("item_modified_concurrently")
        if replaced.removed:
            return  # concurrently: nothing is left to do about it
        self.items.history.add(replacement.entry)
        self.items.mark_removed(replacement.item_id, replacement.state, replacement.entry, erase=replacement.erase)
        self.items.replaced_by[replacement.item_id] = item.item_id

    def block_registration(self, item_id: ItemId, client_user_id: str | None) -> bool:  # noqa: ARG002 - the port's
        if item_id in self.items.stored:
            return self.items.lives(item_id)
        self.links.blocked.add(item_id)
        return False


def _updated(stored: Item, item: Item) -> Item:
    """Return a stored Item after it is registered again: nothing that a sync wrote changes."""
    known: dict[str, Any] = {
        "client_user_id": item.client_user_id,
        "institution_id": item.institution_id,
        "accounts": item.accounts or None,
        "bank_login_ids": item.bank_login_ids or None,
    }
    sets = {name: value for name, value in known.items() if value is not None}
    return replace(stored, access_token=item.access_token, link_id=item.link_id, **sets)


@dataclass(slots=True)
class FakeLinkSessions:
    """Implements `LinkSessions` of the webhook function.

    Attributes:
        completed: the sessions that were completed, in order.
        refusal: the code with which each is refused, while it is set.
        client_user_id: the user of each.
        unreachable: whether no session can be completed now.
    """

    completed: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    refusal: str | None = None
    client_user_id: str | None = "user"
    unreachable: bool = False

    def complete(
        self,
        link_token: str,
        public_tokens: tuple[str, ...],
        correlation_id: str,  # noqa: ARG002 - the port's
        *,
        ended: bool,  # noqa: ARG002 - the port's
    ) -> LinkOutcome:
        if self.unreachable:
            raise TransientError("unreachable")
        self.completed.append((link_token, public_tokens))
        return LinkOutcome(self.refusal, self.client_user_id)
