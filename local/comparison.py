"""Compares the tables with Plaid, row by row and field by field: pure, and independent of the engine.

It reads rows as docs/data.md says, and imports nothing of the engine but the dictionary that rows are compressed with:
a defect in how rows are written cannot hide in how they are read.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import simplejson
from plaid_sync.domain.dictionaries import TRANSACTION

Row = Mapping[str, Any]
ABSENT = "(absent)"
THE_ITEM = "(the Item)"
_QUERIED = (
    "account_id",
    "date",
    "authorized_date",
    "amount",
    "iso_currency_code",
    "unofficial_currency_code",
    "name",
    "merchant_name",
    "pending",
    "pending_transaction_id",
    "payment_channel",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One value in the tables that is wrong.

    Attributes:
        field: the attribute, or the place inside the Plaid object (`plaid.location.lat`).
    """

    item_id: str
    transaction_id: str
    field: str
    at_plaid: object
    in_table: object


@dataclass(frozen=True, slots=True)
class PlaidItem:
    """An Item as Plaid knows it.

    Attributes:
        head: how many changes Plaid's log holds.
        final_cursors: every cursor that ended a pull, with the number of changes up to it.
        removed: the transactions that were removed.
        accounts: the accounts that Plaid lists.
    """

    item_id: str
    rows: Mapping[str, Row]
    head: int
    final_cursors: Mapping[str, int]
    removed: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tables:
    """What AWS holds: every row of both tables as Python values, and the dead letters as texts."""

    items: Sequence[Row]
    transactions: Sequence[Row]
    dead_letters: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ItemVerdict:
    """What the comparison of one Item found.

    Attributes:
        changes: how many of Plaid's changes the stored cursor covers.
    """

    item_id: str
    in_table: int
    at_plaid: int
    changes: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the whole comparison found.

    Attributes:
        strays: differences that belong to no Item of Plaid's.
    """

    items: tuple[ItemVerdict, ...]
    strays: tuple[Difference, ...] = field(default=())

    @property
    def differences(self) -> list[Difference]:
        return [difference for item in self.items for difference in item.differences] + list(self.strays)

    @property
    def in_table(self) -> int:
        """Live rows in the table, of all of Plaid's Items."""
        return sum(item.in_table for item in self.items)

    @property
    def at_plaid(self) -> int:
        """Live rows at Plaid."""
        return sum(item.at_plaid for item in self.items)

    @property
    def changes(self) -> int:
        """How many of Plaid's changes the tables cover."""
        return sum(item.changes for item in self.items)


def compare(plaid: Sequence[PlaidItem], tables: Tables) -> Verdict:
    """Compare everything, in both directions."""
    rows: defaultdict[str, dict[str, Row]] = defaultdict(dict)
    for row in tables.transactions:
        rows[row["item_id"]][row["transaction_id"]] = row
    records = {record["item_id"]: record for record in tables.items}
    owners = {transaction_id: item.item_id for item in plaid for transaction_id in (*item.rows, *item.removed)}
    verdicts = tuple(_compare_item(item, rows[item.item_id], records.get(item.item_id), owners) for item in plaid)
    known = {item.item_id for item in plaid}
    return Verdict(verdicts, tuple(_strays(known, rows, records, tables.dead_letters)))


def _strays(
    known: set[str],
    rows: Mapping[str, Mapping[str, Row]],
    records: Mapping[str, Row],
    dead_letters: Sequence[str],
) -> Iterator[Difference]:
    for item_id in sorted(rows.keys() - known):
        for transaction_id in rows[item_id]:
            yield Difference(item_id, transaction_id, "item_id", "no such Item", "a row")
    for item_id in sorted(records.keys() - known):
        if records[item_id].get("state") == "removed":
            continue  # its record stays, so that its id is never used again
        yield Difference(item_id, THE_ITEM, "item_id", "no such Item", "an Item")
    for letter in dead_letters:
        yield Difference("(dead-letter queue)", "(a message)", "body", "no dead letter", letter)


def _compare_item(
    item: PlaidItem, rows: Mapping[str, Row], record: Row | None, owners: Mapping[str, str]
) -> ItemVerdict:
    differences = list(_of_record(item, record))
    for transaction_id in sorted(item.rows.keys() | rows.keys()):
        for name, at_plaid, in_table in _of_row(item, transaction_id, rows.get(transaction_id), owners):
            differences.append(Difference(item.item_id, transaction_id, name, at_plaid, in_table))
    live = sum(_is_live(row) for row in rows.values())
    changes = item.final_cursors.get(record["cursor"], 0) if record and "cursor" in record else 0
    return ItemVerdict(item.item_id, live, len(item.rows), changes, tuple(differences))


