"""Compares the table with Plaid's history, page by page: memory holds ids, hashes and differences, never the history.

A row is right when the engine would write it so: the same attributes of the same types, and the same Plaid object. The
table is read once, and of each row a hash of its content is kept. Only a row whose hash is not that of Plaid's
transaction is read again by its key, and compared field by field. Pages are folded as the sync folds them
(`pull.pages.NetChanges`): the later mention of a transaction wins, and within a page `removed` wins.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from plaid_sync.audit.report import MAX_DIFFERENCES, Difference, DriftKind
from plaid_sync.domain import exact_json
from plaid_sync.domain.transaction import StoredRow, TransactionId, TransactionRow, as_returned, plaid_object

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.pull.pages import Page

ABSENT: Final = "(absent)"
OBJECT: Final = "(an object)"
UNREADABLE: Final = "(unreadable)"
_MISSING: Final = object()
_MAX_SHOWN_TEXT: Final = 200
_TOMBSTONE_ATTRIBUTES: Final = ("removed_at", "expires_at")


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One place where a row differs from its transaction.

    Attributes:
        field: the attribute, or the path inside the Plaid object (`plaid.location.lat`).
        at_plaid: what it should be, as `format_value` formats it: bank data.
        in_table: what it is.
    """

    field: str
    at_plaid: str
    in_table: str


def compare_row(row: TransactionRow, found: Mapping[str, object], generation: int) -> Iterator[FieldDifference]:
    """Yield where a live row of the table differs from Plaid's transaction.

    Args:
        row: the transaction in stored form.
        found: the row's attributes by name, as the table has them; an application's own attributes are ignored.
        generation: the Item's: no row can be of a later one.
    """
    expected = row.attributes
    for name in (*TransactionRow.ATTRIBUTES, *_TOMBSTONE_ATTRIBUTES):
        if name != "plaid" and not _same(expected.get(name, _MISSING), found.get(name, _MISSING)):
            yield _difference(name, expected.get(name, _MISSING), found.get(name, _MISSING))
    yield from _compare_generations(found, generation)
    yield from _compare_objects(row, found.get("plaid", _MISSING))


def _compare_generations(found: Mapping[str, object], generation: int) -> Iterator[FieldDifference]:
    written_by = found.get("generation", _MISSING)
    if not isinstance(written_by, Decimal) or written_by > generation:
        yield _difference("generation", Decimal(generation), written_by)
    if "first_generation" not in found:
        yield _difference("first_generation", Decimal(generation), _MISSING)


def _compare_objects(row: TransactionRow, in_table: object) -> Iterator[FieldDifference]:
    """Compare the Plaid object as it would be with the right attributes, which are compared by themselves."""
    stored = plaid_object(row.attributes | {"transaction_id": row.transaction_id, "plaid": in_table})
    if stored is None:
        yield FieldDifference("plaid", OBJECT, ABSENT if in_table is _MISSING else UNREADABLE)
    else:
        yield from _unequal(row.plaid_object, stored)


def _unequal(at_plaid: object, in_table: object) -> Iterator[FieldDifference]:
    """Yield the innermost places where two JSON values differ; iterative, because foreign JSON may be deep."""
    places: list[tuple[str, object, object]] = [("plaid", at_plaid, in_table)]
    while places:
        path, ours, theirs = places.pop()
        if isinstance(ours, dict) and isinstance(theirs, dict):
            names = sorted(ours.keys() | theirs.keys(), reverse=True)
            places += [(f"{path}.{name}", ours.get(name, _MISSING), theirs.get(name, _MISSING)) for name in names]
        elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
            pairs = list(enumerate(zip(ours, theirs, strict=True)))
            places += [(f"{path}[{number}]", *pair) for number, pair in reversed(pairs)]
        elif not _same_json(ours, theirs):
            yield _difference(path, ours, theirs)


def _same(expected: object, found: object) -> bool:
    """Return whether two attributes are the same, type included: 1, true and "1" are three values."""
    return type(expected) is type(found) and expected == found


def _same_json(left: object, right: object) -> bool:
    """Return whether two JSON values are the same: 12 is 12.0, but true is not 1."""
    return isinstance(left, bool) is isinstance(right, bool) and left == right


