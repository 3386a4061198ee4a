"""Linking: a public token becomes a registered Item, and never an orphan that is billed and unknown.

A public token works once, so that after the exchange there are two ways on: the Item is stored (and a retry
with the same public token completes whatever is missing), or it is removed at Plaid.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core.failures import PlaidError, PlaidSyncError, RetryableError
from plaid_sync.core.items import MAXIMUM_HISTORY_DAYS, ItemId
from plaid_sync.core.triggers import Cause, SyncTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.ports import Clock, LinkItems, PlaidLink, SyncQueue, TokenEncryptor

_REMOVAL_TRIES: Final = 3
_ADOPTION_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_USED_TOKEN_CODE: Final = "INVALID_PUBLIC_TOKEN"  # noqa: S105 - an error code


@dataclass(frozen=True, slots=True)
class ExchangedItem:
    """What Plaid gives for a public token."""

    item_id: ItemId
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewItem:
    """An Item to be stored.

    Attributes:
        access_token: ciphertext.
        link_id: digest of the public token: a retry finds its Item by it.
    """

    item_id: ItemId
    access_token: bytes
    link_id: str
    days_requested: int
    linked_at: datetime


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """The body of `POST /items`.

    Attributes:
        days_requested: how many days of history to ask for, 1 to 730.
    """

    public_token: str = field(repr=False)
    days_requested: int = MAXIMUM_HISTORY_DAYS

    @property
    def link_id(self) -> str:
        """Digest of the public token."""
        return hashlib.sha256(self.public_token.encode()).hexdigest()


class InvalidRequestError(PlaidSyncError):
    """The request can't be served as it is.

    Attributes:
        field: which part of it.
        fix: what to send instead.
    """

    def __init__(self, field_name: str, fix: str) -> None:
        super().__init__(f"{field_name}: {fix}")
        self.field = field_name
        self.fix = fix


class LinkUndoneError(PlaidSyncError):
    """The Item could not be kept, so it was removed at Plaid again: nothing is left, link anew.

    Attributes:
        code: why it could not be kept.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the Item was removed at Plaid again: {code}")
        self.code = code


class ItemOrphanedError(PlaidSyncError):
    """The Item could neither be kept nor removed: Plaid's support has to remove it.

    Attributes:
        item_id: which.
    """

    def __init__(self, item_id: ItemId) -> None:
        super().__init__(f"Item {item_id} exists at Plaid but could be neither stored nor removed")
        self.item_id = item_id


def parse_link_request(body: object) -> LinkRequest:
    """Check the parsed body of `POST /items`.

    Raises:
        InvalidRequestError: it names the field and the fix.
    """
    if not isinstance(body, dict):
        raise InvalidRequestError("body", 'send a JSON object, {"public_token": "public-..."}')
    unknown = sorted(set(body) - {"public_token", "days_requested"})
    if unknown:
        name = str(unknown[0]).encode("ascii", "backslashreplace").decode()
        raise InvalidRequestError(name, "is not a field of this request: leave it out")
    return LinkRequest(_public_token(body), _days_requested(body))


def _public_token(body: dict[str, Any]) -> str:
    token = body.get("public_token")
    if not isinstance(token, str) or not token.startswith("public-") or not token.isascii():
        raise InvalidRequestError("public_token", "send the public token that Link gave, public-...")
    return token


def _days_requested(body: dict[str, Any]) -> int:
    days = body.get("days_requested", MAXIMUM_HISTORY_DAYS)
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MAXIMUM_HISTORY_DAYS:
        raise InvalidRequestError("days_requested", f"send a whole number from 1 to {MAXIMUM_HISTORY_DAYS}")
    return days


@dataclass(frozen=True, slots=True)
class Linker:
    """Links Items.

    Attributes:
        pause: waits so many seconds.
    """

    plaid: PlaidLink
    tokens: TokenEncryptor
    items: LinkItems
    queue: SyncQueue
    clock: Clock
    pause: Callable[[float], None]

    def link(self, request: LinkRequest) -> ItemId:
        """Exchange, encrypt, store and enqueue the first sync; a retry completes what is missing.

        Raises:
            PlaidError: Plaid did not exchange the token; nothing exists.
            LinkUndoneError: the Item could not be stored and was removed again.
            ItemOrphanedError: it could not even be removed.
            RetryableError: nothing was exchanged, or the Item is stored and only its first sync is not enqueued:
                send the same request again.
        """
        item_id = self.items.adopt(request.link_id) or self._link_anew(request)
        self.queue.send(SyncTrigger(item_id, Cause.LINKED), str(uuid.uuid4()))
        return item_id

    def _link_anew(self, request: LinkRequest) -> ItemId:
        try:
            return self._exchange_and_register(request)
        except PlaidError as error:
            if error.code != _USED_TOKEN_CODE:
                raise
            # Perhaps by the same request, sent twice, which is about to store the Item.
            for _ in range(_ADOPTION_TRIES):
                self.pause(_PAUSE_SECONDS)
                if (item_id := self.items.adopt(request.link_id)) is not None:
                    return item_id
            raise

    def _exchange_and_register(self, request: LinkRequest) -> ItemId:
        exchanged = self.plaid.exchange(request.public_token)
        try:
            ciphertext = self.tokens.encrypt(exchanged.item_id, exchanged.access_token)
            self.items.register(
                NewItem(exchanged.item_id, ciphertext, request.link_id, request.days_requested, self.clock())
            )
        except Exception as error:
            if self._kept_by_another_request(exchanged.item_id, request.link_id):
                return exchanged.item_id
            self._remove(exchanged)
            code = error.code if isinstance(error, RetryableError) else type(error).__name__
            raise LinkUndoneError(code) from error
        return exchanged.item_id

    def _kept_by_another_request(self, item_id: ItemId, link_id: str) -> bool:
        """Take back the registration, if it arrived although its answer did not; tell whether it must stay.

        It must when a repeat of this request has found it and was answered, or a sync has begun.
        """
        try:
            return not self.items.forget(item_id, link_id)
        except RetryableError:
            # Unknown, and an Item that is billed and unknown is worse than one whose first sync finds it gone.
            return False

    def _remove(self, exchanged: ExchangedItem) -> None:
        for left in reversed(range(_REMOVAL_TRIES)):
            try:
                self.plaid.remove(exchanged.access_token)
            except (PlaidError, RetryableError) as error:
                if not left:
                    raise ItemOrphanedError(exchanged.item_id) from error
                self.pause(_PAUSE_SECONDS)
            else:
                return
