"""The Transactions table: what a row of it holds.

Key: `item_id` + `transaction_id`. Attributes of a live row: see `TransactionRow`; absent where Plaid gives null.
`date_id` (`<date>#<transaction_id>`) puts it into the index `by_account`. Every row: `generation`,
`first_generation` (N). A tombstone has `removed_at` (S) and `expires_at` (N, epoch seconds, TTL) and no `date_id`;
that of an account which the user has withdrawn has no content either.
Any other attribute is the application's own and is never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import to_text
from plaid_sync.adapters.dynamodb.expressions import deserialize
from plaid_sync.core.sync.plan import TOMBSTONE_LIFE
from plaid_sync.core.sync.transactions import Removal, StoredRow, TransactionId, TransactionRow

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.core.sync.plan import RowWrite

_CONTENT: Final = (
    "account_id",
    "date",
    "amount",
    "pending",
    "plaid",
    "authorized_date",
    "iso_currency_code",
    "unofficial_currency_code",
    "name",
    "merchant_name",
    "pending_transaction_id",
    "category",
    "payment_channel",
)
FENCE_ATTRIBUTES: Final = ("transaction_id", "account_id", "generation", "first_generation", "removed_at")
ALL_ATTRIBUTES: Final = (*FENCE_ATTRIBUTES, *_CONTENT[1:])


def written(write: RowWrite, now: datetime) -> dict[str, Any]:
    """Return the attributes that a write sets (None: removes); all others of the row stay as they are."""
    if isinstance(write, Removal):
        removal: dict[str, Any] = {
            "date_id": None,
            "removed_at": to_text(now),
            "expires_at": int((now + TOMBSTONE_LIFE).timestamp()),
        }
        erased = dict.fromkeys(_CONTENT[1:]) if write.erase else {}
        return erased | removal | ({"account_id": write.account_id} if write.account_id else {})
    content: dict[str, Any] = {name: getattr(write, name) for name in _CONTENT}
    return content | {"date_id": write.date_id, "removed_at": None, "expires_at": None}


def to_stored_row(attributes: dict[str, Any]) -> StoredRow:
    """Read a row, with its content where that was asked for."""
    values = deserialize(attributes)
    live = "removed_at" not in values
    return StoredRow(
        transaction_id=TransactionId(values["transaction_id"]),
        account_id=values.get("account_id"),
        live=live,
        generation=int(values["generation"]),
        first_generation=int(values["first_generation"]),
        row=_content(values) if live and "plaid" in values else None,
    )


def _content(values: dict[str, Any]) -> TransactionRow:
    content: dict[str, Any] = {name: values.get(name) for name in _CONTENT}
    return TransactionRow(transaction_id=TransactionId(values["transaction_id"]), **content)
