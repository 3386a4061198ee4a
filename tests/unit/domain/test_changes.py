"""What writes change, and what several of them amount to: always the difference between the first row and the last."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.domain.changes import (
    MAX_STORED_BYTES,
    Change,
    ChangeKind,
    change_of,
    decode_changes,
    difference,
    encode_changes,
    then,
    undone,
)
from plaid_sync.domain.transaction import RowRemoval, StoredRow, TransactionId, TransactionRow, parse_transaction

from tests.unit.domain.test_transaction import plaid_transaction

ID = TransactionId("lPNjeW1nR6CDn5okmGQ6hEpMo4lLNoSrzqDje")
ERASED = "erased"
CONTENTS = st.builds(
    lambda amount, name, extra: parse_transaction(plaid_transaction(amount=amount, name=name) | extra),
    st.sampled_from([Decimal("1.5"), Decimal(2), Decimal("1.50001")]),
    st.sampled_from(["a", "b", None]),
    st.sampled_from([{}, {"check_number": "7"}, {"check_number": None}]),
)
WRITES = st.lists(st.one_of(CONTENTS, st.just(RowRemoval(ID)), st.just(RowRemoval(ID, erase=True))), max_size=6)


def stored(write: TransactionRow | RowRemoval | None) -> StoredRow | None:
    """Return the row after a write; None where nothing was written."""
    if write is None:
        return None
    row = write if isinstance(write, TransactionRow) else None
    return StoredRow(ID, "account", live=row is not None, generation=1, first_generation=1, row=row)


def applied(change: Change | None, content: dict[str, Any] | None) -> dict[str, Any] | str | None:
    """Return what a reader has after a change: an object, nothing, or `ERASED` where the change cannot say."""
    if change is None:
        return content
    match change.kind:
        case ChangeKind.ADDED | ChangeKind.REPLACED:
            return change.content
        case ChangeKind.REMOVED:
            return None
        case ChangeKind.MODIFIED:
            assert change.fields
            assert content is not None
            for name, sides in change.fields.items():
                assert sides.get("old") == content.get(name)
            return {name: value for name, value in content.items() if name not in change.fields} | {
                name: sides["new"] for name, sides in change.fields.items() if "new" in sides
            }


@given(first=st.none() | CONTENTS | st.just(RowRemoval(ID)), writes=WRITES)
def test_changes_put_together_are_the_difference_between_the_first_row_and_the_last(
    first: TransactionRow | RowRemoval | None, writes: list[TransactionRow | RowRemoval]
) -> None:
    before, total = stored(first), None
    changes, contents = [], [first.plaid_object if isinstance(first, TransactionRow) else None]
    for write in writes:
        change = change_of(before, write)
        total = total if change is None else then(total, change)
        before = stored(write)
        changes += [] if change is None else [change]
        contents.append(write.plaid_object if isinstance(write, TransactionRow) else None)
    was = first.plaid_object if isinstance(first, TransactionRow) else None
    is_now = before.row.plaid_object if before is not None and before.row is not None else None
    assert applied(total, was) == is_now
    if total is None:
        assert was == is_now
    elif total.kind is not ChangeKind.REPLACED:
        assert was != is_now, "a change that changes nothing"
    for read in contents if changes else ():
        lived, content = undone(changes, read)
        assert lived == (was is not None)
        assert content == was or RowRemoval(ID, erase=True) in writes
    if decoded := [] if total is None else decode_changes(encode_changes([total])):
        assert decoded == [total]


def test_values_that_are_equal_in_python_alone_differ() -> None:
    assert difference({"a": 1}, {"a": True}) == {"a": {"old": 1, "new": True}}
    assert difference({"a": Decimal("1.0")}, {"a": Decimal("1.0"), "b": None}) == {"b": {"new": None}}


def test_a_row_that_another_program_damaged_is_modified_in_an_unknown_way() -> None:
    damaged = StoredRow(ID, "account", live=True, generation=1, first_generation=1)
    change = change_of(damaged, parse_transaction(plaid_transaction()))
    assert change == Change(ID, ChangeKind.MODIFIED, "BxBXxLj1m4HMXBm9WZZmCWVbPjX16EHwv99vp")
    again = Change(ID, ChangeKind.MODIFIED, change.account_id, fields={"name": {"old": "a", "new": "b"}})
    assert then(change, again) == change


def test_contents_that_do_not_fit_are_omitted_and_the_others_stay() -> None:
    small = Change(ID, ChangeKind.ADDED, "account", {"name": "small"})
    large = Change(TransactionId("large"), ChangeKind.ADDED, "account", {"name": random_text(300_000)})
    larger = replace(large, transaction_id=TransactionId("larger"))
    stored_bytes = encode_changes([small, large, larger])
    assert len(stored_bytes) <= MAX_STORED_BYTES
    assert decode_changes(stored_bytes) == [small, replace(large, content=None), replace(larger, content=None)]


def random_text(length: int) -> str:
    """Return a text that no compression makes smaller than three quarters."""
    state, text = 1, []
    for _ in range(length):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        text.append(chr(33 + (state >> 8) % 93))
    return "".join(text)


@pytest.mark.parametrize("damaged", [None, b"", b"no stream", "text"])
def test_a_damaged_record_has_no_changes(damaged: object) -> None:
    assert decode_changes(damaged) == []
