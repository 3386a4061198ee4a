"""The comparison of an Item's rows with Plaid: what differs, what counts, and how much memory it takes."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.audit.compare import HistoryComparison, LiveRow, compare_row, read_live_rows
from plaid_sync.audit.report import MAX_DIFFERENCES, DriftKind
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.aws.dynamodb.transactions import stored_row_from
from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import AccountStates
from plaid_sync.domain.transaction import StoredRow, TransactionId, parse_transaction
from plaid_sync.sync.planner import drop_unchanged

from tests.fakes.clock import PLENTY
from tests.fakes.items import new_item
from tests.fakes.plaid import page, transaction
from tests.fakes.transactions import stored_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.pull.pages import Page

GENERATION = 5
ITEM = new_item("item", generation=GENERATION)
MARKS = {"generation": Decimal(3), "first_generation": Decimal(1)}


def stored(transaction_id: str, **changes: Any) -> dict[str, object]:
    """Return the attributes of a transaction's row with changes; None removes one."""
    row = parse_transaction(transaction(transaction_id))
    values: dict[str, object] = stored_attributes(row) | MARKS | changes
    return {name: value for name, value in values.items() if value is not None}


@dataclass(slots=True)
class Rows:
    """Rows of a table, implements `AuditedRows`: each as `row_of` returns it, None for none.

    Attributes:
        listed: the ids of the rows that there are before the pull.
        read: the ids that were read by key.
    """

    row_of: Callable[[str], Mapping[str, object] | None]
    listed: tuple[str, ...] = ()
    read: list[TransactionId] = field(default_factory=list)

    def attributes(
        self,
        item_id: ItemId,  # noqa: ARG002 - the port's
        ids: Collection[TransactionId],
        deadline: Deadline,  # noqa: ARG002 - the port's
    ) -> Mapping[TransactionId, Mapping[str, object]]:
        self.read += ids
        found = {transaction_id: self.row_of(transaction_id) for transaction_id in ids}
        return {transaction_id: row for transaction_id, row in found.items() if row is not None}

    def live_rows(self, item_id: ItemId, deadline: Deadline) -> Iterator[StoredRow]:  # noqa: ARG002 - the port's
        found = filter(None, map(self.row_of, self.listed))
        return (stored_row_from({name: serialize(value) for name, value in row.items()}) for row in found)


def compare(*pages: Page, rows: Rows | None = None, item: Item = ITEM) -> HistoryComparison:
    rows = rows or Rows(stored)
    comparison = HistoryComparison(rows, item, read_live_rows(rows, item, PLENTY), PLENTY)
    for following in pages:
        comparison.fold(following)
    return comparison


def live(**account_ids: str) -> dict[TransactionId, LiveRow]:
    """Return rows that are live in the table, in these accounts."""
    return {TransactionId(key): LiveRow(account_id, None) for key, account_id in account_ids.items()}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.decimals(-5, 5, places=2) | st.text("ab1", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.sampled_from([*parse_transaction(transaction("t")).attributes, *MARKS, "expires_at", "merchant_name"]),
    st.none() | JSON.filter(lambda value: value is not None) | st.binary(max_size=3),
)
def test_a_full_resync_writes_every_row_that_the_audit_reports_as_different(name: str, value: Any) -> None:
    row = parse_transaction(transaction("t"))
    found = stored("t", **{name: value})
    different = list(compare_row(row, found, GENERATION))
    known = stored_row_from({attribute: serialize(held) for attribute, held in found.items()})
    readable = {row.transaction_id: known} if "generation" in found and known.generation < GENERATION else {}
    kept, _ = drop_unchanged([row], readable)
    if different and name != "generation":
        assert kept == [row]
    if not different:
        assert kept == [] or name == "plaid"


@pytest.mark.parametrize(
    ("changes", "field", "at_plaid", "in_table"),
    [
        ({"pending": Decimal(0)}, "pending", "false", "0"),
        ({"amount": "12.5"}, "amount", "12.5", '"12.5"'),
        ({"merchant_name": "(absent)"}, "merchant_name", "(absent)", '"(absent)"'),
        ({"plaid": "text"}, "plaid", "(an object)", "(unreadable)"),
        ({"generation": Decimal(6)}, "generation", "5", "6"),
    ],
)
def test_a_difference_shows_types_and_absence(
    changes: dict[str, Any], field: str, at_plaid: str, in_table: str
) -> None:
    row = replace(parse_transaction(transaction("t")), amount=Decimal("12.5"))
    found = stored("t", amount=Decimal("12.5")) | changes
    (difference,) = compare_row(row, found, GENERATION)
    assert (difference.field, difference.at_plaid, difference.in_table) == (field, at_plaid, in_table)


def test_a_later_page_wins_and_removed_wins_within_a_page() -> None:
    rows = Rows(lambda key: stored(key, name="another") if key == "a" else None)
    both = page(added=[transaction("a"), transaction("b"), transaction("c")])
    gone = page(added=[transaction("d")], removed=[{"transaction_id": "b"}, {"transaction_id": "d"}])
    as_stored = page(modified=[transaction("a") | {"name": "another"}])
    assert compare(both, gone, rows=rows).drifted == {"a": DriftKind.DIFFERENT, "c": DriftKind.MISSING}
    again = compare(both, gone, as_stored, rows=rows)
    assert {found.field for found in again.differences} == {"(row)"}


