"""One row of the table against the transaction that it stands for: what differs, and where (pure).

A row is right when the engine would write it so: the same attributes of the same types, and the same Plaid object.
Bytes of the compressed object may differ: another version of zlib compresses otherwise.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.sync.transactions import TransactionRow, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ABSENT: Final = "(absent)"
OBJECT: Final = "(an object)"
UNREADABLE: Final = "(unreadable)"
_NOTHING: Final = object()
_LONGEST_TEXT: Final = 200
_OF_A_TOMBSTONE: Final = ("removed_at", "expires_at")


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One place where a row differs from its transaction.

    Attributes:
        field: the attribute, or the path inside the Plaid object (`plaid.location.lat`).
        at_plaid: what it should be, as `shown`: bank data.
        in_table: what it is, likewise.
    """

    field: str
    at_plaid: str
    in_table: str


def compare_row(row: TransactionRow, found: Mapping[str, object], generation: int) -> Iterator[FieldDifference]:
    """Yield where a live row of the table differs from Plaid's transaction.

    Args:
        row: the transaction in stored form.
        found: the row's attributes by name, as the table has them; others than the engine's are not looked at.
        generation: the Item's: no row can be of a later one.
    """
    expected = row.attributes
    for name in (*TransactionRow.ATTRIBUTES, *_OF_A_TOMBSTONE):
        if name != "plaid" and not _same(expected.get(name, _NOTHING), found.get(name, _NOTHING)):
            yield _difference(name, expected.get(name, _NOTHING), found.get(name, _NOTHING))
    yield from _bookkeeping(found, generation)
    yield from _compare_objects(row.plaid, found.get("plaid", _NOTHING))


def _bookkeeping(found: Mapping[str, object], generation: int) -> Iterator[FieldDifference]:
    written_by = found.get("generation", _NOTHING)
    if not isinstance(written_by, Decimal) or written_by > generation:
        yield _difference("generation", Decimal(generation), written_by)
    if "first_generation" not in found:
        yield _difference("first_generation", Decimal(generation), _NOTHING)


def _compare_objects(at_plaid: bytes, in_table: object) -> Iterator[FieldDifference]:
    if in_table == at_plaid:
        return
    try:
        stored = unpack(in_table)  # type: ignore[arg-type] # whatever it is: caught below
    except (TypeError, ValueError, zlib.error):
        yield FieldDifference("plaid", OBJECT, ABSENT if in_table is _NOTHING else UNREADABLE)
    else:
        yield from _unequal(unpack(at_plaid), stored)


def _unequal(at_plaid: object, in_table: object) -> Iterator[FieldDifference]:
    """Yield the innermost places where two JSON values differ; iterative, for foreign JSON may be deep."""
    places: list[tuple[str, object, object]] = [("plaid", at_plaid, in_table)]
    while places:
        path, ours, theirs = places.pop()
        if isinstance(ours, dict) and isinstance(theirs, dict):
            names = sorted(ours.keys() | theirs.keys(), reverse=True)
            places += [(f"{path}.{name}", ours.get(name, _NOTHING), theirs.get(name, _NOTHING)) for name in names]
        elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
            pairs = list(enumerate(zip(ours, theirs, strict=True)))
            places += [(f"{path}[{number}]", *pair) for number, pair in reversed(pairs)]
        elif not _same_json(ours, theirs):
            yield _difference(path, ours, theirs)


def _same(expected: object, found: object) -> bool:
    """Tell whether two attributes are the same, type included: 1, true and "1" are three values."""
    return type(expected) is type(found) and expected == found


def _same_json(one: object, other: object) -> bool:
    """Tell whether two JSON values are the same: 12 is 12.0, but true is not 1."""
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def _difference(field: str, at_plaid: object, in_table: object) -> FieldDifference:
    return FieldDifference(field[:_LONGEST_TEXT], shown(at_plaid), shown(in_table))


def shown(value: object) -> str:
    """Return a value as a text that tells its type (`12.5`, `"12.5"`, `true`), cut to a bearable length."""
    if value is _NOTHING:
        return ABSENT
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    return _json(value)[:_LONGEST_TEXT]


def _json(value: Any) -> str:  # noqa: ANN401 - whatever an attribute may hold
    try:
        return exact_json.dumps(value)
    except (TypeError, ValueError):
        return f"({type(value).__name__})"