def _difference(field: str, at_plaid: object, in_table: object) -> FieldDifference:
    return FieldDifference(field[:_MAX_SHOWN_TEXT], format_value(at_plaid), format_value(in_table))


def format_value(value: object) -> str:
    """Return a value as a text that shows its type (`12.5`, `"12.5"`, `true`), truncated."""
    if value is _MISSING:
        return ABSENT
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    return _json(value)[:_MAX_SHOWN_TEXT]


def _json(value: Any) -> str:  # noqa: ANN401 - any attribute value
    try:
        return exact_json.dumps(value)
    except (TypeError, ValueError):
        return f"({type(value).__name__})"


ROW: Final = "(row)"
ROW_LIVE: Final = "live"
ROW_REMOVED: Final = "removed"
ACCOUNT_CLOSED: Final = "account closed"


class AuditedRows(Protocol):
    """The Transactions table as the audit reads it."""

    def attributes(
        self, item_id: ItemId, ids: Collection[TransactionId], deadline: Deadline
    ) -> Mapping[TransactionId, Mapping[str, object]]:
        """Return the engine's attributes of those of the rows that exist, consistently, as they are.

        Raises:
            TransientError: DynamoDB cannot be read now, or time is running out.
        """
        ...

    def live_rows(self, item_id: ItemId, deadline: Deadline) -> Iterator[StoredRow]:
        """Iterate over the Item's live rows with their content, consistently.

        Raises:
            TransientError: DynamoDB cannot be read now, or time is running out.
        """
        ...


class LiveRow(NamedTuple):
    """What memory holds of a live row of the table."""

    account_id: str | None
    content: int | None
    """The hash of its content (`_hash_of`); None where the engine would write it differently."""


def _hash_of(row: TransactionRow) -> int:
    """Return the hash of a row's content, which each process seeds at random.

    Python seeds no hash of a number, and -1 and -2 have the same: the amount counts as a text, too.
    """
    return hash((row, str(as_returned(row.amount))))


def read_live_rows(rows: AuditedRows, item: Item, deadline: Deadline) -> dict[TransactionId, LiveRow]:
    """Return the Item's live rows.

    Raises:
        TransientError: DynamoDB cannot be read now, or time is running out.
    """
    found: dict[TransactionId, LiveRow] = {}
    account_ids: dict[str | None, str | None] = {}
    for stored in rows.live_rows(item.item_id, deadline):
        account_id = account_ids.setdefault(stored.account_id, stored.account_id)  # one text for all of its rows
        # No row can be of a later generation than its Item.
        content = None if stored.row is None or stored.generation > item.generation else _hash_of(stored.row)
        found[stored.transaction_id] = LiveRow(account_id, content)
    return found


