"""A transaction as the Transactions table stores it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, NewType

from plaid_sync.domain import exact_json
from plaid_sync.domain.compression import Compressor, decompress, has_dictionary
from plaid_sync.domain.dictionaries import TRANSACTION
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.domain.text import has_half_surrogate

if TYPE_CHECKING:
    from collections.abc import Mapping

TransactionId = NewType("TransactionId", str)
ROW_OVERHEAD_BYTES: Final = 400
"""Attribute names, numbers, keys, and the index's sort key."""
TOMBSTONE_TTL: Final = timedelta(days=90)
"""How long a removed transaction is kept: longer than any retry, redrive or reader of the stream."""
_MAX_KEY_BYTES: Final = 1000  # 1,024 for a sort key, in the index with the date before it
_MAX_DIGITS: Final = 38  # of a DynamoDB number
_MIN_EXPONENT: Final = -125  # a little more than that of the smallest DynamoDB number
_MAX_ROW_BYTES: Final = 350_000  # DynamoDB takes 400 KB, names and an application's own attributes included
_ALL_DIGITS: Final = Context(prec=_MAX_DIGITS)
_COMPRESSOR: Final = Compressor(TRANSACTION)
_NATIVE_FIELDS: Final[dict[str, type]] = {
    "transaction_id": str,
    "account_id": str,
    "date": str,
    "amount": Decimal,
    "pending": bool,
    "authorized_date": str,
    "iso_currency_code": str,
    "unofficial_currency_code": str,
    "name": str,
    "merchant_name": str,
    "pending_transaction_id": str,
    "payment_channel": str,
}
"""Fields of Plaid's object that a row has as attributes of the same names, and their types there."""
_ALWAYS_THERE: Final = frozenset({"transaction_id", "account_id", "date", "amount", "pending"})


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A live transaction in stored form: the attributes that are queried, and the remainder of the Plaid object.

    Attributes:
        amount: exact, in units of the currency; positive is money out of the account (Plaid's sign).
        date: ISO date; occurred while pending, posted afterwards.
        category: `personal_finance_category.primary`.
        remainder: what the attributes do not give back of the Plaid object, losslessly: JSON with sorted keys. It has
            a native field only where that is null, or a number that DynamoDB would return with other digits.
    """

    transaction_id: TransactionId
    account_id: str
    date: str
    amount: Decimal
    pending: bool
    remainder: bytes
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
        """The row's attributes without `plaid`; what is null at Plaid is absent."""
        values = zip(_ATTRIBUTES, _ATTRIBUTES_OF(self), strict=True)
        return {name: value for name, value in values if value is not None}

    @property
    def plaid(self) -> bytes:
        """The attribute `plaid`: the remainder, compressed."""
        return _COMPRESSOR.compress(self.remainder)

    @property
    def plaid_object(self) -> dict[str, Any]:
        """The whole Plaid object, with exact decimals."""
        remainder: dict[str, Any] = exact_json.loads(self.remainder)
        return _native_values(self.attributes | {"transaction_id": self.transaction_id}) | remainder

    @property
    def date_id(self) -> str:
        """Sort key of the index `by_account`: newest last, ties broken by id."""
        return f"{self.date}#{self.transaction_id}"

    @property
    def stored_bytes(self) -> int:
        """How many bytes the row takes in the table at most: the remainder counts uncompressed."""
        texts = "".join(value for value in _TEXTS_OF(self) if value is not None)
        return ROW_OVERHEAD_BYTES + len(self.remainder) + len(texts.encode())


_ATTRIBUTES: Final = tuple(name for name in TransactionRow.ATTRIBUTES if name != "plaid")
_ATTRIBUTES_OF: Final = attrgetter(*_ATTRIBUTES)
_TEXTS_OF: Final = attrgetter("transaction_id", *(name for name in _ATTRIBUTES if name not in {"amount", "pending"}))
"""Of a row: rows are most of what the engine handles."""


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


@dataclass(frozen=True, slots=True)
class PendingLink:
    """A stored row that is not written itself is the pending one of a posted row, which is written with it.

    Attributes:
        transaction_id: the pending one.
        posted_transaction_id: the posted one.
    """

    transaction_id: TransactionId
    posted_transaction_id: TransactionId


RowWrite = TransactionRow | RowRemoval | PendingLink
"""A row to be made live with this content, a tombstone, or the link of a stored row to its posted one."""


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
        annotated: it is one that does not expire because of its annotations.
        posted_transaction_id: the row that named this one as its pending transaction.
    """

    transaction_id: TransactionId
    account_id: str | None
    live: bool
    generation: int
    first_generation: int
    row: TransactionRow | None = None
    erased: bool = False
    kept: bool = False
    annotated: bool = False
    posted_transaction_id: str | None = None


def parse_transaction(transaction: object) -> TransactionRow:
    """Convert a Plaid transaction object, as parsed by `exact_json`, to its stored form.

    Raises:
        SchemaViolationError: a field that the row cannot exist without is missing or of a wrong type.
        InvalidJsonError: the object is nested deeper than what is stored may be.
    """
    if not isinstance(transaction, dict):
        raise SchemaViolationError("transaction")
    category = transaction.get("personal_finance_category")
    attributes: dict[str, Any] = {
        "transaction_id": transaction_id_of(transaction),
        "account_id": _key(transaction, "account_id"),
        "date": _date(transaction),
        "amount": _amount(transaction),
        "pending": _flag(transaction, "pending"),
        "authorized_date": _optional_text(transaction, "authorized_date"),
        "iso_currency_code": _optional_text(transaction, "iso_currency_code"),
        "unofficial_currency_code": _optional_text(transaction, "unofficial_currency_code"),
        "name": _optional_text(transaction, "name"),
        "merchant_name": _optional_text(transaction, "merchant_name"),
        "pending_transaction_id": _optional_text(transaction, "pending_transaction_id"),
        "category": _optional_text(category, "primary") if isinstance(category, dict) else None,
        "payment_channel": _optional_text(transaction, "payment_channel"),
    }
    row = TransactionRow(**attributes, remainder=_remainder(transaction, attributes))
    if row.stored_bytes > _MAX_ROW_BYTES and _compressed_bytes(row) > _MAX_ROW_BYTES:
        raise SchemaViolationError("transaction")
    return row


def _compressed_bytes(row: TransactionRow) -> int:
    return row.stored_bytes - len(row.remainder) + len(row.plaid)


def _remainder(transaction: dict[str, Any], attributes: Mapping[str, object]) -> bytes:
    """Return the JSON of the fields that the attributes do not give back exactly."""
    native = _native_values(attributes)
    document = {
        name: value for name, value in transaction.items() if name not in native or not _identical(native[name], value)
    }
    text = exact_json.dumps_for_storage(document, ascii_only=True)
    if rb"\ud" in text and has_half_surrogate(exact_json.dumps(document)):
        raise SchemaViolationError("transaction")
    return text


def _identical(left: object, right: object) -> bool:
    """Return whether two values have the same JSON, digit for digit."""
    return left is right or (type(left) is type(right) and str(left) == str(right))


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


def plaid_object(attributes: Mapping[str, object]) -> dict[str, Any] | None:
    """Return the whole Plaid object of a stored row, with exact decimals: the one way to put it together.

    Args:
        attributes: the row's, as Python values; those that the engine does not write are ignored.

    Returns:
        None where the row has no content, or another program has damaged it.
    """
    return sized_object(attributes)[0]


def sized_object(attributes: Mapping[str, object]) -> tuple[dict[str, Any] | None, int]:
    """Return what `plaid_object` does, and the size of its JSON in bytes."""
    text = decompress(attributes.get("plaid"))
    remainder = None if text is None else _json_object(text)
    if text is None or remainder is None:
        return None, 0
    missing = {name: attributes[name] for name in _NATIVE_FIELDS if name in attributes and name not in remainder}
    native = _native_values(missing)
    document = native | remainder
    if len(native) < len(missing) or not document.keys() >= _ALWAYS_THERE:
        return None, 0
    return document, len(text) + len(exact_json.dumps(native).encode())


def stored_remainder(attributes: Mapping[str, object]) -> bytes | None:
    """Return the remainder that a stored row has; None where it cannot be read.

    A stream without a dictionary is of an older version, and has the whole object: its remainder is what this version
    would leave of it.
    """
    plaid = attributes.get("plaid")
    text = decompress(plaid)
    if text is None or not isinstance(plaid, bytes) or has_dictionary(plaid):
        return text
    document = _json_object(text)
    try:
        return None if document is None else _remainder(document, attributes)
    except (exact_json.InvalidJsonError, SchemaViolationError):
        return None


def _json_object(text: bytes) -> dict[str, Any] | None:
    try:
        document: Any = exact_json.loads(text)
    except exact_json.InvalidJsonError:
        return None
    return document if isinstance(document, dict) else None


def _native_values(attributes: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of Plaid's object that attributes of the right type give back."""
    values: dict[str, Any] = {
        name: attributes[name] for name, kind in _NATIVE_FIELDS.items() if type(attributes.get(name)) is kind
    }
    if "amount" in values:
        values["amount"] = as_returned(values["amount"])
    return values


def as_returned(amount: Decimal) -> int | Decimal:
    """Return a number as it is after DynamoDB, which keeps its value and neither zeros at its end nor its notation."""
    normal = amount.normalize(_ALL_DIGITS)
    return int(normal) if normal == normal.to_integral_value() else normal


def is_transaction_id(text: str) -> bool:
    """Return whether a row can have this id."""
    return 0 < len(text.encode()) <= _MAX_KEY_BYTES


def transaction_id_of(entry: dict[str, Any]) -> TransactionId:
    """Return the entry's id, which must be fit to be a sort key.

    Raises:
        SchemaViolationError: it is not.
    """
    return TransactionId(_key(entry, "transaction_id"))


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
