"""Accounts of an Item, as Plaid lists them: what tells them apart, and no balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core.items import Account
from plaid_sync.core.plain_text import is_plain

if TYPE_CHECKING:
    from collections.abc import Collection

_LONGEST_NAME: Final = 200
_MOST_ACCOUNTS: Final = 200


def parse_accounts(listed: object, id_field: str = "account_id") -> tuple[Account, ...]:
    """Read Plaid's list of accounts; what can't be read only informs, and is left out."""
    if not isinstance(listed, list):
        return ()
    accounts = [_account(entry, id_field) for entry in listed[:_MOST_ACCOUNTS] if isinstance(entry, dict)]
    return tuple(account for account in accounts if account is not None)


def merged(known: tuple[Account, ...], told: tuple[Account, ...]) -> tuple[Account, ...]:
    """Return what is known, renewed and extended by what was told: a sync tells of accounts with transactions only."""
    return tuple({account.account_id: account for account in (*known, *told)}.values())


def shared(accounts: tuple[Account, ...], revoked: Collection[str]) -> tuple[Account, ...]:
    """Leave out the accounts that the user has withdrawn."""
    return tuple(account for account in accounts if account.account_id not in revoked)


def _account(entry: dict[str, Any], id_field: str) -> Account | None:
    account_id = entry.get(id_field)
    if not is_plain(account_id):
        return None
    return Account(
        account_id, _text(entry, "name"), _text(entry, "mask"), _text(entry, "type"), _text(entry, "subtype")
    )


def _text(entry: dict[str, Any], field: str) -> str | None:
    value = entry.get(field)
    if not isinstance(value, str) or not value or any("\ud800" <= letter <= "\udfff" for letter in value):
        return None
    return value[:_LONGEST_NAME]
