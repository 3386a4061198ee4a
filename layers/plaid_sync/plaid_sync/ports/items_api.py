"""What the Items API needs from the outside, as protocols that the adapters fulfil."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime, timedelta

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Account, ItemId, Standing
    from plaid_sync.core.items_api.account_list import AccountList
    from plaid_sync.core.items_api.item_record import BankContact, ItemRecord
    from plaid_sync.core.lifecycle.health import ItemHealth
    from plaid_sync.core.linking.bank_logins import Claim
    from plaid_sync.core.linking.link_sessions import LinkResults, LinkSession
    from plaid_sync.core.linking.link_tokens import LinkTokenOrder
    from plaid_sync.core.linking.plaid_answers import ExchangedItem, LinkToken
    from plaid_sync.core.linking.registration import Registration

Key = dict[str, str]
"""Where a page ends."""


class PlaidLink(Protocol):
    """Plaid's side of linking an Item."""

    def link_results(self, link_token: str) -> LinkResults:
        """Return what came of a link token so far.

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid could not be reached, or did not answer as documented.
        """
        ...

    def exchange(self, public_token: str) -> ExchangedItem:
        """Exchange a public token, which works once, for an Item and its access token.

        Raises:
            PlaidError: Plaid refused.
            UncertainError: Plaid's answer is lost: whether the exchange happened is unknown.
            RetryableError: nothing was exchanged.
        """
        ...


class PlaidLinkTokens(Protocol):
    """Plaid's /link/token/create."""

    def create_link_token(self, order: LinkTokenOrder) -> LinkToken:
        """Create a link token.

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid could not be reached, or did not answer as documented.
        """
        ...


class PlaidItemCalls(Protocol):
    """Plaid's side of one Item, apart from its transactions. All raise `PlaidError` and `RetryableError`."""

    def health(self, access_token: str, seconds: float) -> ItemHealth:
        """Return how Plaid says that the Item is; wait for the answer so many seconds."""
        ...

    def remove(self, access_token: str) -> None:
        """Remove the Item at Plaid, which ends its billing. Removing a removed Item succeeds."""
        ...

    def accounts(self, access_token: str) -> AccountList:
        """Return the Item's accounts."""
        ...

    def refresh(self, access_token: str) -> str:
        """Have Plaid ask the bank for new transactions; return Plaid's id of the call."""
        ...

    def set_webhook(self, access_token: str, url: str) -> str:
        """Change where the Item's webhooks go; return Plaid's id of the call."""
        ...


class LinkItems(Protocol):
    """The Items table as linking uses it, with the claims that belong to an Item. All raise `RetryableError`."""

    def load(self, item_id: ItemId) -> ItemRecord | None:
        """Return an Item, consistently; None where there is none."""
        ...

    def find_by_link(self, link_id: str) -> ItemRecord | None:
        """Return the Item that the public token with this digest was exchanged for, if it is stored."""
        ...

    def register(self, registration: Registration) -> None:
        """Store a linked Item, its claims, the removal of the one that it replaces, and their history; all or nothing.

        Storing it again changes nothing that a sync has written.

        Raises:
            ClaimHeldError: another Item holds one of its accounts: nothing is stored.
        """
        ...

    def renounce(self, item_id: ItemId) -> bool:
        """Make sure that an Item that is not stored never will be; tell whether it was stored already."""
        ...


class Links(Protocol):
    """The Links table. All raise `RetryableError`."""

    def add_session(self, session: LinkSession) -> None:
        """Store a link session, in the place of what is known of it."""
        ...

    def session(self, key: str, now: datetime) -> LinkSession | None:
        """Return a link session that has not expired."""
        ...

    def claims(self, keys: Collection[str]) -> Mapping[str, Claim]:
        """Return those of the claims that are held, consistently."""
        ...


class ErasableItems(Protocol):
    """Items that are removed, and whose rows can be erased after all. Both raise `RetryableError`."""

    def load(self, item_id: ItemId) -> ItemRecord | None:
        """Return an Item, consistently; None where there is none."""
        ...

    def erase_too(self, record: ItemRecord, entry: HistoryEntry) -> bool:
        """Let the rows of an Item that is removed be erased, after all; False where it is not as it was loaded."""
        ...


class ApiItems(ErasableItems, Protocol):
    """The Items table as the API changes it, each time with its history. All raise `RetryableError`."""

    def remove(self, record: ItemRecord, standing: Standing, entry: HistoryEntry, *, erase: bool) -> bool:
        """Let an Item be removed; False where it is not as it was loaded: load it again."""
        ...

    def stand(self, record: ItemRecord, standing: Standing, entry: HistoryEntry) -> bool:
        """Change how an Item stands; False as above."""
        ...

    def owe_reconciliation(self, item_id: ItemId, entry: HistoryEntry) -> bool:
        """Let the next sync pull from the beginning; False where the Item is removed."""
        ...

    def keep_accounts(self, item_id: ItemId, accounts: tuple[Account, ...], entry: HistoryEntry) -> bool:
        """Store an Item's accounts; False where the Item is removed. A sync that runs goes on."""
        ...

    def keep_bank_contact(self, item_id: ItemId, contact: BankContact) -> None:
        """Store what Plaid says of its contact with the bank, without history; nothing where there is no Item."""
        ...

    def begin_refresh(self, item_id: ItemId, now: datetime, pause: timedelta) -> datetime | None:
        """Mark a refresh, if the last one is so long ago; else return when that was."""
        ...


class ItemLists(Protocol):
    """The Items table's indexes."""

    def page(
        self, client_user_id: str | None, state: str | None, limit: int, after: Key | None
    ) -> tuple[list[ItemRecord], Key | None]:
        """Return up to `limit` Items, those of a user or in a state where that is asked for, and where the page ends.

        Raises:
            InvalidRequestError: `after` is no place in this list.
            RetryableError: the table can't be read now.
        """
        ...


class HistoryPages(Protocol):
    """The history of Items. Both raise `RetryableError`."""

    def add(self, entry: HistoryEntry) -> None:
        """Add an entry; adding it again changes nothing."""
        ...

    def page(self, item_id: ItemId, limit: int, after: str | None = None) -> tuple[list[HistoryEntry], str | None]:
        """Return up to `limit` entries, newest first, and where the page ends."""
        ...


class TransactionPages(Protocol):
    """An Item's live transactions. Both raise `RetryableError`."""

    def page(
        self, item_id: ItemId, account_id: str | None, limit: int, after: Key | None
    ) -> tuple[list[bytes], Key | None]:
        """Return up to `limit` transactions, Plaid's whole objects as JSON, and where the page ends.

        Of one account they come newest first.

        Raises:
            InvalidRequestError: `after` is no place in this list.
        """
        ...

    def count(self, item_id: ItemId) -> tuple[int, bool]:
        """Count them; False where there are more than could be counted."""
        ...
