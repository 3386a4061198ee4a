"""Linking: a public token becomes a registered Item, never an orphan that is billed and unknown.

A public token works once. After the exchange the Item is stored (and a retry with the same public token completes what
is missing), or it is removed at Plaid: the link is rolled back. Only where the response of the exchange itself is lost
neither is possible; the caller and the operator then get an error that says so.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import (
    ITEM_MODIFIED,
    ExchangeUnknownError,
    ItemOrphanedError,
    LinkRolledBackError,
    OutcomeUnknownError,
    PlaidError,
    RefusedError,
    TransientError,
)
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import MAX_HISTORY_DAYS, Item, ItemState, StateName
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.requests import known_request_ids
from plaid_sync.linking.eligibility import duplicate_item_error
from plaid_sync.linking.session_reader import RESULTS_UNAVAILABLE
from plaid_sync.linking.sessions import ClaimHeldError, Registration, link_id_of

if TYPE_CHECKING:
    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import ItemId
    from plaid_sync.domain.ports import PlaidRemoval, SyncQueue, TokenEncryptor
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.linking.eligibility import LinkCandidate, LinkValidator
    from plaid_sync.linking.ports import ErasableItems, LinkIndex, PlaidLink, Registrations
    from plaid_sync.linking.requests import LinkRequest
    from plaid_sync.linking.sessions import ExchangedItem, LinkSession

_MAX_REMOVALS: Final = 3
_MAX_LOOKUPS: Final = 3
_MAX_ERASURES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_USED_TOKEN_CODE: Final = "INVALID_PUBLIC_TOKEN"  # noqa: S105 - an error code
_GATEWAY_CODE_PREFIX: Final = "HTTP_5"
"""A gateway's response, not Plaid's: it does not say what Plaid did."""
EXCHANGE_SECONDS: Final = 105.0
"""From the exchange to the end, where every call times out: reading the secret 9, the exchange 15, encrypting 9,
storing 9, blocking the registration 9, loading the Item 9, three removals of 12; and pauses: one second between the
removals, and twice at most 2.4 seconds between the five tries of a transaction (see aws/clients.py, plaid/client.py,
plaid/link.py and aws/dynamodb/transact.py). A transaction is retried only after a response, which takes
milliseconds."""


@dataclass(frozen=True, slots=True)
class Linker:
    """Links Items."""

    validator: LinkValidator
    plaid: PlaidLink
    removal: PlaidRemoval
    tokens: TokenEncryptor
    items: ErasableItems
    index: LinkIndex
    registrations: Registrations
    queue: SyncQueue
    clock: Clock

    def link(self, request: LinkRequest, context: RequestContext) -> ItemId:
        """Exchange, encrypt, store and request the first sync; a retry completes what is missing.

        Raises:
            InvalidRequestError: a field of the request cannot be used.
            RefusedError: the session does not allow it, or the bank is linked already; nothing is left at Plaid.
            PlaidError: Plaid did not exchange the token; nothing exists.
            LinkRolledBackError: the Item could not be stored, and was removed at Plaid.
            ItemOrphanedError: it could not be removed either.
            ExchangeUnknownError: Plaid's response to the exchange is lost: the Item may exist, without its token.
            TransientError: nothing was exchanged, or the Item is stored and only a message could not be sent: send the
                same request again.
        """
        session = self.validator.session_of(request)
        item_id = self._linked_before(request, request.public_token) or self._link(request, session, context)
        self._request_sync(item_id, Cause.LINKED)
        if request.replace is not None:
            if request.erase:
                self._also_erase(request.replace, context)
            self._request_sync(request.replace, Cause.REQUEST)
        return item_id

    def _request_sync(self, item_id: ItemId, cause: Cause) -> None:
        self.queue.send(SyncMessage(item_id, cause), str(uuid.uuid4()))

    def _also_erase(self, item_id: ItemId, context: RequestContext) -> None:
        """Erase the rows of the replaced Item where an earlier removal kept them."""
        for _ in range(_MAX_ERASURES):
            item = self.items.load(item_id)
            if item is None or item.removal is None or item.removal.erase:
                return
            entry = context.entry(item_id, self.clock.now(), "erasure_requested", transactions="erase")
            if self.items.also_erase_transactions(item, entry):
                return
        raise TransientError(ITEM_MODIFIED)

    # ---- the same request, sent before

    def _linked_before(self, request: LinkRequest, public_token: str | None) -> ItemId | None:
        """Return the Item that this public token was exchanged for before."""
        return None if public_token is None else self._confirmed(request, link_id_of(public_token))

    def _linked_from_session(self, request: LinkRequest, session: LinkSession | None) -> ItemId | None:
        """Return the Item that a session without a public token (Hosted Link) was linked as before."""
        if request.public_token is not None or session is None or session.link_id is None:
            return None
        return self._confirmed(request, session.link_id)

    def _confirmed(self, request: LinkRequest, link_id: str) -> ItemId | None:
        # The index is eventually consistent; the Item is loaded consistently.
        item_id = self.index.id_by_link(link_id)
        item = None if item_id is None else self.items.load(item_id)
        if item is None or item.link_id != link_id:
            return None
        return self.validator.confirm(item, request)

    # ---- a new link

    def _link(self, request: LinkRequest, session: LinkSession | None, context: RequestContext) -> ItemId:
        try:
            candidate = self.validator.candidate(request, session)
        except RefusedError as error:
            # Plaid keeps the results for hours; the Item that was linked from them stays.
            unavailable = error.code in RESULTS_UNAVAILABLE
            item_id = self._linked_from_session(request, session) if unavailable else None
            if item_id is None:
                raise
            return item_id
        # The same request, sent twice: the Item is not in the index yet, or its public token was unknown until now.
        if candidate.existing_item is not None:
            return self.validator.confirm(candidate.existing_item, request)
        if request.public_token is None:
            item_id = self._linked_before(request, candidate.public_token)
            if item_id is not None:
                return item_id
            if session is not None:
                self.validator.remember(session, candidate)
        return self._link_candidate(request, candidate, context)

    def _link_candidate(self, request: LinkRequest, candidate: LinkCandidate, context: RequestContext) -> ItemId:
        try:
            return self._exchange_and_register(candidate, context)
        except PlaidError as error:
            if error.code != _USED_TOKEN_CODE:
                raise
            # The same request, sent twice, may have used it, and be about to store the Item.
            for _ in range(_MAX_LOOKUPS):
                self.clock.sleep(_PAUSE_SECONDS)
                item_id = self._linked_before(request, candidate.public_token)
                if item_id is not None:
                    return item_id
            raise

    def _exchange_and_register(self, candidate: LinkCandidate, context: RequestContext) -> ItemId:
        if not context.deadline.allows(EXCHANGE_SECONDS):
            raise TransientError("not_enough_time_to_exchange")
        exchanged = self._exchange(candidate.public_token)
        if exchanged.item_id is None:
            self._remove(exchanged)
            raise LinkRolledBackError("item_id_unusable")
        try:
            ciphertext = self.tokens.encrypt(exchanged.item_id, exchanged.access_token)
            registration = self._registration(exchanged.item_id, ciphertext, candidate, context, exchanged.request_id)
            self.registrations.register(registration)
        except ClaimHeldError as error:
            self._remove(exchanged)
            otherwise = "the user has to go through Link again, for the other Item"
            raise duplicate_item_error(error.holder, otherwise) from error
        except Exception as error:
            if self._is_stored(exchanged.item_id):
                return exchanged.item_id
            self._remove(exchanged)
            code = error.code if isinstance(error, TransientError) else type(error).__name__
            raise LinkRolledBackError(code) from error
        return exchanged.item_id

    def _exchange(self, public_token: str) -> ExchangedItem:
        try:
            return self.plaid.exchange(public_token)
        except OutcomeUnknownError as error:
            raise ExchangeUnknownError(error.code) from error
        except PlaidError as error:
            if not error.code.startswith(_GATEWAY_CODE_PREFIX):
                raise
            raise ExchangeUnknownError(error.code, error.request_id) from error

    def _registration(
        self, item_id: ItemId, ciphertext: bytes, candidate: LinkCandidate, context: RequestContext, request_id: str
    ) -> Registration:
        now = self.clock.now()
        item = Item(
            item_id=item_id,
            state=ItemState(StateName.ACTIVE),
            access_token=ciphertext,
            days_requested=candidate.days_requested or MAX_HISTORY_DAYS,
            linked_at=now,
            link_id=candidate.link_id,
            client_user_id=candidate.client_user_id,
            institution_id=candidate.added.institution_id,
            accounts=candidate.added.accounts,
            bank_login_ids=frozenset(candidate.claim_keys),
        )
        entry = context.entry(
            item_id,
            now,
            "linked",
            DetailType.LINKED,
            plaid_request_ids=known_request_ids(candidate.request_id, request_id),
            replaces=candidate.request.replace,
        )
        replacement = candidate.replacement(item_id, now, context)
        return Registration(item, entry, candidate.releasable_item_ids, replacement)

    # ---- rolling back

    def _is_stored(self, item_id: ItemId) -> bool:
        """Return whether the Item is stored although the response is lost; if it is not, it never will be."""
        try:
            return self.registrations.block_registration(item_id)
        except TransientError:
            pass
        try:
            item = self.items.load(item_id)
        except TransientError:
            # Unknown: an Item that is billed and not stored is worse than one whose first sync finds it removed.
            return False
        return item is not None and not item.removed

    def _remove(self, exchanged: ExchangedItem) -> None:
        for left in reversed(range(_MAX_REMOVALS)):
            try:
                self.removal.remove(exchanged.access_token)
            except (PlaidError, TransientError) as error:
                if not left:
                    raise ItemOrphanedError(exchanged.item_id, exchanged.request_id) from error
                self.clock.sleep(_PAUSE_SECONDS)
            else:
                return
