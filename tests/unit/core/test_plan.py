from __future__ import annotations

import dataclasses
import zlib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.core.sync.plan import (
    MAXIMUM_BYTES,
    MAXIMUM_ROWS,
    RowWrite,
    changed_only,
    cut,
    into_transactions,
    reconcile,
    settle,
    stored_size,
    without_accounts,
)
from plaid_sync.core.sync.transactions import Removal, StoredRow, TransactionId, TransactionRow


def row(transaction_id: str, amount: int = 1, size: int = 0) -> TransactionRow:
    return TransactionRow(
        transaction_id=TransactionId(transaction_id),
        account_id="account",
        date="2026-01-01",
        amount=Decimal(amount),
        pending=False,
        plaid=zlib.compress(b"{}") + b"x" * size,
    )


def stored(transaction_id: str, generation: int, first: int, *, live: bool = True, amount: int = 1) -> StoredRow:
    content = row(transaction_id, amount) if live else None
    return StoredRow(TransactionId(transaction_id), "account", live, generation, first, content)


def ids(removals: tuple[Removal, ...]) -> set[str]:
    return {removal.transaction_id for removal in removals}


def test_without_a_dead_attempt_nothing_is_settled() -> None:
    assert settle([], set(), None) == settle([stored("a", 5, 5)], set(), None)
    assert not settle([stored("a", 5, 5)], set(), None).untrusted


def test_a_row_that_only_the_dead_attempt_knew_is_tombstoned() -> None:
    settlement = settle([stored("a", 5, 5), stored("b", 5, 5)], {TransactionId("b")}, writing_since=5)
    assert ids(settlement.tombstones) == {"a"}
    assert not settlement.untrusted


def test_an_older_row_that_the_dead_attempt_changed_can_not_be_trusted() -> None:
    changed, removed = stored("a", 5, 2), stored("b", 5, 2, live=False)
    assert settle([changed], set(), writing_since=5).untrusted
    assert settle([removed], set(), writing_since=5).untrusted
    assert not settle([changed, removed], {TransactionId("a"), TransactionId("b")}, writing_since=5).untrusted


def test_a_tombstone_that_only_the_dead_attempt_knew_stays_as_it_is() -> None:
    settlement = settle([stored("a", 5, 5, live=False)], set(), writing_since=5)
    assert settlement.tombstones == ()
    assert not settlement.untrusted


def test_a_complete_pull_tombstones_every_live_row_that_it_does_not_mention() -> None:
    rows = [stored("a", 1, 1), stored("b", 1, 1), stored("c", 1, 1, live=False)]
    assert ids(reconcile(rows, {TransactionId("a")})) == {"b"}


def test_what_is_stored_already_is_not_written_again() -> None:
    known = {
        TransactionId("same"): stored("same", 1, 1),
        TransactionId("other"): stored("other", 1, 1, amount=2),
        TransactionId("gone"): stored("gone", 1, 1, live=False),
    }
    writes: list[RowWrite] = [row("same"), row("other"), row("gone"), row("new"), Removal(TransactionId("same"))]
    kept, unchanged = changed_only(writes, known)
    assert kept == writes[1:]
    assert unchanged == 1


def test_no_row_of_an_account_that_the_user_has_withdrawn_is_written_but_its_removals_are() -> None:
    theirs, removal = row("theirs"), Removal(TransactionId("gone"), "account")
    others = dataclasses.replace(row("others"), account_id="another")
    writes: list[RowWrite] = [theirs, removal, others]
    assert list(without_accounts(writes, {"account"})) == [removal, others]
    assert list(without_accounts(writes, set())) == writes


@given(st.lists(st.integers(min_value=0, max_value=400_000), max_size=300))
def test_transactions_hold_every_write_once_in_order_within_the_limits(sizes: list[int]) -> None:
    writes = [row(str(number), size=size) for number, size in enumerate(sizes)]
    batches = list(into_transactions(writes))
    assert [write for batch in batches for write in batch] == writes
    assert all(len(batch) <= MAXIMUM_ROWS for batch in batches)
    assert all(sum(map(stored_size, batch)) <= MAXIMUM_BYTES for batch in batches)
    assert batches[0] == [] or all(batches)


def test_anything_is_cut_like_rows() -> None:
    assert [len(batch) for batch in cut(range(200), lambda _: 1)] == [98, 98, 4]
    assert list(cut([1, 2, 3], lambda _: MAXIMUM_BYTES)) == [[1], [2], [3]]


def test_an_update_without_changes_is_still_one_transaction() -> None:
    assert list(into_transactions([])) == [[]]