def test_a_row_that_plaid_removed_is_extra_and_one_that_it_omits_only_in_a_complete_history() -> None:
    def extras(*pages: Page, complete: bool) -> set[str]:
        rows = live(a="account", gone="account", unknown="account", invalid="account")
        comparison = HistoryComparison(Rows(stored), ITEM, rows, PLENTY)
        for following in (page(added=[transaction("a")], removed=[{"transaction_id": "gone"}]), *pages):
            comparison.fold(following)
        comparison.finish(history_complete=complete)
        return set(comparison.drifted)

    invalid = page(added=[transaction("invalid") | {"amount": "a text"}])
    nameless = page(added=[transaction("invalid") | {"transaction_id": None}])
    assert extras(invalid, complete=False) == {"gone"}
    assert extras(invalid, complete=True) == {"gone", "unknown"}
    assert extras(nameless, complete=True) == {"gone"}


CLOSED = frozenset({"account"})


@pytest.mark.parametrize(
    "states", [AccountStates(withdrawn=CLOSED), AccountStates(gone=CLOSED), AccountStates(erased=CLOSED)], ids=str
)
@pytest.mark.parametrize("keeps_gone_rows", [False, True])
def test_rows_of_closed_accounts_must_not_be_live_and_accounts_that_plaid_serves_all_the_same_are_named(
    states: AccountStates, *, keeps_gone_rows: bool
) -> None:
    """`moved` is stored in another account, and Plaid now serves it in the closed one."""
    item, kept = replace(ITEM, account_states=states), bool(states.gone) and keeps_gone_rows
    rows = live(moved="other", within="account", unknown="other")
    comparison = HistoryComparison(Rows(lambda _: None), item, rows, PLENTY, keeps_gone_rows)
    comparison.fold(page(added=[transaction("moved")]))
    comparison.finish(history_complete=True)
    expected = {"unknown": DriftKind.EXTRA}
    expected |= {"moved": DriftKind.MISSING} if kept else {"moved": DriftKind.EXTRA, "within": DriftKind.EXTRA}
    assert comparison.drifted == expected
    assert comparison.served_accounts == (set() if states.erased else CLOSED)


def test_only_rows_that_are_not_as_plaids_are_read_by_their_keys() -> None:
    """`c` is new at Plaid, and a sync has written it since; `d` is of a later generation than the Item."""
    changes: dict[str, dict[str, Any]] = {
        "b": {"name": "another"},
        "d": {"generation": Decimal(6)},
        "e": {"plaid": zlib.compress(exact_json.dumps(transaction("e")).encode())},  # an older version's
    }
    rows = Rows(lambda key: stored(key, **changes.get(key, {})), listed=("a", "b", "d", "e"))
    comparison = compare(page(added=list(map(transaction, "abcde"))), rows=rows)
    assert rows.read == ["b", "c", "d"]
    assert comparison.drifted == {"b": DriftKind.DIFFERENT, "d": DriftKind.DIFFERENT}
    assert comparison.live == set("abcde")


def test_an_unchanged_row_is_not_different_however_its_object_is_written() -> None:
    """Another program may have written it: spaces, another order, other digits, everything in the object."""
    documents = {
        "a": transaction("a") | {"amount": 3, "location": {"lat": Decimal("1.50")}},
        "b": transaction("b") | {"x": [1, Decimal("2.0")]},
    }

    def rewritten(key: str) -> dict[str, object]:
        text = json.dumps(dict(reversed(documents[key].items())), indent=1, default=float)
        return stored_attributes(parse_transaction(documents[key])) | MARKS | {"plaid": zlib.compress(text.encode())}

    rows = Rows(rewritten, listed=("a", "b"))
    assert compare(page(added=list(documents.values())), rows=rows).drifted == {}
    assert rows.read == ["a"]  # whose digits are others


ROW = parse_transaction(transaction("t"))
STORED = stored_attributes(ROW) | MARKS


def copy_of(key: str, **changes: object) -> dict[str, object]:
    return STORED | {"transaction_id": key, "date_id": f"2026-01-01#{key}"} | changes


@pytest.mark.parametrize("row_of", [copy_of, lambda _: None, lambda key: copy_of(key, name="x" * 1000)])
def test_memory_holds_ids_and_hashes_and_no_rows(row_of: Callable[[str], Mapping[str, object] | None]) -> None:
    """The place of an id in a set takes about 100 bytes, with a hash in a dictionary about 300, a row some 900 more."""

    def peak(transactions: int) -> int:
        keys = [f"{number:037}" for number in range(transactions)]
        ids = iter([TransactionId(key) for key in keys])
        rows, around = Rows(row_of, listed=tuple(keys)), page()
        tracemalloc.start()
        comparison = HistoryComparison(rows, ITEM, read_live_rows(rows, ITEM, PLENTY), PLENTY)
        for _ in range(transactions // 100):
            added = [
                replace(ROW, transaction_id=next(ids), remainder=bytes(bytearray(ROW.remainder))) for _ in range(100)
            ]
            comparison.fold(replace(around, added=tuple(added)))
        assert len(comparison.differences) <= MAX_DIFFERENCES
        assert len(comparison.live) == transactions
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak_bytes

    assert (peak(4000) - peak(1000)) / 3000 < 350


@pytest.mark.parametrize("amount", [Decimal(-2), Decimal(2**61 - 2)])
def test_amounts_whose_hashes_are_equal_are_not_taken_for_each_other(amount: Decimal) -> None:
    """Python seeds no hash of a number: that of -1 is that of -2, and numbers repeat modulo 2**61 - 1."""
    at_plaid = transaction("t") | {"amount": -1 if amount < 0 else 2**62 - 3}
    row = stored_attributes(parse_transaction(at_plaid)) | MARKS
    assert hash(row["amount"]) == hash(amount)
    found = compare(page(added=[at_plaid]), rows=Rows(lambda _: row | {"amount": amount}, ("t",)))
    assert found.count(DriftKind.DIFFERENT) == 1
