"""Ports of linking."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from plaid_sync.domain.ports import TokenDecryptor, TokenEncryptor

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import AccountList, Item, ItemId
    from plaid_sync.linking.requests import LinkTokenParameters
    from plaid_sync.linking.sessions import (
        AccountClaim,
        ExchangedItem,
        LinkProgress,
        LinkResults,
        LinkSession,
        LinkToken,
        Registration,
    )


class PlaidLink(Protocol):
    """Plaid's endpoints that link an Item."""

    def link_results(self, link_token: str) -> LinkResults:
        """Return the results of a link token so far.

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable, or did not respond as documented.
        """
        ...

    def exchange(self, public_token: str) -> ExchangedItem:
        """Exchange a public token, which works once, for an Item and its access token.

        Raises:
            PlaidError: Plaid refused.
            OutcomeUnknownError: Plaid's response is lost: whether the exchange happened is unknown.
            TransientError: nothing was exchanged.
        """
        ...


class PlaidAccounts(Protocol):
    """Plaid's /accounts/get."""

    def accounts(self, access_token: str) -> AccountList:
        """Return the Item's accounts, with Plaid's report about the Item.

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable, or did not respond as documented.
        """
        ...


@dataclass(frozen=True, slots=True)
class DescribedItem:
    """An Item that another system linked, as Plaid describes it.

    Attributes:
        institution_id: the bank, where Plaid names one.
        webhook: where Plaid sends its webhooks; None for nowhere.
        error_code: what is wrong with it; None when nothing is.
        request_id: Plaid's id of the call; empty where there was none.
    """

    item_id: ItemId
    institution_id: str | None = None
    webhook: str | None = field(default=None, repr=False)
    error_code: str | None = None
    request_id: str = ""


class PlaidImports(PlaidAccounts, Protocol):
    """Plaid's endpoints about an Item that another system linked."""

    def describe(self, access_token: str) -> DescribedItem:
        """Return which Item an access token is of (/item/get).

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable, or did not respond as documented.
        """
        ...


class PlaidLinkTokens(Protocol):
    """Plaid's /link/token/create."""

    def create_link_token(self, parameters: LinkTokenParameters) -> LinkToken:
        """Create a link token.

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable, or did not respond as documented.
        """
        ...


class TokenCipher(TokenEncryptor, TokenDecryptor, Protocol):
    """Encrypts and decrypts access tokens."""


class LinkItems(Protocol):
    """The Items that linking reads."""

    def load(self, item_id: ItemId) -> Item | None:
        """Return an Item, consistently; None where there is none.

        Raises:
            TransientError: the table cannot be read now.
        """
        ...


class UserItems(Protocol):
    """The index of Items by user; eventually consistent."""

    def page(
        self, client_user_id: str | None, state: str | None, limit: int, after: dict[str, str] | None
    ) -> tuple[list[Item], dict[str, str] | None]:
        """Return up to `limit` Items of a user, as far as the index has them.

        Raises:
            TransientError: the index cannot be read now.
        """
        ...


class ErasableItems(LinkItems, Protocol):
    """Items that are replaced, whose rows can be erased after their removal, and those that are not registered yet."""

    def exchanged_token(self, item_id: ItemId, link_id: str) -> bytes | None:
        """Return the encrypted token of an Item that is not registered yet; empty once its rollback began.

        Returns:
            None where there is no such Item, or it is registered.

        Raises:
            TransientError: the table cannot be read now.
        """
        ...

    def record_rolled_back(self, item_id: ItemId) -> None:
        """Drop the token of an Item that Plaid removed before it was registered; from now on it never is.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...

    def also_erase_transactions(self, item: Item, entry: HistoryEntry) -> bool:
        """Erase the rows of a removed Item that kept them; return False where it was modified since it was loaded.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...


class LinkIndex(Protocol):
    """The index of Items by the public token that they were linked with; eventually consistent."""

    def id_by_link(self, link_id: str) -> ItemId | None:
        """Return the Item that the public token with this digest was exchanged for.

        Raises:
            TransientError: the index cannot be read now.
        """
        ...


class Registrations(Protocol):
    """Stores linked Items with their account claims. All raise `TransientError`."""

    def record_exchange(self, progress: LinkProgress, item_id: ItemId, access_token: bytes, now: datetime) -> None:
        """Store the progress of a link, and its Item with the encrypted token; unregistered, it is rolled back.

        Where the Item is stored already, only the progress is stored.
        """
        ...

    def register(self, registration: Registration) -> None:
        """Store a registration, all or nothing. Stored again, it changes nothing that a sync wrote.

        Raises:
            ClaimHeldError: another Item holds one of the accounts: nothing is stored.
            TransientError: also while the user is being erased.
        """
        ...

    def register_imported(self, registration: Registration) -> None:
        """Store the registration of an Item that another system linked, all or nothing.

        Raises:
            ClaimHeldError: another Item holds one of the accounts: nothing is stored.
            TransientError: also where the Item is stored already, and while the user is being erased.
        """
        ...

    def block_registration(self, item_id: ItemId, client_user_id: str | None) -> bool:
        """Return whether an Item of a user is stored; if it is not, guarantee that it never will be."""
        ...


class Links(Protocol):
    """The Links table. All raise `TransientError`."""

    def add_session(self, session: LinkSession) -> None:
        """Store a link session; replaces a stored one.

        Raises:
            RefusedError: the user is being erased.
        """
        ...

    def session(self, key: str, now: datetime) -> LinkSession | None:
        """Return a link session that has not expired."""
        ...

    def begin(self, progress: LinkProgress, session: LinkSession | None) -> LinkProgress:
        """Record that a session takes a public token, unless that has begun; return how far it is.

        Raises:
            TransientError: also where the session has taken another public token since it was loaded.
        """
        ...

    def save_progress(self, progress: LinkProgress) -> None:
        """Store how far the link of a public token is."""
        ...

    def claims(self, keys: Collection[str]) -> Mapping[str, AccountClaim]:
        """Return those of the account claims that are held, consistently."""
        ...
