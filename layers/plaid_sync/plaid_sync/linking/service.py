"""Linking: a public token becomes a registered Item, never an orphan that is billed and unknown.

A public token works once. After the exchange the Item is stored, or it is removed at Plaid: the link is rolled back.
The progress and the encrypted access token are stored before anything else, so that the same request, sent again after
a crash, continues there; without one, the sweep has the Item removed ten minutes later (`removal`). Only where the
response of the exchange itself is lost neither is possible; the caller and the operator then get an error that says so.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.accounts import bounded
from plaid_sync.domain.errors import (
    DEAD_TOKEN,
    ITEM_MODIFIED,
    ExchangeUnknownError,
    FailureClass,
    ItemOrphanedError,
    LinkRolledBackError,
    OutcomeUnknownError,
    PlaidError,
    RefusedError,
    TransientError,
)
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import CHECK_ACCOUNTS, MAX_HISTORY_DAYS, Item, ItemState, PendingCheck, StateName
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.requests import known_request_ids
from plaid_sync.linking.eligibility import ENDS_OLDER_CONNECTION, duplicate_item_error
from plaid_sync.linking.session_reader import RESULTS_UNAVAILABLE
from plaid_sync.linking.sessions import PROGRESS_TTL, ClaimHeldError, ExchangedItem, Registration, link_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import ItemId
    from plaid_sync.domain.ports import PlaidRemoval, SyncQueue
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.linking.eligibility import LinkCandidate, LinkValidator
    from plaid_sync.linking.ports import (
        ErasableItems,
        LinkIndex,
        Links,
        PlaidAccounts,
        PlaidLink,
        Registrations,
        TokenCipher,
    )
    from plaid_sync.linking.requests import LinkRequest
    from plaid_sync.linking.sessions import LinkProgress, LinkSession

_MAX_REMOVALS: Final = 3
_MAX_LOOKUPS: Final = 3
_MAX_ERASURES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_USED_TOKEN_CODE: Final = "INVALID_PUBLIC_TOKEN"  # noqa: S105 - an error code
_ROLLBACK_BEGAN: Final = "rollback_began"
_GATEWAY_CODE_PREFIX: Final = "HTTP_5"
"""A gateway's response, not Plaid's: it does not say what Plaid did."""
EXCHANGE_SECONDS: Final = 169.0
"""From the exchange to the end, where every call times out: reading the secret 9, the exchange 15, encrypting 9,
storing the progress 9, waiting for the call budget 9, listing the accounts 17, reading the claims 9 and a holder 9,
registering 9, blocking the registration 9, loading the Item 9, three removals of 12, storing the progress 9; and
pauses: one second between the removals, and three times at most 2.4 seconds between the five tries of a call of
DynamoDB (see aws/clients.py, plaid/client.py, plaid/link.py, plaid/items.py, domain/budget.py and
aws/dynamodb/transact.py). Such a call is retried only after a response, which takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Linker:
    """Links Items.

    Attributes:
        check_item: requests a check of an Item and its accounts.
    """

    validator: LinkValidator
    plaid: PlaidLink
    accounts: PlaidAccounts
    removal: PlaidRemoval
    tokens: TokenCipher
    links: Links
    items: ErasableItems
    index: LinkIndex
    registrations: Registrations
    queue: SyncQueue
    check_item: Callable[[ItemId, RequestContext], object]
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
        request, session = self.validator.opened(request)
        item_id = self._linked_before(request, request.public_token) or self._link(request, session, context)
        self.queue.send(SyncMessage(item_id, Cause.LINKED))
        if request.replace is not None:
            if request.erase:
                self._also_erase(request.replace, context)
            self.queue.send(SyncMessage(request.replace, Cause.REQUEST))
        return item_id

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

    def _continued(self, candidate: LinkCandidate, progress: LinkProgress, context: RequestContext) -> ItemId | None:
        """Return the Item of a link that began before, and complete it; None where nothing was exchanged, or is left.

        Raises:
            RefusedError: the Item was a duplicate.
        """
        if progress.item_id is None:
            return None
        exchanged = self._exchanged(progress, progress.item_id)
        if exchanged is not None:
            if progress.duplicate_of is None:
                return self._complete(candidate, progress, exchanged, progress.item_id, context)
            self._undo_duplicate(progress, exchanged, progress.duplicate_of)
        if progress.duplicate_of is not None:
            raise self._duplicate(progress.duplicate_of, candidate.added.institution_id, context, exchanged=True)
        item = self.items.load(progress.item_id)
        if item is None or item.link_id != progress.link_id:
            return None
        return self.validator.confirm(item, candidate.request)

    def _exchanged(self, progress: LinkProgress, item_id: ItemId) -> ExchangedItem | None:
        """Return the exchanged Item of a link that is not completed; None where nothing is left to complete.

        Raises:
            LinkRolledBackError: it was removed at Plaid, or is about to be.
        """
        ciphertext = self.items.exchanged_token(item_id, progress.link_id)
        if ciphertext:
            access_token = self.tokens.decrypt(item_id, ciphertext)
            return ExchangedItem(item_id, access_token, progress.request_id, ciphertext)
        if ciphertext is not None and progress.duplicate_of is None:
            raise LinkRolledBackError(_ROLLBACK_BEGAN)
        return None

    # ---- a new link

    def _link(self, request: LinkRequest, session: LinkSession | None, context: RequestContext) -> ItemId:
        try:
            candidate = self.validator.candidate(request, session)
        except RefusedError as error:
            # Plaid keeps the results for hours; the Item that was linked from them stays.
            item_id = self._linked_from_session(request, session) if error.code == RESULTS_UNAVAILABLE else None
            if item_id is None:
                raise
            return item_id
        # A session that named its public token only now.
        before = self._linked_before(request, candidate.public_token) if request.public_token is None else None
        if before is not None:
            return before
        progress = self.validator.begin(candidate, self.clock.now())
        return self._continued(candidate, progress, context) or self._link_candidate(candidate, progress, context)

    def _link_candidate(self, candidate: LinkCandidate, progress: LinkProgress, context: RequestContext) -> ItemId:
        holders = self.validator.holders(candidate, candidate.claim_keys)
        # The same request, sent twice: the Item was stored meanwhile.
        if holders.existing_item is not None:
            return self.validator.confirm(holders.existing_item, candidate.request)
        if holders.duplicate is not None:
            raise self._duplicate(holders.duplicate.item_id, candidate.added.institution_id, context)
        if not context.deadline.allows(EXCHANGE_SECONDS):
            raise TransientError("not_enough_time_to_exchange")
        try:
            exchanged = self._exchange(candidate.public_token)
        except PlaidError as error:
            if error.code != _USED_TOKEN_CODE:
                raise
            item_id = self._linked_meanwhile(candidate, context)
            if item_id is None:
                raise
            return item_id
        if exchanged.item_id is None:
            self._remove(exchanged)
            raise LinkRolledBackError("item_id_unusable")
        return self._complete(candidate, progress, exchanged, exchanged.item_id, context)

    def _linked_meanwhile(self, candidate: LinkCandidate, context: RequestContext) -> ItemId | None:
        """Return the Item of a public token that is used: the same request, sent twice, may be about to store it."""
        for _ in range(_MAX_LOOKUPS):
            self.clock.sleep(_PAUSE_SECONDS)
            item_id = self._linked_before(candidate.request, candidate.public_token)
            item_id = item_id or self._continued(candidate, self.validator.begin(candidate, self.clock.now()), context)
            if item_id is not None:
                return item_id
        return None

    def _exchange(self, public_token: str) -> ExchangedItem:
        try:
            return self.plaid.exchange(public_token)
        except OutcomeUnknownError as error:
            raise ExchangeUnknownError(error.code) from error
        except PlaidError as error:
            if not error.code.startswith(_GATEWAY_CODE_PREFIX):
                raise
            raise ExchangeUnknownError(error.code, error.request_id) from error

    # ---- after the exchange: the Item is stored, or removed at Plaid

    def _complete(
        self,
        candidate: LinkCandidate,
        progress: LinkProgress,
        exchanged: ExchangedItem,
        item_id: ItemId,
        context: RequestContext,
    ) -> ItemId:
        progress = replace(progress, item_id=item_id)
        try:
            if not exchanged.ciphertext:
                progress = replace(progress, request_id=exchanged.request_id)
                exchanged = self._saved(progress, item_id, exchanged)
            candidate = self._with_accounts(candidate, exchanged)
            self._register(candidate, progress, item_id, exchanged, context)
        except ClaimHeldError as error:
            self._undo_duplicate(progress, exchanged, error.holder)
            raise self._duplicate(error.holder, candidate.added.institution_id, context, exchanged=True) from error
        except Exception as error:
            if self._is_stored(item_id, candidate.client_user_id):
                item = self.items.load(item_id)
                return item_id if item is None else self.validator.confirm(item, candidate.request)
            self._remove(exchanged)
            self._close(progress)
            code = error.code if isinstance(error, (PlaidError, TransientError)) else type(error).__name__
            raise LinkRolledBackError(code) from error
        return item_id

    def _saved(self, progress: LinkProgress, item_id: ItemId, exchanged: ExchangedItem) -> ExchangedItem:
        """Store the access token: if this request dies, it can be repeated, and else the Item is rolled back."""
        ciphertext = self.tokens.encrypt(item_id, exchanged.access_token)
        self.registrations.record_exchange(self._kept(progress), item_id, ciphertext, self.clock.now())
        return replace(exchanged, ciphertext=ciphertext)

    def _with_accounts(self, candidate: LinkCandidate, exchanged: ExchangedItem) -> LinkCandidate:
        """Return the connection with its institution and accounts: Plaid's word on the Item, if the session had none.

        An Item whose accounts cannot be listed now is stored without them, and its claims follow its accounts later:
        the user has gone through Link, and a duplicate that is found later does less harm than a failed link.

        Raises:
            PlaidError: Plaid has no such Item, or never serves it.
        """
        added = candidate.added
        if added.is_complete:
            return candidate
        try:
            listed = self.accounts.accounts(exchanged.access_token)
        except PlaidError as error:
            if error.failure_class is FailureClass.TERMINAL or error.code == DEAD_TOKEN:
                raise
            return candidate
        except TransientError:
            return candidate
        institution_id, now = listed.health.institution_id or added.institution_id, self.clock.now()
        accounts = bounded(replace(account, as_of=now) for account in listed.accounts)
        return replace(
            candidate,
            added=replace(added, institution_id=institution_id, accounts=accounts or added.accounts, as_of=now),
        )

    def _register(
        self,
        candidate: LinkCandidate,
        progress: LinkProgress,
        item_id: ItemId,
        exchanged: ExchangedItem,
        context: RequestContext,
    ) -> None:
        """Store the Item with its account claims.

        Raises:
            ClaimHeldError: another Item holds one of the accounts.
        """
        now = self.clock.now()
        holders = self.validator.holders(candidate, candidate.claim_keys)
        holder = holders.duplicate or holders.existing_item
        if holder is not None and holder.item_id != item_id:
            raise ClaimHeldError(holder.item_id)
        item = Item(
            item_id=item_id,
            state=ItemState(StateName.ACTIVE),
            access_token=exchanged.ciphertext,
            days_requested=candidate.days_requested or MAX_HISTORY_DAYS,
            linked_at=now,
            link_id=candidate.link_id,
            client_user_id=candidate.client_user_id,
            institution_id=candidate.added.institution_id,
            accounts=candidate.added.accounts,
            accounts_checked_at=candidate.added.as_of,
            # The first sync lists the accounts where they are unknown, and lets the claims follow.
            pending_checks=() if candidate.added.is_complete else (PendingCheck(CHECK_ACCOUNTS, now),),
            bank_login_ids=frozenset(candidate.claim_keys),
        )
        entry = context.entry(
            item_id,
            now,
            "linked",
            DetailType.LINKED,
            plaid_request_ids=known_request_ids(candidate.added.request_id, progress.request_id),
            replaces=candidate.request.replace,
            link_results=candidate.listed,
        )
        replacement = candidate.replacement(item_id, now, context)
        stored = self._kept(progress)
        self.registrations.register(Registration(item, stored, entry, holders.releasable_item_ids, replacement))

    # ---- rolling back

    def _duplicate(
        self, holder: ItemId | None, institution_id: str | None, context: RequestContext, *, exchanged: bool = False
    ) -> RefusedError:
        """Return the refusal of a duplicate; if its bank may have ended the older connection, have that one checked."""
        ends_older = institution_id in ENDS_OLDER_CONNECTION
        if holder is not None and ends_older:
            with suppress(RefusedError, TransientError):
                self.check_item(holder, context)
        return duplicate_item_error(holder, exchanged=exchanged, ends_older=ends_older)

    def _undo_duplicate(self, progress: LinkProgress, exchanged: ExchangedItem, holder: ItemId | None) -> None:
        """Remove a duplicate at Plaid; a repeat of the request does the same."""
        found = replace(progress, duplicate_of=holder)
        with suppress(TransientError):
            self.links.save_progress(found)
        self._remove(exchanged)
        self._close(found)

    def _close(self, progress: LinkProgress) -> None:
        """Drop the access token of an Item that is removed at Plaid; if that fails, a repeat removes it again."""
        with suppress(TransientError):
            if progress.item_id is not None:
                self.items.record_rolled_back(progress.item_id)
            self.links.save_progress(self._kept(progress))

    def _kept(self, progress: LinkProgress) -> LinkProgress:
        return replace(progress, expires_at=self.clock.now() + PROGRESS_TTL)

    def _is_stored(self, item_id: ItemId, client_user_id: str | None) -> bool:
        """Return whether the Item is stored although the response is lost; if it is not, it never will be."""
        try:
            return self.registrations.block_registration(item_id, client_user_id)
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
