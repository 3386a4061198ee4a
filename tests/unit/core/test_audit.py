"""The audit without AWS and Plaid: what differs, what counts, and what of a history stays in memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.adapters.dynamodb.expressions import serialize
from plaid_sync.adapters.dynamodb.row_format import to_stored_row
from plaid_sync.core.audit.comparing import compare_row
from plaid_sync.core.audit.report import MOST_DIFFERENCES, DriftKind
from plaid_sync.core.audit.sampling import draw
from plaid_sync.core.audit.tally import Tally
from plaid_sync.core.items import Item, ItemId, ItemStatus, Standing
from plaid_sync.core.sync.pages import parse_page
from plaid_sync.core.sync.plan import changed_only
from plaid_sync.core.sync.transactions import StoredRow, TransactionId, reduce_transaction

from tests.unit.core.test_pages import answer, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from plaid_sync.core.sync.pages import Page

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ITEM = Item(ItemId("item"), b"", 5, Standing(ItemStatus.ACTIVE))
GENERATION = 5
MARKS = {"generation": Decimal(3), "first_generation": Decimal(1)}


def stored(transaction_id: str, **changes: Any) -> dict[str, object]:
    """The attributes of a transaction's row, but for the changes; None takes one away."""
    row = reduce_transaction(transaction(transaction_id))
    values: dict[str, object] = {"transaction_id": transaction_id, **row.attributes, **MARKS, **changes}
    return {name: value for name, value in values.items() if value is not None}


@dataclass(slots=True)
class Rows:
    """Rows of a table: each as `row_of` says, None for none."""

    row_of: Callable[[str], Mapping[str, object] | None]

    def attributes(
        self,
        item_id: ItemId,  # noqa: ARG002 - the port's
        ids: Collection[TransactionId],
    ) -> Mapping[TransactionId, Mapping[str, object]]:
        found = {transaction_id: self.row_of(transaction_id) for transaction_id in ids}
        return {transaction_id: row for transaction_id, row in found.items() if row is not None}

    def scan_item(self, item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        raise NotImplementedError


def page(**fields: Any) -> Page:
    return parse_page(answer(**fields))


def tally(*pages: Page, rows: Rows | None = None, item: Item = ITEM) -> Tally:
    made = Tally(rows or Rows(stored), item)
    for one in pages:
        made.fold(one)
    return made


def live(transaction_id: str, account_id: str = "account") -> StoredRow:
    return StoredRow(TransactionId(transaction_id), account_id, live=True, generation=3, first_generation=1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.decimals(-5, 5, places=2) | st.text("ab1", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.sampled_from([*reduce_transaction(transaction("t")).attributes, *MARKS, "expires_at", "merchant_name"]),
    st.none() | JSON.filter(lambda value: value is not None) | st.binary(max_size=3),
)
def test_a_resync_rewrites_every_row_that_the_audit_calls_different(name: str, value: Any) -> None:
    row = reduce_transaction(transaction("t"))
    found = stored("t", **{name: value})
    different = list(compare_row(row, found, GENERATION))
    known = to_stored_row({attribute: serialize(held) for attribute, held in found.items()})
    readable = {row.transaction_id: known} if "generation" in found and known.generation < GENERATION else {}
    kept, _ = changed_only([row], readable)
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
    row = replace(reduce_transaction(transaction("t")), amount=Decimal("12.5"))
    found = stored("t", amount=Decimal("12.5")) | changes
    (difference,) = compare_row(row, found, GENERATION)
    assert (difference.field, difference.at_plaid, difference.in_table) == (field, at_plaid, in_table)


def test_a_later_page_has_the_last_word_and_so_has_removed_within_a_page() -> None:
    rows = Rows(lambda one: stored(one, name="another") if one == "a" else None)
    both = page(added=[transaction("a"), transaction("b"), transaction("c")])
    gone = page(added=[transaction("d")], removed=[{"transaction_id": "b"}, {"transaction_id": "d"}])
    as_stored = page(modified=[transaction("a") | {"name": "another"}])
    found = tally(both, gone, rows=rows)
    assert found.drifted == {"a": DriftKind.DIFFERENT, "c": DriftKind.MISSING}
    again = tally(both, gone, as_stored, rows=rows)
    assert {one.field for one in again.differences} == {"(row)", "plaid.name"}  # the object is still the old one


def test_what_plaid_calls_removed_is_extra_and_what_it_does_not_mention_only_in_a_complete_history() -> None:
    def extras(*pages: Page, complete: bool) -> set[str]:
        made = tally(page(added=[transaction("a")], removed=[{"transaction_id": "gone"}]), *pages)
        made.finish([live("a"), live("gone"), live("unknown"), live("broken")], history_complete=complete)
        return set(made.drifted)

    broken = page(added=[transaction("broken") | {"amount": "a text"}])
    nameless = page(added=[transaction("broken") | {"transaction_id": None}])
    assert extras(broken, complete=False) == {"gone"}
    assert extras(broken, complete=True) == {"gone", "unknown"}
    assert extras(nameless, complete=True) == {"gone"}


def test_accounts_that_the_user_has_withdrawn_are_left_out_on_both_sides() -> None:
    item = replace(ITEM, revoked_accounts=frozenset({"account"}))
    made = tally(page(added=[transaction("a")]), rows=Rows(lambda _: None), item=item)
    made.finish([live("b"), live("c", "other")], history_complete=True)
    assert (set(made.drifted), len(made.live)) == ({"c"}, 0)


@pytest.mark.parametrize("row_of", [stored, lambda _: None, lambda one: stored(one, name="x" * 1000)])
def test_memory_holds_ids_and_no_history(row_of: Callable[[str], Mapping[str, object] | None]) -> None:
    """A transaction takes about 1.5 KB as a row; of its id and the set that holds it some 200 bytes are left."""

    def peak(transactions: int) -> int:
        ids = iter(f"{number:037}" for number in range(transactions))
        tracemalloc.start()
        made = Tally(Rows(row_of), ITEM)
        for _ in range(transactions // 100):
            made.fold(page(added=[transaction(next(ids)) for _ in range(100)]))
        assert len(made.differences) <= MOST_DIFFERENCES
        assert len(made.live) == transactions
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert (peak(4000) - peak(1000)) / 3000 < 450


def test_a_sample_is_drawn_with_equal_chances_and_without_holding_the_list() -> None:
    drawn = [0] * 5
    for first in range(3):
        for second in range(4):
            for third in range(5):
                numbers = iter([first, second, third])
                for one in draw(range(5), 2, lambda _, numbers=numbers: next(numbers)):  # type: ignore[misc] # bound
                    drawn[one] += 1
    assert drawn == [24] * 5
    assert draw(range(2), 5, lambda _: 0) == [0, 1]
