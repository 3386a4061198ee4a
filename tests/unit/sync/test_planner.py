"""What an update writes, and how its writes are split into transactions."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.domain.pendings import pending_links
from plaid_sync.domain.transaction import PendingLink, RowRemoval, RowWrite, StoredRow, TransactionId, TransactionRow
from plaid_sync.sync.planner import (
    MAX_BYTES,
    MAX_ROWS,
    drop_unchanged,
    reconcile,
    recover_partial_writes,
    split,
    split_writes,
    stored_size,
    without_accounts,
)


def row(transaction_id: str, amount: int = 1, size: int = 0) -> TransactionRow:
    return TransactionRow(
        transaction_id=TransactionId(transaction_id),
        account_id="account",
        date="2026-01-01",
        amount=Decimal(amount),
        pending=False,
        remainder=b"{}" + b"x" * size,
    )


def stored(transaction_id: str, generation: int, first: int, *, live: bool = True, amount: int = 1) -> StoredRow:
    content = row(transaction_id, amount) if live else None
    return StoredRow(TransactionId(transaction_id), "account", live, generation, first, content)


def ids(removals: tuple[RowRemoval, ...]) -> set[str]:
    return {removal.transaction_id for removal in removals}


@pytest.mark.parametrize(
    ("rows", "mentioned", "writing_since", "tombstones", "needs_full_resync"),
    [
        ([stored("a", 5, 5)], set(), None, set(), False),
        ([stored("a", 5, 5), stored("b", 5, 5)], {"b"}, 5, {"a"}, False),
        ([stored("a", 5, 5, live=False)], set(), 5, set(), False),
        ([stored("a", 5, 2)], set(), 5, set(), True),
        ([stored("a", 5, 2, live=False)], set(), 5, set(), True),
        ([stored("a", 5, 2), stored("b", 5, 2, live=False)], {"a", "b"}, 5, set(), False),
    ],
    ids=[
        "no dead attempt",
        "created and not mentioned",
        "a tombstone stays",
        "an older row was changed",
        "an older row was removed",
        "all are mentioned",
    ],
)
def test_recovery_decides_about_the_rows_of_a_dead_attempt(
    rows: list[StoredRow],
    mentioned: set[TransactionId],
    writing_since: int | None,
    tombstones: set[str],
    *,
    needs_full_resync: bool,
) -> None:
    recovery = recover_partial_writes(rows, mentioned, writing_since)
    assert (ids(recovery.tombstones), recovery.needs_full_resync) == (tombstones, needs_full_resync)


def test_a_complete_pull_tombstones_every_live_row_that_it_does_not_mention() -> None:
    rows = [stored("a", 1, 1), stored("b", 1, 1), stored("c", 1, 1, live=False)]
    assert ids(reconcile(rows, {TransactionId("a")})) == {"b"}


def test_a_row_that_is_stored_already_is_not_written_again() -> None:
    known = {
        TransactionId("same"): stored("same", 1, 1),
        TransactionId("other"): stored("other", 1, 1, amount=2),
        TransactionId("gone"): stored("gone", 1, 1, live=False),
    }
    writes: list[RowWrite] = [row("same"), row("other"), row("gone"), row("new"), RowRemoval(TransactionId("same"))]
    kept, unchanged = drop_unchanged(writes, known)
    assert kept == writes[1:]
    assert unchanged == 1


def test_of_a_withdrawn_account_only_removals_are_written() -> None:
    theirs, removal = row("theirs"), RowRemoval(TransactionId("gone"), "account")
    others = dataclasses.replace(row("others"), account_id="another")
    writes: list[RowWrite] = [theirs, removal, others]
    assert list(without_accounts(writes, {"account"})) == [removal, others]
    assert list(without_accounts(writes, set())) == writes


@given(st.lists(st.integers(min_value=0, max_value=400_000), max_size=300))
def test_every_write_is_in_one_transaction_in_order_within_the_limits(sizes: list[int]) -> None:
    writes = [row(str(number), size=size) for number, size in enumerate(sizes)]
    batches = list(split_writes(writes))
    assert [write for batch in batches for write in batch] == writes
    assert all(len(batch) <= MAX_ROWS for batch in batches)
    assert all(sum(map(stored_size, batch)) <= MAX_BYTES for batch in batches)
    assert batches[0] == [] or all(batches)


def posted(transaction_id: str, pending_id: str) -> TransactionRow:
    return dataclasses.replace(row(transaction_id), pending_transaction_id=pending_id)


def test_a_pending_row_and_its_posted_one_stay_in_one_transaction() -> None:
    """Wherever in the update they are, and live, removed or only stored; a pair may be where a batch is full."""
    fillers: list[RowWrite] = [row(f"f{number}") for number in range(MAX_ROWS - 1)]
    pending: list[RowWrite] = [
        RowRemoval(TransactionId("removed")),
        row("live"),
        PendingLink(TransactionId("stored"), TransactionId("t2")),
    ]
    theirs: list[RowWrite] = [posted("t0", "removed"), posted("t1", "live"), posted("t2", "stored")]
    for writes in ([*pending, *fillers, *theirs], [*fillers, *theirs, *pending], [*theirs, *fillers, *pending]):
        batches = list(split_writes(writes))
        assert sorted(map(repr, writes)) == sorted(repr(write) for batch in batches for write in batch)
        assert all(len(batch) <= MAX_ROWS for batch in batches)
        for first, second in zip(pending, theirs, strict=True):
            assert [first in batch for batch in batches] == [second in batch for batch in batches]


def test_rows_that_name_themselves_each_other_or_the_same_are_written_once() -> None:
    chain: list[RowWrite] = [posted("a", "b"), posted("b", "c"), posted("c", "c"), posted("d", "b"), posted("e", "")]
    (batch,) = split_writes(chain)
    assert sorted(map(repr, batch)) == sorted(map(repr, chain))
    circle: list[RowWrite] = [posted("a", "b"), posted("b", "a")]
    assert [sorted(map(repr, batch)) for batch in split_writes(circle)] == [sorted(map(repr, circle))]


def test_links_are_those_of_named_rows_that_are_not_written() -> None:
    writes: list[RowWrite] = [
        posted("a", "stored"),
        posted("b", "stored"),
        posted("c", "written"),
        RowRemoval(TransactionId("written")),
        posted("d", "d"),
        posted("e", ""),
        posted("f", "x" * 1001),
    ]
    assert pending_links(writes) == {"stored": PendingLink(TransactionId("stored"), TransactionId("a"))}


def test_actions_of_any_kind_are_split_like_rows() -> None:
    assert [len(batch) for batch in split(range(200), lambda _: 1)] == [97, 97, 6]
    assert list(split([1, 2, 3], lambda _: MAX_BYTES)) == [[1], [2], [3]]
    assert list(split_writes([])) == [[]]


def test_a_transaction_is_within_dynamodbs_limits() -> None:
    """The limits of DynamoDB as numbers of their own, which no constant of the engine can move."""
    many: list[RowWrite] = [RowRemoval(TransactionId(str(number))) for number in range(250)]
    large: list[RowWrite] = [row(str(number), size=340_000) for number in range(40)]
    for batch in (*split_writes(many), *split_writes(large)):
        # One action is the Item's, one the feed's, and the last transaction has the history entry, too.
        assert 1 + len(batch) + 1 + 1 <= 100
        assert sum(len(write.remainder) for write in batch if isinstance(write, TransactionRow)) < 4_000_000
