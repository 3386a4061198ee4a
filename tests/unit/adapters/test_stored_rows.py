"""What is read of rows that somebody has changed behind the engine's back."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

import pytest
from plaid_sync.adapters.dynamodb.expressions import serialize
from plaid_sync.adapters.dynamodb.row_format import to_stored_row, written
from plaid_sync.adapters.dynamodb.stored_rows import StoredRows
from plaid_sync.core.sync.transactions import TransactionId, TransactionRow

from .conftest import ITEM, NOON, TRANSACTIONS

ROW = TransactionRow(TransactionId("t"), "account", "2026-02-28", Decimal(1), True, zlib.compress(b"{}"), name="Name")  # noqa: FBT003
GONE = object()


def attributes(**changes: Any) -> dict[str, Any]:
    """The row as it is stored, but for the changes."""
    values: dict[str, Any] = {"item_id": ITEM, "transaction_id": "t", "generation": 3, "first_generation": 2}
    values |= {name: value for name, value in written(ROW, NOON).items() if value is not None}
    values |= changes
    return {name: serialize(value) for name, value in values.items() if value is not GONE}


def test_a_row_that_nobody_has_touched_is_read_as_it_was_written() -> None:
    stored = to_stored_row(attributes(note="an application's"))
    assert (stored.row, stored.live, stored.generation, stored.first_generation) == (ROW, True, 3, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": "1"},
        {"amount": True},
        {"pending": Decimal(1)},
        {"name": None},
        {"name": {"a": "b"}},
        {"merchant_name": None},
        {"plaid": "text"},
        {"date": GONE},
        {"account_id": GONE},
        {"date_id": GONE},
        {"date_id": "2026-02-28#other"},
        {"expires_at": Decimal(1)},
        {"removed_at": "2026-02-28T00:00:00.000Z"},
        {"generation": "three"},
        {"first_generation": GONE},
    ],
    ids=str,
)
def test_content_that_is_not_as_the_engine_writes_it_is_none(changes: dict[str, Any]) -> None:
    assert to_stored_row(attributes(**changes)).row is None


def test_a_tombstone_that_the_index_shows_counts_as_live() -> None:
    removed = {"removed_at": "2026-02-28T00:00:00.000Z", "expires_at": Decimal(1)}
    assert not to_stored_row(attributes(**removed, date_id=GONE)).live
    assert to_stored_row(attributes(**removed)).live


def test_a_row_that_has_lost_its_marks_is_scanned_and_annotations_are_not(dynamodb: Any) -> None:
    rows = StoredRows(dynamodb, TRANSACTIONS, pause=lambda _: None)
    marked, lost, note = attributes(), attributes(generation=GONE, first_generation=GONE), {"note": {"S": "mine"}}
    for transaction_id, row in (("marked", marked), ("lost", lost), ("note", note)):
        key = {"item_id": {"S": ITEM}, "transaction_id": {"S": transaction_id}}
        dynamodb.put_item(TableName=TRANSACTIONS, Item=row | key)
    assert {row.transaction_id: row.generation for row in rows.scan_item(ITEM)} == {"marked": 3, "lost": 0}
    assert [row.transaction_id for row in rows.scan_item(ITEM, since=1)] == ["marked"]
    ids = [TransactionId(one) for one in ("marked", "lost", "note", "nothing")]
    assert rows.attributes(ITEM, ids).keys() == {"marked", "lost"}
    assert rows.rows(ITEM, ids).keys() == {"marked"}
