"""An application's own data about a transaction: what may be stored, and how a request changes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import InvalidRequestError
from plaid_sync.domain.text import has_half_surrogate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plaid_sync.domain.transaction import TransactionId

Annotations = dict[str, Any]
"""A JSON object with exact decimals."""
MAX_ANNOTATIONS_BYTES: Final = 16_384
MAX_ANNOTATIONS_DEPTH: Final = 16
"""DynamoDB stores 32 levels."""
MAX_ANNOTATION_NAME_BYTES: Final = 255
_MAX_DIGITS: Final = 38
_EXPONENTS: Final = range(-125, 126)
"""Within those of DynamoDB's numbers."""


@dataclass(frozen=True, slots=True)
class AnnotatedRow:
    """A stored transaction with its annotations.

    Attributes:
        annotations: empty without any; None where they are of types that JSON has not.
        version: raised by each change by the Items API and each move; 0 before the first.
        stored: as the table has them, to be compared with; its form is the table's.
        posted_transaction_id: the row that named this one as its pending transaction.
        removed_at: when Plaid's removal was written; None for a live row.
    """

    transaction_id: TransactionId
    account_id: str | None
    date: str | None
    amount: Decimal | None
    annotations: Annotations | None
    version: int
    stored: object = field(repr=False)
    posted_transaction_id: str | None = None
    removed_at: str | None = None


def merge_patch(target: object, patch: object) -> Any:  # noqa: ANN401 - JSON is any of six types
    """Return what a JSON merge patch (RFC 7396) makes of a value: null removes a member, an object is merged."""
    if not isinstance(patch, dict):
        return patch
    merged: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def patched(annotations: Annotations, patch: object) -> Annotations:
    """Return annotations after a merge patch.

    Raises:
        InvalidRequestError: the patch is no object, or the result is not storable exactly.
    """
    if not isinstance(patch, dict):
        raise InvalidRequestError("body", "send a JSON object: a merge patch of the annotations")
    # Before anything walks through it.
    _require_size(patch)
    merged: Annotations = merge_patch(annotations, patch)
    _require_size(merged)
    for value in _values(merged):
        _require_storable(value)
    return merged


def _require_size(annotations: Annotations) -> None:
    try:
        text = exact_json.dumps(annotations, ascii_only=True)
    except exact_json.InvalidJsonError as error:
        raise InvalidRequestError("body", f"nest at most {MAX_ANNOTATIONS_DEPTH} levels") from error
    if len(text) > MAX_ANNOTATIONS_BYTES:
        fix = f"keep all annotations of a transaction within {MAX_ANNOTATIONS_BYTES} bytes of JSON, in ASCII"
        raise InvalidRequestError("body", fix)


def _values(value: object, depth: int = 1) -> Iterator[object]:
    """Yield the names and all values that are no containers.

    Raises:
        InvalidRequestError: it is nested too deeply, or a name is empty or too long.
    """
    if not isinstance(value, dict | list):
        yield value
        return
    if depth > MAX_ANNOTATIONS_DEPTH:
        raise InvalidRequestError("body", f"nest at most {MAX_ANNOTATIONS_DEPTH} levels")
    if isinstance(value, dict):
        yield from value
        if any(not name or len(name) > MAX_ANNOTATION_NAME_BYTES for name in value):
            raise InvalidRequestError("body", f"give each name 1 to {MAX_ANNOTATION_NAME_BYTES} characters")
    for member in value.values() if isinstance(value, dict) else value:
        yield from _values(member, depth + 1)


def _require_storable(value: object) -> None:
    if isinstance(value, str) and has_half_surrogate(value):
        raise InvalidRequestError("body", "send whole Unicode characters: half a surrogate pair is none")
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return
    number = Decimal(value)
    digits = "".join(map(str, number.as_tuple().digits)).strip("0") if number.is_finite() else "?" * 99
    if len(digits) > _MAX_DIGITS or (number and number.adjusted() not in _EXPONENTS):
        fix = f"send numbers of at most {_MAX_DIGITS} digits, from 1E-125 to below 1E+126, or send the number as a text"
        raise InvalidRequestError("body", fix)


def is_json(value: object) -> bool:
    """Return whether a stored value is one that JSON has."""
    if isinstance(value, dict):
        return all(map(is_json, value.values()))
    if isinstance(value, list):
        return all(map(is_json, value))
    return value is None or isinstance(value, str | bool | int | Decimal)


def stored_annotations(value: object) -> Annotations | None:
    """Return the annotations of a row, as the table has them; None where a request cannot show them."""
    if value is None:
        return {}
    return value if isinstance(value, dict) and is_json(value) else None


def is_candidate(row: Mapping[str, Any], pending_id: TransactionId) -> bool:
    """Return whether a live row of the same account and amount may be the posted one of a removed row."""
    return row.get("pending") is False and row.get("pending_transaction_id") in {None, pending_id}
