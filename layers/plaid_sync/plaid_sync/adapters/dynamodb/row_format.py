"""The Transactions table: what a row of it holds.

Key: `item_id` + `transaction_id`. Attributes of a live row: see `TransactionRow`; absent where Plaid gives null.
`date_id` (`<date>#<transaction_id>`) puts it into the index `by_account`. Every row: `generation`,
`first_generation` (N). A tombstone has `removed_at` (S) and `expires_at` (N, epoch seconds, TTL) and no `date_id`;
that of an account which the user has withdrawn has no content either.
Any other attribute is the application's own and is never touched.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import to_text
from plaid_sync.adapters.dynamodb.expressions import deserialize
from plaid_sync.core.sync.plan import TOMBSTONE_LIFE
from plaid_sync.core.sync.transactions import Removal, StoredRow, TransactionId, TransactionRow

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.core.sync.plan import RowWrite

_CONTENT: Final = TransactionRow.ATTRIBUTES[:-1]
_REQUIRED: Final = frozenset(_CONTENT[:5])
_TYPES: Final[dict[str, type]] = {"amount": Decimal, "pending": bool, "plaid": bytes}
"""Of the content, as Python has it; all else is text."""
FENCE_ATTRIBUTES: Final = ("transaction_id", "account_id", "generation", "first_generation", "removed_at", "date_id")
ALL_ATTRIBUTES: Final = (*FENCE_ATTRIBUTES, "expires_at", *_CONTENT[1:])
_TOMBSTONE: Final = ("removed_at", "expires_at")
MARKS: Final = ("generation", *TransactionRow.ATTRIBUTES)
"""What has one of these is a row of the engine's, whatever else it has lost; all else is an application's note."""


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
    """Read a row, with its content where that was asked for.

    Whatever somebody has done to it, it can be read: a number that is none counts as 0, content that is not as the
    engine writes it as none. A row that is in the index counts as live, for its readers see it.
    """
    values = deserialize(attributes)
    live = "removed_at" not in values or "date_id" in values
    return StoredRow(
        transaction_id=TransactionId(values["transaction_id"]),
        account_id=_text(values, "account_id"),
        live=live,
        generation=generation_of(values),
        first_generation=_number(values, "first_generation"),
        row=_content(values) if live else None,
    )


def _content(values: dict[str, Any]) -> TransactionRow | None:
    """Return the content of a live row; None where a row of that content would be written otherwise."""
    found = {name: values[name] for name in _CONTENT if name in values}
    if not found.keys() >= _REQUIRED or any(type(found[name]) is not _TYPES.get(name, str) for name in found):
        return None
    row = TransactionRow(transaction_id=TransactionId(values["transaction_id"]), **found)
    marked = isinstance(values.get("generation"), Decimal) and "first_generation" in values
    return row if marked and values.get("date_id") == row.date_id and values.keys().isdisjoint(_TOMBSTONE) else None


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def generation_of(values: dict[str, Any]) -> int:
    """Return the attempt that wrote a row last; 0 where no attempt's number is there."""
    return _number(values, "generation")


def _number(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    return int(value) if isinstance(value, Decimal) else 0
