"""One transaction, from Plaid's object to the form that the table keeps."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Final, NewType

from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError

TransactionId = NewType("TransactionId", str)

_COMPRESSION_LEVEL: Final = 9
_MAXIMUM_KEY_BYTES: Final = 1024
_MAXIMUM_DIGITS: Final = 38  # of a DynamoDB number
_PLENTY: Final = Context(prec=10_000)


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A live transaction in stored form: what people query, and the whole Plaid object beside it.

    Attributes:
        amount: exact, in units of the currency; positive is money out of the account (Plaid's sign).
        date: ISO date; occurred while pending, posted afterwards.
        category: `personal_finance_category.primary`.
        plaid: the whole object, losslessly: zlib over JSON with sorted keys (see `unpack`).
    """

    transaction_id: TransactionId
    account_id: str
    date: str
    amount: Decimal
    pending: bool
    plaid: bytes
    authorized_date: str | None = None
    iso_currency_code: str | None = None
    unofficial_currency_code: str | None = None
    name: str | None = None
    merchant_name: str | None = None
    pending_transaction_id: str | None = None
    category: str | None = None
    payment_channel: str | None = None

    @property
    def date_id(self) -> str:
        """Sort key of the index `by_account`: newest last, ties broken by id."""
        return f"{self.date}#{self.transaction_id}"


@dataclass(frozen=True, slots=True)
class Removal:
    """Plaid's word that a transaction is gone; also what a tombstone keeps of a row never seen."""

    transaction_id: TransactionId
    account_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as the table holds it: live with its content, or a tombstone.

    Attributes:
        row: the content, or None for a tombstone (and where the content was not asked for).
        live: whether the row counts as one of the Item's transactions.
        generation: the attempt that wrote it last.
        first_generation: the attempt that created it.
    """

    transaction_id: TransactionId
    account_id: str | None
    live: bool
    generation: int
    first_generation: int
    row: TransactionRow | None = None


def reduce_transaction(transaction: object) -> TransactionRow:
    """Reduce a Plaid transaction object, as parsed by `exact_json`, to its stored form.

    Raises:
        ContractBrokenError: a field that the row cannot exist without is missing or of a wrong type.
    """
    if not isinstance(transaction, dict):
        raise ContractBrokenError("transaction")
    category = transaction.get("personal_finance_category")
    return TransactionRow(
        transaction_id=transaction_id_of(transaction),
        account_id=_text(transaction, "account_id"),
        date=_text(transaction, "date"),
        amount=_amount(transaction),
        pending=_flag(transaction, "pending"),
        plaid=zlib.compress(exact_json.dumps(transaction).encode(), _COMPRESSION_LEVEL),
        authorized_date=_optional_text(transaction, "authorized_date"),
        iso_currency_code=_optional_text(transaction, "iso_currency_code"),
        unofficial_currency_code=_optional_text(transaction, "unofficial_currency_code"),
        name=_optional_text(transaction, "name"),
        merchant_name=_optional_text(transaction, "merchant_name"),
        pending_transaction_id=_optional_text(transaction, "pending_transaction_id"),
        category=_optional_text(category, "primary") if isinstance(category, dict) else None,
        payment_channel=_optional_text(transaction, "payment_channel"),
    )


def reduce_removal(removal: object) -> Removal:
    """Reduce an entry of Plaid's `removed` list.

    Raises:
        ContractBrokenError: the entry has no transaction_id.
    """
    if not isinstance(removal, dict):
        raise ContractBrokenError("removed")
    return Removal(transaction_id_of(removal), _optional_text(removal, "account_id") or None)


def unpack(plaid: bytes) -> dict[str, Any]:
    """Return the Plaid object that a row's `plaid` attribute holds, with exact decimals."""
    document: dict[str, Any] = exact_json.loads(zlib.decompress(plaid))
    return document


def transaction_id_of(entry: dict[str, Any]) -> TransactionId:
    """Return the entry's id, which must be fit to be a sort key (1 to 1,024 bytes).

    Raises:
        ContractBrokenError: it is not.
    """
    value = _text(entry, "transaction_id")
    if len(value.encode()) > _MAXIMUM_KEY_BYTES:
        raise ContractBrokenError("transaction_id")
    return TransactionId(value)


def _text(entry: dict[str, Any], field: str) -> str:
    value = entry.get(field)
    if not isinstance(value, str) or not value:
        raise ContractBrokenError(field)
    return value


def _optional_text(entry: dict[str, Any], field: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise ContractBrokenError(field)
    return value


def _flag(entry: dict[str, Any], field: str) -> bool:
    value = entry.get(field)
    if not isinstance(value, bool):
        raise ContractBrokenError(field)
    return value


def _amount(entry: dict[str, Any]) -> Decimal:
    value = entry.get("amount")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ContractBrokenError("amount")
    amount = Decimal(value)
    if not amount.is_finite() or len(amount.normalize(_PLENTY).as_tuple().digits) > _MAXIMUM_DIGITS:
        raise ContractBrokenError("amount")
    return amount
