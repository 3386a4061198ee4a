"""The accounts of an Item: Plaid's objects, and what the engine has concluded about each.

A webhook about an account is a hint, and a sync response lists only accounts with transactions. So only /accounts/get
decides: an account that it does not list is gone, or withdrawn where a webhook said so, and one that it lists again has
returned (docs/items.md, "Accounts").
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

MAX_ACCOUNTS_BYTES: Final = 200_000
"""Bytes of an Item's accounts before they are compressed: some eight hundred each. DynamoDB takes 400 KB, all other
attributes of the Item included."""
_ACCOUNT_OVERHEAD_BYTES: Final = 120
"""The names of an account's fields, and its time, rounded up."""


class AccountState(StrEnum):
    """What the engine has concluded about an account."""

    LISTED = "listed"
    """Plaid lists it."""
    GONE = "gone"
    """Plaid no longer lists it: it was closed, renumbered or deselected. Its rows leave the live rows, or stay."""
    WITHDRAWN = "withdrawn"
    """Plaid no longer lists it, and a webhook said that the user withdrew it: its rows are erased."""
    ERASED = "erased"
    """It was erased through the API: no row of it is kept until it is restored."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account of an Item, as Plaid names it.

    Attributes:
        mask: the last two to four characters of its number.
        kind: Plaid's `type`.
        plaid: Plaid's whole object, balances included, losslessly: JSON with sorted keys; None where only the above is
            known.
        as_of: when Plaid served the object. Its balances are those of Plaid's last contact with the bank.
    """

    account_id: str
    name: str | None = None
    mask: str | None = None
    kind: str | None = None
    subtype: str | None = None
    plaid: bytes | None = field(default=None, repr=False)
    as_of: datetime | None = None

    @property
    def plaid_object(self) -> dict[str, Any]:
        """Plaid's object with exact decimals; empty where it is not known, or unreadable."""
        try:
            document = exact_json.loads(self.plaid or b"")
        except exact_json.InvalidJsonError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def size(self) -> int:
        """About how many bytes it takes before it is compressed, rounded up."""
        texts = (self.account_id, self.name, self.mask, self.kind, self.subtype)
        return _ACCOUNT_OVERHEAD_BYTES + len(self.plaid or b"") + sum(len(text.encode()) for text in texts if text)


@dataclass(frozen=True, slots=True)
class AccountStates:
    """The accounts of an Item that are not simply listed, by their ids."""

    gone: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    erased: frozenset[str] = frozenset()

    def of(self, account_id: str) -> AccountState:
        """Return the state of an account."""
        if account_id in self.erased:
            return AccountState.ERASED
        if account_id in self.withdrawn:
            return AccountState.WITHDRAWN
        return AccountState.GONE if account_id in self.gone else AccountState.LISTED

    @property
    def without_content(self) -> frozenset[str]:
        """The accounts of which nothing is kept."""
        return self.withdrawn | self.erased

    def without_rows(self, *, keeps_gone: bool) -> frozenset[str]:
        """Return the accounts of which no row may be live.

        Args:
            keeps_gone: whether the rows of gone accounts stay.
        """
        return self.without_content if keeps_gone else self.without_content | self.gone

    @property
    def unlisted(self) -> frozenset[str]:
        """The accounts that Plaid no longer listed when they were last compared."""
        return self.gone | self.withdrawn

    @property
    def all(self) -> frozenset[str]:
        """Every account in a state other than listed."""
        return self.gone | self.withdrawn | self.erased


NO_ACCOUNT_STATES: Final = AccountStates()


@dataclass(frozen=True, slots=True)
class AccountComparison:
    """What /accounts/get says about the accounts of an Item.

    Attributes:
        accounts: those that Plaid lists, and the gone ones, as last seen.
        gone: accounts that are gone since the last comparison; likewise `withdrawn` and `returned`.
        unconfirmed: accounts that a webhook said the user withdrew, and whose absence the list does not show.
    """

    accounts: tuple[Account, ...]
    states: AccountStates
    gone: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    returned: frozenset[str] = frozenset()
    unconfirmed: frozenset[str] = frozenset()

    @property
    def changed(self) -> frozenset[str]:
        """The accounts whose state changed."""
        return self.gone | self.withdrawn | self.returned


def compare_accounts(
    known: tuple[Account, ...],
    states: AccountStates,
    listed: tuple[Account, ...],
    reported_withdrawn: Collection[str],
    *,
    complete: bool,
) -> AccountComparison:
    """Compare the known accounts with Plaid's list of them.

    Args:
        known: the Item's accounts, as last seen.
        states: the conclusions so far.
        listed: what /accounts/get lists.
        reported_withdrawn: the accounts that a webhook said the user withdrew.
        complete: whether the whole list was readable: else nothing is concluded from absence.
    """
    ids, known_ids = {account.account_id for account in listed}, {account.account_id for account in known}
    reported = frozenset(reported_withdrawn) - states.erased
    absent = frozenset(known_ids | reported) - ids if complete else frozenset()
    withdrawn = (absent & reported) - states.withdrawn
    gone = absent - reported - states.all
    returned = states.unlisted & ids
    after = AccountStates(
        gone=(states.gone | gone) - withdrawn - returned,
        withdrawn=(states.withdrawn | withdrawn) - returned,
        erased=states.erased,
    )
    left = {account.account_id: account for account in (*known, *listed)}
    return AccountComparison(
        accounts=bounded(account for account in left.values() if account.account_id not in after.without_content),
        states=after,
        gone=gone,
        withdrawn=withdrawn,
        returned=returned,
        unconfirmed=reported - after.withdrawn,
    )


def merge_accounts(known: tuple[Account, ...], seen: Iterable[Account]) -> tuple[Account, ...]:
    """Return the known accounts, updated and extended: a sync response lists accounts with transactions only."""
    return bounded({account.account_id: account for account in (*known, *seen)}.values())


def bounded(accounts: Iterable[Account]) -> tuple[Account, ...]:
    """Return the accounts within `MAX_ACCOUNTS_BYTES`: beyond, without Plaid's objects, and the oldest are dropped."""
    kept = list(accounts)
    if sum(account.size for account in kept) > MAX_ACCOUNTS_BYTES:
        kept = [replace(account, plaid=None) for account in kept]
    excess = sum(account.size for account in kept) - MAX_ACCOUNTS_BYTES
    while excess > 0:
        excess -= kept.pop(0).size
    return tuple(kept)
