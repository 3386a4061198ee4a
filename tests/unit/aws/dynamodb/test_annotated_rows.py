"""Annotations as the Items API reads and changes them in the table."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.aws.dynamodb.annotated_rows import AnnotatedRows
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.domain.transaction import RowRemoval, TransactionId

from tests.fakes.clock import FakeClock
from tests.unit.aws.dynamodb.samples import ITEM, ROW, TRANSACTIONS, claim, set_attribute

if TYPE_CHECKING:
    from plaid_sync.aws.dynamodb.items import ItemsTable
    from plaid_sync.aws.dynamodb.transactions import TransactionsTable
    from plaid_sync.domain.annotations import AnnotatedRow
    from plaid_sync.domain.transaction import RowWrite

ID = ROW.transaction_id
BY_ACCOUNT: dict[str, Any] = {
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("account_id", "date_id")],
    "GlobalSecondaryIndexUpdates": [
        {
            "Create": {
                "IndexName": "by_account",
                "KeySchema": [
                    {"AttributeName": "account_id", "KeyType": "HASH"},
                    {"AttributeName": "date_id", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        }
    ],
}
NOTE = {"note": "lunch", "share": Decimal("0.1234567"), "tags": ["a", None, True], "deep": {"x": {}}}


@pytest.fixture
def rows(dynamodb: Any) -> AnnotatedRows:
    return AnnotatedRows(dynamodb, TRANSACTIONS, FakeClock())


@pytest.fixture
def written(items: ItemsTable, transactions: TransactionsTable) -> TransactionsTable:
    claim(items)
    transactions.write(ITEM, 1, [ROW], begin=True)
    return transactions


def loaded(rows: AnnotatedRows, transaction_id: TransactionId = ID) -> AnnotatedRow:
    row = rows.load(ITEM, transaction_id)
    assert row is not None
    return row


def annotate(dynamodb: Any, value: dict[str, Any], transaction_id: str = ID) -> None:
    set_attribute(dynamodb, "annotations", value, TRANSACTIONS, transaction_id=transaction_id)


@pytest.mark.usefixtures("written")
def test_annotations_are_read_as_written_and_a_change_holds_only_for_the_row_as_it_was_read(
    rows: AnnotatedRows, dynamodb: Any
) -> None:
    first = loaded(rows)
    assert (first.annotations, first.version) == ({}, 0)
    assert rows.save(ITEM, first, NOTE)
    second = loaded(rows)
    assert (second.annotations, second.version) == (NOTE, 1)
    assert not rows.save(ITEM, first, {"other": 1})
    annotate(dynamodb, serialize(NOTE | {"direct": 1}))
    assert not rows.save(ITEM, second, {"other": 1})
    assert not rows.drop(ITEM, second, expires=False)
    assert loaded(rows).annotations == NOTE | {"direct": 1}
    assert rows.save(ITEM, loaded(rows), {})
    third = loaded(rows)
    assert (third.annotations, third.stored, third.version) == ({}, None, 2)


@pytest.mark.parametrize("value", [{"S": "x"}, {"M": {"a": {"SS": ["b"]}}}, {"M": {"a": {"B": b"b"}}}, {"NULL": True}])
@pytest.mark.usefixtures("written")
def test_what_json_cannot_show_can_be_deleted(rows: AnnotatedRows, dynamodb: Any, value: dict[str, Any]) -> None:
    annotate(dynamodb, value)
    row = loaded(rows)
    assert row.annotations == ({} if "NULL" in value else None)
    assert rows.drop(ITEM, row, expires=False)
    assert loaded(rows).stored is None


def test_a_row_that_is_removed_meanwhile_takes_none(
    rows: AnnotatedRows, items: ItemsTable, written: TransactionsTable, dynamodb: Any
) -> None:
    live = loaded(rows)
    claim(items, "another")
    written.write(ITEM, 2, [RowRemoval(ID)], begin=True)
    assert not rows.save(ITEM, live, NOTE)
    assert not rows.drop(ITEM, live, expires=False)
    removed = loaded(rows)
    assert removed.removed_at is not None
    annotate(dynamodb, serialize(NOTE))
    assert rows.drop(ITEM, loaded(rows), expires=True)
    assert loaded(rows).annotations == {}


def test_rows_that_the_engine_did_not_write_are_none(rows: AnnotatedRows, dynamodb: Any) -> None:
    annotate(dynamodb, serialize(NOTE), "foreign")
    assert rows.load(ITEM, TransactionId("foreign")) is None
    assert rows.load(ITEM, TransactionId("unknown")) is None


def test_what_did_not_move_is_listed_with_posted_rows_of_the_same_account_amount_and_time(
    rows: AnnotatedRows, items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    dynamodb.update_table(TableName=TRANSACTIONS, **BY_ACCOUNT)
    base = replace(ROW, pending=False, pending_transaction_id=None, date="2026-03-15")

    def other(transaction_id: str, **changes: Any) -> RowWrite:
        return replace(base, transaction_id=TransactionId(transaction_id), **changes)

    pending = [other("p1", pending=True), other("p2", pending=True), other("p3", pending=True)]
    candidates = [other("early", date="2026-03-01"), other("late", date="2026-03-29")]
    no_candidates = [
        other("too early", date="2026-02-28"),
        other("too late", date="2026-03-30"),
        other("amount", amount=base.amount + 1),
        other("account", account_id="other"),
        other("pending", pending=True),
        other("linked", pending_transaction_id="another"),
        other("removed"),
    ]
    claim(items)
    transactions.write(ITEM, 1, [*pending, *candidates, *no_candidates], begin=True)
    for transaction_id in ("p1", "p2", "early"):
        annotate(dynamodb, serialize(NOTE), transaction_id)
    claim(items, "another")
    gone: list[RowWrite] = [RowRemoval(TransactionId(key)) for key in ("p1", "p2", "p3", "removed")]
    transactions.write(ITEM, 2, gone, begin=True)
    found, last = rows.unmoved(ITEM, 1, None)
    assert [row.transaction_id for row, _ in found] == ["p1"]
    assert last is not None
    more, _ = rows.unmoved(ITEM, 50, last)
    assert [row.transaction_id for row, _ in more] == ["p2"]
    assert [each.transaction_id for each in more[0][1]] == ["early", "late"]
