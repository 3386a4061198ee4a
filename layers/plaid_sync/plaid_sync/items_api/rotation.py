"""The rotation of an Item's access token, as after a leak.

The old token is dead at once, and the new one exists only in Plaid's response. So the key and the table are used before
the call, the intent is recorded, and the new token is stored as often as it takes. If the process dies in between, the
Item shows an incomplete rotation; the same request, sent again, finds out what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.errors import (
    ITEM_MODIFIED,
    TOKEN_ROTATING,
    AccessTokenLostError,
    OutcomeUnknownError,
    PlaidError,
    TransientError,
    says_token_is_dead,
)
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.requests import known_request_ids, require_allowed
from plaid_sync.domain.transitions import EventType

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.ports import SyncQueue
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.items_api.ports import ApiItems, PlaidItemCalls, RotatedToken, TokenCipher
    from plaid_sync.items_api.views import View

_MAX_TRIES: Final = 3
_PAUSE_SECONDS: Final = 1.0
_CHECK_SECONDS: Final = 15.0
_STORE_SECONDS: Final = 20.0
"""A try to store the token at its slowest: encrypting 9, the transaction 9 and its pauses 2."""
ROTATION_SECONDS: Final = 100.0
"""From the call to the end: the secret 9, the call 17, /item/get 15, and three tries to store the token."""


@dataclass(frozen=True, slots=True)
class TokenRotation:
    """Replaces access tokens."""

    items: ApiItems
    tokens: TokenCipher
    plaid: PlaidItemCalls
    queue: SyncQueue
    clock: Clock

    def rotate(self, item_id: ItemId, context: RequestContext) -> View:
        """Replace the access token of an Item.

        Raises:
            RefusedError: there is no such Item, or it is removed.
            PlaidError: Plaid refused; the old token is still valid, or the Item shows that this is unknown.
            AccessTokenLostError: the old token is dead, and the new one is lost.
            TransientError: nothing was replaced, or that is unknown, or another request is at it: send the same
                request again.
        """
        if not context.deadline.allows(ROTATION_SECONDS):
            raise TransientError("not_enough_time_to_rotate")
        item = self._load(item_id)
        access_token = self.tokens.decrypt(item_id, item.access_token)
        # The key works, also for encryption, and so does the table: before the old token is dead.
        self.tokens.encrypt(item_id, access_token)
        # Whether the stored token survived a rotation that was not completed.
        if item.token_rotation_began_at is not None and not token_is_valid(self.plaid, access_token):
            raise AccessTokenLostError(item_id)
        began_at = self._begin(item, context)
        rotated = self._replace(item_id, access_token, began_at, context)
        self._store(item_id, rotated, began_at, context)
        self.queue.send(SyncMessage(item_id, Cause.REQUEST))
        return {"rotated_at": format_timestamp(self.clock.now())}

    def _load(self, item_id: ItemId) -> Item:
        item = require_allowed(self.items.load(item_id), EventType.ROTATE_TOKEN)
        if item.token_is_rotating(self.clock.now()):
            # Its token may be dead at any moment, and only that request has the new one.
            raise TransientError(TOKEN_ROTATING)
        return item

    def _begin(self, item: Item, context: RequestContext) -> datetime:
        """Record the intent; from now on no attempt with the old token can record anything."""
        loaded = item
        for _ in range(_MAX_TRIES):
            now = self.clock.now()
            if self.items.begin_token_rotation(loaded, context.entry(item.item_id, now, "token_rotation_began")):
                return now
            loaded = self._load(item.item_id)
            if loaded.access_token != item.access_token:
                break
        raise TransientError(ITEM_MODIFIED)

    def _replace(self, item_id: ItemId, access_token: str, began_at: datetime, context: RequestContext) -> RotatedToken:
        try:
            return self.plaid.invalidate_access_token(access_token)
        except (PlaidError, TransientError) as error:
            never_sent = isinstance(error, TransientError) and not isinstance(error, OutcomeUnknownError)
            request_id = error.request_id if isinstance(error, PlaidError) else ""
            # A refusal proves nothing: a gateway's, or one after the effect, comes although the token was replaced.
            if not never_sent and not token_is_valid(self.plaid, access_token):
                raise AccessTokenLostError(item_id, request_id) from error
            self._give_up(item_id, began_at, context, error.code, request_id)
            raise

    def _give_up(
        self, item_id: ItemId, began_at: datetime, context: RequestContext, code: str, request_id: str = ""
    ) -> None:
        """Record that the old token is still valid."""
        details = {"code": code, "plaid_request_ids": known_request_ids(request_id)}
        entry = context.entry(item_id, self.clock.now(), "token_rotation_failed", **details)
        self.items.finish_token_rotation(item_id, began_at, None, entry)

    def _store(self, item_id: ItemId, rotated: RotatedToken, began_at: datetime, context: RequestContext) -> None:
        """Store the new token, as often as it takes.

        Raises:
            AccessTokenLostError: it cannot be stored in time, or this rotation is no longer the Item's.
        """
        ciphertext: bytes | None = None
        while True:
            try:
                # Once: by its ciphertext, a token that was stored although the response was lost is recognized.
                ciphertext = ciphertext or self.tokens.encrypt(item_id, rotated.access_token)
                stored = self._is_stored(item_id, rotated, ciphertext, began_at, context)
            except TransientError as error:
                if not context.deadline.allows(_STORE_SECONDS):
                    raise AccessTokenLostError(item_id, rotated.request_id) from error
                self.clock.sleep(_PAUSE_SECONDS)
                continue
            if not stored:
                raise AccessTokenLostError(item_id, rotated.request_id)
            return

    def _is_stored(
        self, item_id: ItemId, rotated: RotatedToken, ciphertext: bytes, began_at: datetime, context: RequestContext
    ) -> bool:
        request_ids = known_request_ids(rotated.request_id)
        entry = context.entry(item_id, self.clock.now(), "token_rotated", plaid_request_ids=request_ids)
        if self.items.finish_token_rotation(item_id, began_at, ciphertext, entry):
            return True
        item = self.items.load(item_id)
        return item is not None and item.access_token == ciphertext


def token_is_valid(plaid: PlaidItemCalls, access_token: str) -> bool:
    """Return whether Plaid accepts an access token, which a rotation may have replaced.

    Raises:
        TransientError: Plaid was unreachable.
    """
    try:
        plaid.health(access_token, _CHECK_SECONDS)
    except PlaidError as error:
        return not says_token_is_dead(error)
    return True
