"""Linking: a public token becomes a registered Item, and never an orphan that is billed and unknown.

A public token works once, so that after the exchange there are two ways on: the Item is stored (and a retry
with the same public token completes whatever is missing), or it is removed at Plaid. Only where the answer to the
exchange itself is lost can neither be done, and the caller and the operator are told so.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.core.failures import PlaidError, PlaidSyncError, RetryableError, UncertainError
from plaid_sync.core.items import MAXIMUM_HISTORY_DAYS
from plaid_sync.core.items_api.asked import request_ids
from plaid_sync.core.items_api.requests import RefusedError
from plaid_sync.core.lifecycle.states import Announcement
from plaid_sync.core.linking.link_requests import link_id_of
from plaid_sync.core.linking.link_wish import duplicate_item
from plaid_sync.core.linking.registration import ClaimHeldError, NewItem, Registration
from plaid_sync.core.linking.session_reader import FORGOTTEN
from plaid_sync.core.triggers import Cause, SyncTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.items_api.asked import Asked
    from plaid_sync.core.linking.link_requests import LinkRequest
    from plaid_sync.core.linking.link_sessions import LinkSession
    from plaid_sync.core.linking.link_wish import LinkWish, LinkWishes
    from plaid_sync.core.linking.plaid_answers import ExchangedItem
    from plaid_sync.ports.common import Clock, SyncQueue, TokenEncryptor
    from plaid_sync.ports.items_api import ErasableItems, LinkItems, PlaidItemCalls, PlaidLink

_REMOVAL_TRIES: Final = 3
_ADOPTION_TRIES: Final = 3
_ERASURE_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_USED_TOKEN_CODE: Final = "INVALID_PUBLIC_TOKEN"  # noqa: S105 - an error code
EXCHANGE_TAKES_SECONDS: Final = 105.0
"""From the exchange to the end, where every call hangs: reading the secret 9, the exchange 15, sealing 9, storing 9,
making sure that nothing is stored 9, looking whether it is 9, three removals of 12, and pauses: one second between the
removals, and twice the 2.4 seconds at most between the five tries of a transaction (see adapters/aws.py,
adapters/plaid/transport.py and adapters/dynamodb/atomic.py). A transaction that is tried again was answered before,
which takes milliseconds."""
_GATEWAYS_CODE: Final = "HTTP_5"
"""How the code of an answer begins that is a gateway's and not Plaid's: it does not say what Plaid has done."""


class LinkUndoneError(PlaidSyncError):
    """The Item could not be kept, so it was removed at Plaid again: nothing is left, link anew.

    Attributes:
        code: why it could not be kept.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the Item was removed at Plaid again: {code}")
        self.code = code


class ExchangeUnknownError(PlaidSyncError):
    """The answer to the exchange is lost: an Item may exist at Plaid whose access token nobody has.

    Attributes:
        code: how it was lost.
        request_id: Plaid's id of the call; empty where none is known.
    """

    def __init__(self, code: str, request_id: str = "") -> None:
        super().__init__(f"whether Plaid has exchanged the public token is unknown: {code}")
        self.code = code
        self.request_id = request_id


