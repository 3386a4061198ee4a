"""Link sessions, and what is stored when an Item is linked.

A public token is accepted only for the user that its link token was created for: the session is stored with the
reference of the user, and takes one public token unless it links several Items. Where /link/token/get lists the
session's public tokens, only those are accepted: of Hosted Link always, of other sessions if Plaid enabled the client
for that (https://plaid.com/docs/api/link/#linktokenget). No bank account is linked twice for one user
(`domain.claims`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.claims import digest
from plaid_sync.domain.errors import PlaidSyncError

if TYPE_CHECKING:
    from plaid_sync.domain.accounts import Account
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import Item, ItemId, ItemState

SESSION_TTL: Final = timedelta(days=1)
"""How long a session is kept after its link token expires: Plaid keeps its results for six hours after its end."""
PROGRESS_TTL: Final = timedelta(days=1)
"""How long the progress of a link is kept once nothing is left to do: a public token is valid for half an hour."""
DEFAULT_LINK_TOKEN_TTL: Final = timedelta(hours=4)
"""How long a link token is valid where Plaid's response does not say."""


@dataclass(frozen=True, slots=True)
class LinkSession:
    """A link token, as the Links table stores it.

    Attributes:
        key: the digest that it is stored under.
        client_user_id: the caller's reference of the user that it was created for.
        item_id: the Item whose update mode it opens; None for a new link.
        days_requested: requested days of history; None in update mode.
        expires_at: when it is forgotten.
        link_id: digest of the public token that it took; None before, and where it links several Items.
        created_at: when the link token was created; None where an older version stored it.
        hosted: whether Plaid hosts Link: then Plaid lists the results of the session.
        multi_item: whether it links several Items.
        replace: the Item that its new Item replaces.
        erase: whether the replaced Item's transactions are erased.
    """

    key: str
    client_user_id: str
    item_id: ItemId | None
    days_requested: int | None
    expires_at: datetime
    link_id: str | None = None
    created_at: datetime | None = None
    hosted: bool = False
    multi_item: bool = False
    replace: ItemId | None = None
    erase: bool = False

    def takes(self, link_id: str) -> bool:
        """Return whether it can take the public token with this digest."""
        return self.multi_item or self.link_id in {None, link_id}


class ListedResults(StrEnum):
    """What /link/token/get lists of a session that the application completes."""

    FULL = "full"
    """The public token, with institution and accounts."""
    PARTIAL = "partial"
    """That the session is finished, but not all of that."""
    ABSENT = "absent"
    """Neither: Plaid did not enable the client for it."""


