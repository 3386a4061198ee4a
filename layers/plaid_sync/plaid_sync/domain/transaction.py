"""A transaction as the Transactions table stores it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Context, Decimal
from typing import Any, ClassVar, Final, NewType

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.domain.text import has_half_surrogate

TransactionId = NewType("TransactionId", str)
ROW_OVERHEAD_BYTES: Final = 400
"""Attribute names, numbers, keys, and the index's sort key."""
TOMBSTONE_TTL: Final = timedelta(days=90)
"""How long a removed transaction is kept: longer than any retry, redrive or reader of the stream."""
_COMPRESSION_LEVEL: Final = 9
_MAX_KEY_BYTES: Final = 1000  # 1,024 for a sort key, in the index with the date before it
_MAX_DIGITS: Final = 38  # of a DynamoDB number
_MIN_EXPONENT: Final = -125  # a little more than that of the smallest DynamoDB number
_MAX_ROW_BYTES: Final = 350_000  # DynamoDB takes 400 KB, names and an application's own attributes included
_ALL_DIGITS: Final = Context(prec=_MAX_DIGITS)


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A live transaction in stored form: the attributes that are queried, and the whole Plaid object.

    Attributes:
        amount: exact, in units of the currency; positive is money out of the account (Plaid's sign).
        date: ISO date; occurred while pending, posted afterwards.
        category: `personal_finance_category.primary`.
        plaid: the whole object, losslessly: zlib over JSON with sorted keys (see `decompress_object`).
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

    ATTRIBUTES: ClassVar[tuple[str, ...]] = (
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
        "date_id",
    )
    """A live row's attributes beside its keys and generations; the first five and the last are never absent."""

    @property
    def attributes(self) -> dict[str, object]:
        """The row's attributes; what is null at Plaid is absent."""
        values = {name: getattr(self, name) for name in self.ATTRIBUTES}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def date_id(self) -> str:
        """Sort key of the index `by_account`: newest last, ties broken by id."""
        return f"{self.date}#{self.transaction_id}"

    @property
    def stored_bytes(self) -> int:
        """About how many bytes the row takes in the table, rounded up."""
        values = (getattr(self, field.name) for field in fields(self))
        texts = sum(len(value.encode()) for value in values if isinstance(value, str))
        return ROW_OVERHEAD_BYTES + len(self.plaid) + texts


@dataclass(frozen=True, slots=True)
class RowRemoval:
    """The removal of a transaction; also the content of a tombstone whose transaction was never stored.

    Attributes:
        erase: whether the content is erased, too: the user withdrew the account. Otherwise a tombstone keeps it.
        kept: whether the tombstone stays for good: its account is gone, and may return.
    """

    transaction_id: TransactionId
    account_id: str | None = None
    erase: bool = False
    kept: bool = False


RowWrite = TransactionRow | RowRemoval
"""A row to be made live with this content, or a tombstone."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as the table holds it: live with its content, or a tombstone.

    Attributes:
        row: the content, or None for a tombstone (and where the content was not requested).
        live: whether the row counts as one of the Item's transactions.
        generation: the attempt that wrote it last.
        first_generation: the attempt that created it.
        erased: it is a tombstone without content: the user withdrew its account, or it never had any.
        kept: it is a tombstone that does not expire: its account was gone when it was written.
    """

    transaction_id: TransactionId
    account_id: str | None
    live: bool
    generation: int
    first_generation: int
    row: TransactionRow | None = None
    erased: bool = False
    kept: bool = False


def parse_transaction(transaction: object) -> TransactionRow:
    """Convert a Plaid transaction object, as parsed by `exact_json`, to its stored form.

    Raises:
        SchemaViolationError: a field that the row cannot exist without is missing or of a wrong type.
        InvalidJsonError: the object is nested deeper than what is stored may be.
    """
    if not isinstance(transaction, dict):
        raise SchemaViolationError("transaction")
    category = transaction.get("personal_finance_category")
    row = TransactionRow(
        transaction_id=transaction_id_of(transaction),
        account_id=_key(transaction, "account_id"),
        date=_date(transaction),
        amount=_amount(transaction),
        pending=_flag(transaction, "pending"),
        authorized_date=_optional_text(transaction, "authorized_date"),
        iso_currency_code=_optional_text(transaction, "iso_currency_code"),
        unofficial_currency_code=_optional_text(transaction, "unofficial_currency_code"),
        name=_optional_text(transaction, "name"),
        merchant_name=_optional_text(transaction, "merchant_name"),
        pending_transaction_id=_optional_text(transaction, "pending_transaction_id"),
        category=_optional_text(category, "primary") if isinstance(category, dict) else None,
        payment_channel=_optional_text(transaction, "payment_channel"),
        plaid=_compress(transaction),
    )
    if row.stored_bytes > _MAX_ROW_BYTES:
        raise SchemaViolationError("transaction")
    return row


def parse_removal(removal: object) -> RowRemoval:
    """Parse an entry of Plaid's `removed` list.

    Raises:
        SchemaViolationError: the entry has no transaction_id, or an account_id that no account can have.
    """
    if not isinstance(removal, dict):
        raise SchemaViolationError("removed")
    transaction_id = transaction_id_of(removal)
    no_account = removal.get("account_id") in (None, "")
    return RowRemoval(transaction_id, None if no_account else _key(removal, "account_id"))


def decompress_object(plaid: bytes) -> dict[str, Any]:
    """Return the Plaid object that a row's `plaid` attribute holds, with exact decimals."""
    document: dict[str, Any] = exact_json.loads(zlib.decompress(plaid))
    return document


def readable_object(plaid: object) -> dict[str, Any] | None:
    """Return the Plaid object of a stored row; None where another program has damaged the attribute."""
    return sized_object(plaid)[0]


def sized_object(plaid: object) -> tuple[dict[str, Any] | None, int]:
    """Return what `readable_object` does, and the size of its JSON in bytes."""
    try:
        text = zlib.decompress(plaid)  # type: ignore[arg-type] # any type: caught below
        document: Any = exact_json.loads(text)
    except (TypeError, ValueError, zlib.error):
        return None, 0
    return document if isinstance(document, dict) else None, len(text)


def transaction_id_of(entry: dict[str, Any]) -> TransactionId:
    """Return the entry's id, which must be fit to be a sort key.

    Raises:
        SchemaViolationError: it is not.
    """
    return TransactionId(_key(entry, "transaction_id"))


def _compress(transaction: dict[str, Any]) -> bytes:
    try:
        return zlib.compress(exact_json.dumps_for_storage(transaction), _COMPRESSION_LEVEL)
    except UnicodeEncodeError as error:
        raise SchemaViolationError("transaction") from error


def _key(entry: dict[str, Any], field: str) -> str:
    value = _text(entry, field)
    if len(value.encode()) > _MAX_KEY_BYTES:
        raise SchemaViolationError(field)
    return value


def _text(entry: dict[str, Any], field: str) -> str:
    value = _optional_text(entry, field)
    if not value:
        raise SchemaViolationError(field)
    return value


def _optional_text(entry: dict[str, Any], field: str) -> str | None:
    value = entry.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or has_half_surrogate(value):
        raise SchemaViolationError(field)
    return value


def _flag(entry: dict[str, Any], field: str) -> bool:
    value = entry.get(field)
    if not isinstance(value, bool):
        raise SchemaViolationError(field)
    return value


def _amount(entry: dict[str, Any]) -> Decimal:
    """Return the amount, if it reads back exactly.

    DynamoDB may return a number written out, and boto3 (and so any application) refuses one of more than 38 digits,
    zeros at its end included. Zeros at the beginning do not count.
    """
    value = entry.get("amount")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise SchemaViolationError("amount")
    amount = Decimal(value)
    if not amount.is_finite() or not _MIN_EXPONENT <= amount.adjusted() < _MAX_DIGITS:
        raise SchemaViolationError("amount")
    digits = "".join(map(str, amount.as_tuple().digits))
    if len(digits.rstrip("0")) > _MAX_DIGITS:
        raise SchemaViolationError("amount")
    # DynamoDB counts zeros at the end, too: without them it is the same amount.
    return amount if len(digits) <= _MAX_DIGITS else amount.normalize(_ALL_DIGITS)


def _date(entry: dict[str, Any]) -> str:
    value = _text(entry, "date")
    try:
        normal = date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise SchemaViolationError("date") from error
    if value != normal:
        raise SchemaViolationError("date")
    return value