class ItemOrphanedError(PlaidSyncError):
    """The Item could neither be kept nor removed: Plaid's support has to remove it.

    Attributes:
        item_id: which; None where Plaid has not said.
        request_id: Plaid's id of its exchange; empty where there was none.
    """

    def __init__(self, item_id: ItemId | None, request_id: str = "") -> None:
        name = f"Item {item_id}" if item_id else f"the Item of the exchange {request_id or 'without an id'}"
        super().__init__(f"{name} exists at Plaid but could be neither stored nor removed")
        self.item_id = item_id
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Linker:
    """Links Items.

    Attributes:
        wishes: finds out what a request may link.
        replaced: the Items that are replaced, once they are removed.
        pause: waits so many seconds.
    """

    wishes: LinkWishes
    plaid: PlaidLink
    calls: PlaidItemCalls
    tokens: TokenEncryptor
    items: LinkItems
    replaced: ErasableItems
    queue: SyncQueue
    clock: Clock
    pause: Callable[[float], None]

    def link(self, request: LinkRequest, asked: Asked) -> ItemId:
        """Exchange, encrypt, store and enqueue the first sync; a retry completes what is missing.

        Raises:
            InvalidRequestError: the request can't be served as it is.
            RefusedError: the session does not allow it, or the bank is linked already; nothing is left at Plaid.
            PlaidError: Plaid did not exchange the token; nothing exists.
            LinkUndoneError: the Item could not be stored and was removed again.
            ItemOrphanedError: it could not even be removed.
            ExchangeUnknownError: Plaid's answer to the exchange is lost: the Item may exist, out of everybody's reach.
            RetryableError: nothing was exchanged, or the Item is stored and only its first sync is not enqueued:
                send the same request again.
        """
        session = self.wishes.session_of(request)
        item_id = self._known(request, request.public_token) or self._link_anew(request, session, asked)
        self.queue.send(SyncTrigger(item_id, Cause.LINKED), str(uuid.uuid4()))
        if request.replace is not None:
            if request.erase:
                self._erase_too(request.replace, asked)
            self.queue.send(SyncTrigger(request.replace, Cause.REQUEST), str(uuid.uuid4()))
        return item_id

    def _erase_too(self, item_id: ItemId, asked: Asked) -> None:
        """Let the rows of the replaced Item be erased, where it was removed before and its rows were kept."""
        for _ in range(_ERASURE_TRIES):
            record = self.replaced.load(item_id)
            if record is None or record.removal is None or record.removal.erase:
                return
            entry = asked.entry(item_id, self.clock(), "erasure_requested", transactions="erase")
            if self.replaced.erase_too(record, entry):
                return
        raise RetryableError("item_changes")

    def _known(self, request: LinkRequest, public_token: str | None) -> ItemId | None:
        """Return the Item that was linked with this public token before."""
        record = None if public_token is None else self.items.find_by_link(link_id_of(public_token))
        return None if record is None else self.wishes.confirm(record, request)

    def _link_anew(self, request: LinkRequest, session: LinkSession | None, asked: Asked) -> ItemId:
        try:
            wish = self.wishes.wish(request, session)
        except RefusedError as error:
            # With Hosted Link, Plaid may have forgotten by now what came of the session: it was linked all the same.
            if error.code not in FORGOTTEN or (known := self._remembered(request, session)) is None:
                raise
            return known
        # The same request, sent twice: it has just been stored, or its public token (of Hosted Link) is known only now.
        if wish.ours is not None:
            return self.wishes.confirm(wish.ours, request)
        if request.public_token is None and (known := self._known(request, wish.public_token)) is not None:
            return known
        if request.public_token is None and session is not None:
            self.wishes.remember(session, wish)
        try:
            return self._exchange_and_register(wish, asked)
        except PlaidError as error:
            if error.code != _USED_TOKEN_CODE:
                raise
            # Perhaps by the same request, sent twice, which is about to store the Item.
            for _ in range(_ADOPTION_TRIES):
                self.pause(_PAUSE_SECONDS)
                if (item_id := self._known(request, wish.public_token)) is not None:
                    return item_id
            raise

    def _remembered(self, request: LinkRequest, session: LinkSession | None) -> ItemId | None:
        """Return the Item that the session without a public token was linked as before."""
        if request.public_token is not None or session is None or session.link_id is None:
            return None
        record = self.items.find_by_link(session.link_id)
        return None if record is None else self.wishes.confirm(record, request)

    def _exchange_and_register(self, wish: LinkWish, asked: Asked) -> ItemId:
        if asked.time_left() < EXCHANGE_TAKES_SECONDS:
            raise RetryableError("no_time_to_exchange")
        exchanged = self._exchange(wish.public_token)
        if exchanged.item_id is None:
            self._remove(exchanged)
            raise LinkUndoneError("item_id_unusable")
        try:
            ciphertext = self.tokens.encrypt(exchanged.item_id, exchanged.access_token)
            self.items.register(self._registration(exchanged.item_id, ciphertext, wish, asked, exchanged.request_id))
        except ClaimHeldError as error:
            self._remove(exchanged)
            raise duplicate_item(error.holder, "the user has to go through Link again, for the other Item") from error
        except Exception as error:
            if self._is_stored(exchanged.item_id):
                return exchanged.item_id
            self._remove(exchanged)
            code = error.code if isinstance(error, RetryableError) else type(error).__name__
            raise LinkUndoneError(code) from error
        return exchanged.item_id

    def _exchange(self, public_token: str) -> ExchangedItem:
        try:
            return self.plaid.exchange(public_token)
        except UncertainError as error:
            raise ExchangeUnknownError(error.code) from error
        except PlaidError as error:
            if not error.code.startswith(_GATEWAYS_CODE):
                raise
            raise ExchangeUnknownError(error.code, error.request_id) from error

    def _registration(
        self, item_id: ItemId, ciphertext: bytes, wish: LinkWish, asked: Asked, request_id: str
    ) -> Registration:
        now = self.clock()
        new = NewItem(
            item_id=item_id,
            access_token=ciphertext,
            link_id=link_id_of(wish.public_token),
            days_requested=wish.days_requested or MAXIMUM_HISTORY_DAYS,
            linked_at=now,
            client_user_id=wish.client_user_id,
            institution_id=wish.added.institution_id,
            accounts=wish.added.accounts,
            claims=wish.claims,
        )
        ids = request_ids(wish.request_id, request_id)
        entry = asked.entry(
            item_id, now, "linked", Announcement.LINKED, plaid_request_ids=ids, replaces=wish.request.replace
        )
        return Registration(new, entry, wish.yielding, self.wishes.replacement(wish, item_id, now, asked))

    def _is_stored(self, item_id: ItemId) -> bool:
        """Tell whether the Item is stored, although the answer did not arrive; if it is not, it never will be."""
        try:
            return self.items.renounce(item_id)
        except RetryableError:
            pass
        try:
            record = self.items.load(item_id)
        except RetryableError:
            # Unknown, and an Item that is billed and unknown is worse than one whose first sync finds it gone.
            return False
        return record is not None and not record.removed

    def _remove(self, exchanged: ExchangedItem) -> None:
        for left in reversed(range(_REMOVAL_TRIES)):
            try:
                self.calls.remove(exchanged.access_token)
            except (PlaidError, RetryableError) as error:
                if not left:
                    raise ItemOrphanedError(exchanged.item_id, exchanged.request_id) from error
                self.pause(_PAUSE_SECONDS)
            else:
                return
