"""The export of an Item's access token, for another system that goes on with the Item at Plaid.

The token leaves encrypted to a public key that the caller gives, so that neither logs nor the caller's terminal have
it. The export is recorded first, in the Item and in its history: without the record, nothing is given out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.errors import ITEM_MODIFIED, TOKEN_ROTATING, AccessTokenLostError, TransientError
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.requests import require_allowed
from plaid_sync.domain.transitions import EventType
from plaid_sync.items_api.rotation import token_is_valid
from plaid_sync.items_api.views import drop_none

if TYPE_CHECKING:
    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.ports import TokenDecryptor
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.items_api.ports import ApiItems, PlaidItemCalls, RecipientCipher
    from plaid_sync.items_api.views import View

_MAX_TRIES: Final = 3
PLAID_OPTIONS: Final[dict[str, View]] = {
    "original_description": {"include_original_description": True},
    "v1": {"personal_finance_category_version": "v1"},
    "v2": {"personal_finance_category_version": "v2"},
}
"""Plaid's options of /transactions/sync, by their names in `Item.pulled_with`."""


@dataclass(frozen=True, slots=True)
class TokenExport:
    """Exports access tokens.

    Attributes:
        environment: Plaid's environment, in which the tokens are valid.
    """

    items: ApiItems
    tokens: TokenDecryptor
    plaid: PlaidItemCalls
    cipher: RecipientCipher
    clock: Clock
    environment: str

    def export(self, item_id: ItemId, recipient: str, context: RequestContext) -> View:
        """Return an Item's access token, with what another system needs, encrypted to a recipient.

        Raises:
            RefusedError: there is no such Item, or it is removed.
            InvalidRequestError: the recipient is no public key.
            AccessTokenLostError: the token is dead, and the one that replaced it is lost.
            TransientError: nothing was given out, although the history may have an entry: send the request again.
        """
        for _ in range(_MAX_TRIES):
            item = self._load(item_id)
            access_token = self.tokens.decrypt(item_id, item.access_token)
            if item.token_rotation_began_at is not None and not token_is_valid(self.plaid, access_token):
                raise AccessTokenLostError(item_id)
            # With its end, several documents are JSON Lines.
            line = exact_json.dumps(self._document(item, access_token, context.webhook_url)) + "\n"
            encrypted, now = self.cipher.encrypt(line, recipient), self.clock.now()
            entry = context.entry(item_id, now, "token_exported", DetailType.TOKEN_EXPORTED, recipient=recipient)
            # Only while the Item is as it was loaded: the token is the valid one, and the cursor the committed one.
            if self.items.record_token_export(item, entry):
                return drop_none(
                    item_id=item_id,
                    client_user_id=item.client_user_id,
                    institution_id=item.institution_id,
                    exported_at=format_timestamp(now),
                    recipient=recipient,
                    encrypted=encrypted,
                )
        raise TransientError(ITEM_MODIFIED)

    def _load(self, item_id: ItemId) -> Item:
        item = require_allowed(self.items.load(item_id), EventType.EXPORT_TOKEN)
        if item.token_is_rotating(self.clock.now()):
            # Its token may be dead at any moment.
            raise TransientError(TOKEN_ROTATING)
        return item

    def _document(self, item: Item, access_token: str, webhook_url: str) -> View:
        """Return what is encrypted.

        Without a cursor where rows may be missing up to it, or be ahead of it: the other system has to pull from the
        beginning.
        """
        incomplete = item.reconcile or item.writing_since is not None
        options = {name: value for word in item.pulled_with.split() for name, value in _option(word).items()}
        return drop_none(
            access_token=access_token,
            client_user_id=item.client_user_id,
            cursor=None if incomplete else item.cursor,
            item_id=item.item_id,
            institution_id=item.institution_id,
            environment=self.environment,
            options=options | drop_none(days_requested=item.days_requested),
            webhook=webhook_url,
        )


def _option(word: str) -> View:
    return PLAID_OPTIONS.get(word, {})