@dataclass(slots=True)
class HistoryComparison:
    """The result of a pull from the beginning so far; implements `PageFold`.

    Attributes:
        item: the Item as loaded before the pull.
        stored: its live rows, as read before the pull.
        deadline: when the invocation ends.
        keeps_gone_rows: whether the rows of accounts that are gone stay live.
        live: transactions that Plaid has.
        removed: ids that Plaid lists as removed.
        closed: transactions that Plaid has in accounts of which no row may be live.
        served_accounts: those of these accounts that Plaid no longer listed when they were closed.
        skipped_ids: ids that are not compared: of invalid entries.
        invalid: ids of the invalid entries.
        has_unknown_id: whether one of them has no readable transaction id.
        drifted: how each row that differs does.
    """

    rows: AuditedRows
    item: Item
    stored: Mapping[TransactionId, LiveRow]
    deadline: Deadline
    keeps_gone_rows: bool = False
    closed: set[TransactionId] = field(default_factory=set)
    served_accounts: set[str] = field(default_factory=set)
    live: set[TransactionId] = field(default_factory=set)
    removed: set[TransactionId] = field(default_factory=set)
    skipped_ids: set[TransactionId] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    has_unknown_id: bool = False
    drifted: dict[TransactionId, DriftKind] = field(default_factory=dict)
    _details: dict[TransactionId, tuple[Difference, ...]] = field(default_factory=dict)
    _detail_count: int = 0

    def fold(self, page: Page) -> None:
        """Compare the next page with the table: as it was before the pull, and where that differs as it is now."""
        rows = {row.transaction_id: row for row in (*page.added, *page.modified)}
        removed_ids = {removal.transaction_id for removal in page.removed}
        for transaction_id in removed_ids:
            self._forget(transaction_id)
            self.removed.add(transaction_id)
        self._compare_rows([row for key, row in rows.items() if key not in removed_ids])
        self.invalid.update(entry.entry_id for entry in page.invalid)
        self.skipped_ids.update(entry.transaction_id for entry in page.invalid if entry.transaction_id is not None)
        self.has_unknown_id = self.has_unknown_id or any(entry.transaction_id is None for entry in page.invalid)

    def _compare_rows(self, rows: Iterable[TransactionRow]) -> None:
        compared: list[TransactionRow] = []
        states = self.item.account_states
        closed, unlisted = states.without_rows(keeps_gone=self.keeps_gone_rows), states.unlisted
        for row in rows:
            self._forget(row.transaction_id)
            if row.account_id in unlisted:
                self.served_accounts.add(row.account_id)
            if row.account_id in closed:
                self.closed.add(row.transaction_id)
            else:
                self.live.add(row.transaction_id)
                if not self._is_as_stored(row):
                    compared.append(row)
        if not compared:
            return
        stored = self.rows.attributes(self.item.item_id, [row.transaction_id for row in compared], self.deadline)
        for row in compared:
            self._compare(row, stored.get(row.transaction_id))

    def _is_as_stored(self, row: TransactionRow) -> bool:
        stored = self.stored.get(row.transaction_id)
        return stored is not None and stored.content == _hash_of(row)

    def _compare(self, row: TransactionRow, found: Mapping[str, object] | None) -> None:
        if found is None or "removed_at" in found:
            in_table = ABSENT if found is None else ROW_REMOVED
            self._note(row.transaction_id, DriftKind.MISSING, [FieldDifference(ROW, ROW_LIVE, in_table)])
        elif differences := list(compare_row(row, found, self.item.generation)):
            self._note(row.transaction_id, DriftKind.DIFFERENT, differences)

    def finish(self, *, history_complete: bool) -> None:
        """Look for live rows that Plaid has no transaction for, among those that there were before the pull.

        What an incomplete history does not mention may still arrive, and an invalid entry without an id may be any
        row's. What Plaid lists as removed is conclusive in any case.
        """
        absence_is_conclusive = history_complete and not self.has_unknown_id
        states = self.item.account_states
        closed = states.without_rows(keeps_gone=self.keeps_gone_rows)
        for transaction_id, row in self.stored.items():
            if transaction_id in self.live or row.account_id in states.gone - closed:
                continue
            if transaction_id in self.closed or row.account_id in closed:
                self._note(transaction_id, DriftKind.EXTRA, [FieldDifference(ROW, ACCOUNT_CLOSED, ROW_LIVE)])
            elif transaction_id in self.removed:
                self._note(transaction_id, DriftKind.EXTRA, [FieldDifference(ROW, ROW_REMOVED, ROW_LIVE)])
            elif absence_is_conclusive and transaction_id not in self.skipped_ids:
                self._note(transaction_id, DriftKind.EXTRA, [FieldDifference(ROW, ABSENT, ROW_LIVE)])

    def _note(self, transaction_id: TransactionId, kind: DriftKind, differences: list[FieldDifference]) -> None:
        self.drifted[transaction_id] = kind
        room = MAX_DIFFERENCES - self._detail_count
        kept = tuple(
            Difference(transaction_id, kind, found.field, found.at_plaid, found.in_table)
            for found in differences[:room]
        )
        if kept:
            self._details[transaction_id] = kept
            self._detail_count += len(kept)

    def _forget(self, transaction_id: TransactionId) -> None:
        """Drop the result of an earlier page for a transaction."""
        self.live.discard(transaction_id)
        self.removed.discard(transaction_id)
        self.closed.discard(transaction_id)
        self.drifted.pop(transaction_id, None)
        self._detail_count -= len(self._details.pop(transaction_id, ()))

    def count(self, kind: DriftKind) -> int:
        """Return how many rows differ in this way."""
        return Counter(self.drifted.values())[kind]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The first differences, row by row."""
        return tuple(chain.from_iterable(self._details.values()))