@dataclass(frozen=True, slots=True)
class AddedItem:
    """A bank connection that the user made in Link, before the exchange.

    Attributes:
        institution_id: the bank, where Plaid names one.
        accounts: those that the user shares.
        as_of: when /accounts/get listed them; None where Link did.
        proven: Plaid itself names the public token as the session's.
        listed: what Plaid lists of it; None where there is no session.
        request_id: Plaid's id of the call that listed it; empty where there was none.
    """

    public_token: str = field(repr=False)
    institution_id: str | None = None
    accounts: tuple[Account, ...] = ()
    as_of: datetime | None = None
    proven: bool = False
    listed: ListedResults | None = None
    request_id: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether institution and accounts are known."""
        return self.institution_id is not None and bool(self.accounts)


@dataclass(frozen=True, slots=True)
class LinkResults:
    """The results of a link token so far; the user can open Link with it again.

    Attributes:
        added: the bank connections that were made.
        finished: at least one session ended, other than by leaving Link.
        left: sessions ended, and each of them by leaving Link.
        request_id: Plaid's id of the call; empty where there was none.
        finished_at: when the last of those sessions ended; None where that is unreadable.
    """

    added: tuple[AddedItem, ...] = ()
    finished: bool = False
    left: bool = False
    request_id: str = ""
    finished_at: datetime | None = None

    def of(self, public_token: str) -> AddedItem | None:
        """Return the connection with this public token."""
        return next((added for added in self.added if added.public_token == public_token), None)


@dataclass(frozen=True, slots=True)
class UpdateMode:
    """An update mode that the application reports as finished.

    Attributes:
        began_after: when its link token was created; None where that is unknown.
        finished_at: when the user finished it; None where Plaid does not list that.
        request_id: Plaid's id of the call; empty where there was none.
    """

    began_after: datetime | None
    finished_at: datetime | None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class LinkToken:
    """A link token, which opens Link (https://plaid.com/docs/api/link/#linktokencreate).

    Attributes:
        expiration: when it expires; None where that is unreadable.
        hosted_link_url: where Plaid hosts Link, if that was requested.
        request_id: Plaid's id of the call; empty where there was none.
    """

    link_token: str = field(repr=False)
    expiration: datetime | None = None
    hosted_link_url: str | None = field(default=None, repr=False)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class ExchangedItem:
    """The Item that Plaid exchanged a public token for.

    Attributes:
        item_id: None where the response has none that can be stored: then the Item can only be removed.
        request_id: Plaid's id of the call; empty where there was none.
        ciphertext: the access token, encrypted; empty before it is stored.
    """

    item_id: ItemId | None
    access_token: str = field(repr=False)
    request_id: str = ""
    ciphertext: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class LinkProgress:
    """How far the link of a public token is, so that a repeat of the request continues where the first one died.

    Attributes:
        link_id: digest of the public token.
        session_key: of the session that took it; None where it is linked without one.
        expires_at: when it is forgotten.
        item_id: the Item that it was exchanged for; None before.
        duplicate_of: the Item that holds one of its accounts: then it is removed at Plaid.
        request_id: Plaid's id of the exchange; empty where there was none.
        client_user_id: the caller's reference of the user; None where it is linked without a session.
    """

    link_id: str
    session_key: str | None
    expires_at: datetime
    item_id: ItemId | None = None
    duplicate_of: ItemId | None = None
    request_id: str = ""
    client_user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """The removal of the Item that a new one replaces.

    Attributes:
        state: its state afterwards.
        erase: whether its transactions are erased.
        entry: its history entry.
    """

    item_id: ItemId
    state: ItemState
    erase: bool
    entry: HistoryEntry


@dataclass(frozen=True, slots=True)
class Registration:
    """A linked Item, and everything that is stored with it: all or nothing.

    Attributes:
        item: the new Item; its `bank_login_ids` are the keys of the account claims that it takes.
        progress: of its public token; None where it is imported.
        entry: its history entry.
        releasable_item_ids: Items whose account claims it may take: they are removed, or are replaced.
        replacement: set where it replaces an Item that is not removed yet.
    """

    item: Item
    progress: LinkProgress | None
    entry: HistoryEntry
    releasable_item_ids: frozenset[ItemId] = frozenset()
    replacement: Replacement | None = None


@dataclass(frozen=True, slots=True)
class AccountClaim:
    """An account claim: an Item holds an account of a user.

    Attributes:
        key: the account's (`domain.claims.claim_keys`).
        item_id: the Item that holds it.
        link_id: digest of the public token that the Item was linked with.
        taken_at: when a sync took it; None where the link did.
    """

    key: str
    item_id: ItemId
    link_id: str
    taken_at: datetime | None = None


class ClaimHeldError(PlaidSyncError):
    """Another Item holds one of the accounts.

    Attributes:
        holder: that Item; None where it is unknown.
    """

    def __init__(self, holder: ItemId | None) -> None:
        super().__init__(f"Item {holder} holds one of the accounts")
        self.holder = holder


def session_key(link_token: str) -> str:
    """Return the key that the session of a link token is stored under."""
    return f"session#{digest(link_token)}"


def link_id_of(public_token: str) -> str:
    """Return the digest by which an Item is found when its public token is sent again."""
    return digest(public_token)