def _of_record(item: PlaidItem, record: Row | None) -> Iterator[Difference]:
    if record is None:
        yield Difference(item.item_id, THE_ITEM, "item_id", "an Item", ABSENT)
        return
    cursor = record.get("cursor", ABSENT)
    position = item.final_cursors.get(cursor)
    if position is None:
        yield Difference(item.item_id, THE_ITEM, "cursor", "a cursor that ended a pull", cursor)
    elif position != item.head:
        yield Difference(item.item_id, THE_ITEM, "cursor", f"change {item.head}", f"change {position}")
    for name, wanted in (("state", "active"), ("writing_since", ABSENT), ("reconcile", ABSENT)):
        if record.get(name, ABSENT) != wanted:
            yield Difference(item.item_id, THE_ITEM, name, wanted, record.get(name, ABSENT))


def _of_row(
    item: PlaidItem, transaction_id: str, row: Row | None, owners: Mapping[str, str]
) -> Iterator[tuple[str, object, object]]:
    truth = item.rows.get(transaction_id)
    owner = owners.get(transaction_id)
    if row is not None and owner not in {None, item.item_id}:
        yield "item_id", owner, item.item_id
    elif truth is None:
        if row is not None and _is_live(row):
            yield "(row)", "removed" if transaction_id in item.removed else ABSENT, "live"
        elif row is not None:
            yield from _of_tombstone(row, item.accounts)
    elif row is None:
        yield "(row)", "live", ABSENT
    elif not _is_live(row):
        yield "(row)", "live", "removed"
    else:
        yield from _of_live_row(truth, row)


def _of_tombstone(row: Row, accounts: Collection[str]) -> Iterator[tuple[str, object, object]]:
    if "date_id" in row:
        yield "date_id", "absent from a removed row", row["date_id"]
    # The transactions of an account that is no longer listed are kept for its return, and annotated ones for a person.
    kept = "plaid" in row and row.get("account_id") not in accounts
    kept = kept or "annotations" in row
    if "expires_at" not in row and not kept:
        yield "expires_at", "a time", ABSENT


def _of_live_row(truth: Row, row: Row) -> Iterator[tuple[str, object, object]]:
    expected = {name: truth.get(name) for name in _QUERIED}
    expected["category"] = (truth.get("personal_finance_category") or {}).get("primary")
    expected["date_id"] = f"{truth['date']}#{truth['transaction_id']}"
    expected["expires_at"] = None
    for name, value in expected.items():
        yield from _unequal(name, value, row.get(name))
    stored = _plaid_object(row)
    if stored is None:
        yield "plaid", "the whole Plaid object", row.get("plaid", ABSENT)
    else:
        yield from _unequal("plaid", truth, stored)


def _unequal(name: str, at_plaid: Any, in_table: Any) -> Iterator[tuple[str, object, object]]:  # noqa: ANN401 - any JSON
    """Yield the innermost places where two values differ. Numbers are equal by value, but true is not 1."""
    if isinstance(at_plaid, Mapping) and isinstance(in_table, Mapping):
        for key in sorted(at_plaid.keys() | in_table.keys()):
            yield from _unequal(f"{name}.{key}", at_plaid.get(key, ABSENT), in_table.get(key, ABSENT))
    elif isinstance(at_plaid, list) and isinstance(in_table, list) and len(at_plaid) == len(in_table):
        for number, pair in enumerate(zip(at_plaid, in_table, strict=True)):
            yield from _unequal(f"{name}[{number}]", *pair)
    elif isinstance(at_plaid, bool) is not isinstance(in_table, bool) or at_plaid != in_table:
        yield name, at_plaid, in_table


def _plaid_object(row: Row) -> Row | None:
    """Return the Plaid object that a row holds; None if it holds none."""
    try:
        text = zlib.decompressobj(zdict=TRANSACTION).decompress(row["plaid"])
        document = simplejson.loads(text, use_decimal=True)
    except (KeyError, TypeError, ValueError, zlib.error):
        return None
    if not isinstance(document, dict):
        return None
    return {name: row[name] for name in (*_QUERIED, "transaction_id") if name in row} | document


def _is_live(row: Row) -> bool:
    return "removed_at" not in row
