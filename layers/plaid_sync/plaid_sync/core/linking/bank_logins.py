"""Fingerprints of a user's bank accounts, so that no bank is linked twice: both Items would be billed and double rows.

Account ids differ from Item to Item. What stays the same for one user at one bank is the account's name, the last
digits of its number and its subtype (https://plaid.com/docs/link/duplicate-items/).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from plaid_sync.core.items import ItemId
    from plaid_sync.core.linking.link_sessions import AddedItem

MOST_CLAIMS: Final = 80
"""Claims of one Item: a transaction has a hundred actions."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An account that an Item holds.

    Attributes:
        key: the fingerprint.
        item_id: who holds it.
        link_id: digest of the public token that it was linked with.
    """

    key: str
    item_id: ItemId
    link_id: str


def fingerprints(client_user_id: str, added: AddedItem) -> tuple[str, ...]:
    """Return the keys of a connection's claims; an account without a name or a mask has none.

    Of very many the smallest, so that two links of one login choose the same ones.
    """
    if added.institution_id is None:
        return ()
    keys = {
        _digest(client_user_id, added.institution_id, account.name, account.mask, account.subtype)
        for account in added.accounts
        if account.name and account.mask
    }
    return tuple(sorted(keys)[:MOST_CLAIMS])


def _digest(*parts: str | None) -> str:
    text = "\0".join(part or "" for part in parts)
    return f"login#{hashlib.sha256(text.encode()).hexdigest()}"
