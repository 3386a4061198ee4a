"""Account claims: the keys under which an Item holds the bank accounts of a user.

No bank account is linked twice for one user: both Items would be billed, and its transactions doubled. Account ids
differ from Item to Item; institution, name, the last digits of its number and its subtype do not
(https://plaid.com/docs/link/duplicate-items/), so these are an account's fingerprint.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plaid_sync.domain.accounts import Account

MAX_CLAIMS: Final = 80
"""Account claims of one Item: a transaction has a hundred actions."""


def claim_keys(client_user_id: str, institution_id: str | None, accounts: Iterable[Account]) -> tuple[str, ...]:
    """Return the keys of the accounts' claims, sorted; an account without a name or an institution has none.

    A bank can give no mask: then institution, name and subtype have to do. Of more than `MAX_CLAIMS` the smallest, so
    that two links of one login claim the same accounts.
    """
    if institution_id is None:
        return ()
    keys = {
        f"login#{digest(client_user_id, institution_id, account.name, account.mask or '', account.subtype or '')}"
        for account in accounts
        if account.name
    }
    return tuple(sorted(keys)[:MAX_CLAIMS])


def user_key(client_user_id: str) -> str:
    """Return the key of a user's row in the Links table."""
    return f"user#{digest(client_user_id)}"


def digest(*parts: str) -> str:
    """Return the digest of texts, as the keys of the Links table have it: they are personal data, or secret."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
