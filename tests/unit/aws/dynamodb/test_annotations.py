"""Annotations of an application: they follow their transaction, and no tombstone takes them along."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.domain.transaction import PendingLink, RowRemoval, TransactionId

from tests.fakes.clock import PLENTY
from tests.unit.aws.dynamodb.samples import ITEM, ROW, TRANSACTIONS, claim

if TYPE_CHECKING:
    from plaid_sync.aws.dynamodb.items import ItemsTable
    from plaid_sync.aws.dynamodb.transactions import TransactionsTable
    from plaid_sync.domain.transaction import RowWrite

PENDING = replace(ROW, transaction_id=TransactionId("pending"), pending=True, pending_transaction_id=None)
POSTED = replace(ROW, transaction_id=TransactionId("posted"), pending=False, pending_transaction_id="pending")
GONE = RowRemoval(PENDING.transaction_id, PENDING.account_id)
LINK = PendingLink(PENDING.transaction_id, POSTED.transaction_id)
NOTE = {"M": {"note": {"S": "lunch"}, "share": {"N": "0.1234567"}, "tags": {"SS": ["a"]}}}
OTHER = {"M": {"project": {"S": "x"}}}
CLASH = {"M": {"note": {"S": "dinner"}}}


class Rows:
    """The table as an application sees it, and a sync that writes it attempt by attempt."""

    def __init__(self, items: ItemsTable, table: TransactionsTable, dynamodb: Any) -> None:
        self.items, self.table, self.dynamodb, self.generation = items, table, dynamodb, 0

    def sync(self, *transactions: list[RowWrite]) -> None:
        claim(self.items, f"attempt-{self.generation}")
        self.generation += 1
        for writes in transactions:
            self.table.write(ITEM, self.generation, writes, begin=True)

    def annotate(self, transaction_id: str, annotations: dict[str, Any], version: int = 1) -> None:
        self.dynamodb.update_item(
            TableName=TRANSACTIONS,
            Key={"item_id": {"S": ITEM}, "transaction_id": {"S": transaction_id}},
            UpdateExpression="SET annotations = :a, annotations_version = :v",
            ExpressionAttributeValues={":a": annotations, ":v": {"N": str(version)}},
        )

    def __getitem__(self, transaction_id: str) -> dict[str, Any]:
        key = {"item_id": {"S": ITEM}, "transaction_id": {"S": transaction_id}}
        row: dict[str, Any] = self.dynamodb.get_item(TableName=TRANSACTIONS, Key=key).get("Item", {})
        return row

    def summary(self, transaction_id: str) -> tuple[Any, bool]:
        """Return the annotations, and whether the row expires."""
        row = self[transaction_id]
        return row.get("annotations"), "expires_at" in row


@pytest.fixture
def rows(items: ItemsTable, transactions: TransactionsTable, dynamodb: Any) -> Rows:
    return Rows(items, transactions, dynamodb)


@pytest.mark.parametrize(
    "syncs",
    [
        [[[GONE, POSTED]]],
        [[[POSTED, GONE]]],
        [[[GONE], [LINK, POSTED]]],
        [[[GONE]], [[LINK, POSTED]]],
        [[[LINK, POSTED], [GONE]]],
        [[[LINK, POSTED]], [[GONE]]],
        [[[GONE]], [[GONE, POSTED]], [[GONE, POSTED]]],
        [[[LINK, POSTED]], [[POSTED]], [[GONE]], [[GONE]]],
        [[[PENDING, POSTED]], [[GONE]]],
    ],
)
def test_annotations_move_to_the_posted_row_in_whichever_order_the_two_are_written(
    rows: Rows, syncs: list[list[list[RowWrite]]]
) -> None:
    rows.sync([PENDING])
    rows.annotate("pending", NOTE, 3)
    for writes in syncs:
        rows.sync(*writes)
    assert rows.summary("pending") == (None, True)
    assert rows.summary("posted") == (NOTE, False)
    assert rows["posted"]["annotations_version"] == {"N": "4"}
    assert rows["pending"]["posted_transaction_id"] == {"S": "posted"}


def test_a_pending_row_that_is_annotated_after_its_posted_one_came_keeps_nothing_back(rows: Rows) -> None:
    rows.sync([PENDING], [LINK, POSTED])
    rows.annotate("pending", NOTE)
    rows.sync([GONE])
    assert (rows.summary("pending"), rows.summary("posted")) == ((None, True), (NOTE, False))


@pytest.mark.parametrize("posted", [[], [replace(POSTED, pending_transaction_id=None)]])
def test_without_a_link_the_tombstone_keeps_them_and_does_not_expire(rows: Rows, posted: list[RowWrite]) -> None:
    rows.sync([PENDING])
    rows.annotate("pending", NOTE)
    for _ in range(2):
        rows.sync([GONE, *posted])
        assert rows.summary("pending") == (NOTE, False)
    assert "annotations" not in rows["posted"]
    rows.sync([PENDING])
    assert rows.summary("pending") == (NOTE, False)
    (stored,) = rows.table.rows(ITEM, [PENDING.transaction_id], PLENTY).values()
    assert stored.row == PENDING


@pytest.mark.parametrize(
    ("own", "expected", "left"),
    [
        (OTHER, {"M": NOTE["M"] | OTHER["M"]}, None),
        (CLASH, CLASH, NOTE),
        (NOTE, NOTE, None),
        ({"S": "x"}, {"S": "x"}, NOTE),
    ],
)
@pytest.mark.parametrize("writes", [[GONE, POSTED], [GONE]])
def test_annotations_of_both_rows_are_merged_only_where_they_do_not_contradict(
    rows: Rows, own: dict[str, Any], expected: dict[str, Any], left: dict[str, Any] | None, writes: list[RowWrite]
) -> None:
    rows.sync([PENDING], [LINK, POSTED])
    rows.annotate("pending", NOTE, 2)
    rows.annotate("posted", own, 7)
    rows.sync(writes)
    assert rows.summary("posted") == (expected, False)
    assert rows.summary("pending") == (left, left is None)
    assert rows["posted"]["annotations_version"] == {"N": "7" if left else "8"}


def test_where_the_posted_row_is_gone_or_names_another_they_stay(rows: Rows) -> None:
    lives: list[RowWrite] = [RowRemoval(POSTED.transaction_id), replace(POSTED, pending_transaction_id="another")]
    for life in lives:
        rows.sync([PENDING], [LINK, POSTED])
        rows.annotate("pending", NOTE)
        rows.sync([life], [GONE])
        assert rows.summary("pending") == (NOTE, False)


def test_they_move_when_the_posted_row_returns(rows: Rows) -> None:
    rows.sync([PENDING], [LINK, POSTED])
    rows.annotate("pending", NOTE)
    rows.sync([RowRemoval(POSTED.transaction_id)], [GONE])
    (stored,) = rows.table.rows(ITEM, [PENDING.transaction_id], PLENTY).values()
    assert (stored.annotated, stored.kept, stored.posted_transaction_id) == (True, False, "posted")
    rows.sync([LINK, POSTED])
    assert (rows.summary("pending"), rows.summary("posted")) == ((None, True), (NOTE, False))


def test_both_of_a_pair_may_go_in_one_transaction(rows: Rows) -> None:
    rows.sync([PENDING], [LINK, POSTED])
    rows.annotate("pending", NOTE)
    rows.annotate("posted", OTHER)
    rows.sync([GONE, RowRemoval(POSTED.transaction_id)])
    assert (rows.summary("pending"), rows.summary("posted")) == ((NOTE, False), (OTHER, False))


def test_a_link_to_a_row_that_is_gone_meanwhile_is_dropped(rows: Rows) -> None:
    rows.sync([LINK, POSTED])
    assert rows["pending"] == {}
    assert rows["posted"]["date"] == serialize(POSTED.date)


@pytest.mark.parametrize("changed", ["pending", "posted"])
@pytest.mark.parametrize("writes", [[GONE, POSTED], [GONE]])
def test_a_change_between_the_two_tries_of_a_move_is_not_lost(rows: Rows, writes: list[RowWrite], changed: str) -> None:
    """The application changes a row after its annotations were seen, and before they move."""
    rows.sync([PENDING], [LINK, POSTED])
    rows.annotate("pending", NOTE, 1)
    calls: list[str] = []

    def between(**_: object) -> None:
        calls.append("write")
        if len(calls) == 2:
            rows.annotate(changed, {"M": NOTE["M"] | OTHER["M"]}, 2)

    rows.table.client.meta.events.register("before-call.dynamodb.TransactWriteItems", between)
    rows.sync(writes)
    assert len(calls) == 3
    assert rows.summary("posted") == ({"M": NOTE["M"] | OTHER["M"]}, False)
    assert rows.summary("pending") == (None, True)


def test_an_erased_row_loses_them_and_one_of_a_gone_account_keeps_them(rows: Rows) -> None:
    rows.sync([PENDING], [LINK, POSTED])
    for transaction_id in ("pending", "posted"):
        rows.annotate(transaction_id, NOTE)
    rows.sync([replace(GONE, erase=True), RowRemoval(POSTED.transaction_id, kept=True)])
    assert rows["pending"].keys().isdisjoint({"annotations", "annotations_version", "posted_transaction_id"})
    assert rows.summary("posted") == (NOTE, False)


def test_many_annotated_rows_are_moved_although_one_transaction_takes_too_few(rows: Rows) -> None:
    pairs = [(replace(PENDING, transaction_id=TransactionId(f"p{n}")), TransactionId(f"t{n}")) for n in range(49)]
    rows.sync([pending for pending, _ in pairs])
    big = {"M": {"note": {"S": "x" * 30_000}}}
    for pending, _ in pairs:
        rows.annotate(pending.transaction_id, big)
    writes: list[RowWrite] = []
    for pending, posted_id in pairs:
        writes += [
            RowRemoval(pending.transaction_id),
            replace(POSTED, transaction_id=posted_id, pending_transaction_id=pending.transaction_id),
        ]
    rows.sync(writes)
    assert {rows.summary(pending.transaction_id) for pending, _ in pairs} == {(None, True)}
    assert all(rows[posted_id]["annotations"] == big for _, posted_id in pairs)


def test_annotations_that_a_posted_row_may_have_no_room_for_stay(rows: Rows) -> None:
    rows.sync([PENDING])
    rows.annotate("pending", {"M": {"note": {"S": "x" * 60_000}}})
    rows.sync([GONE, POSTED])
    assert rows.summary("pending")[1] is False
    assert "annotations" not in rows["posted"]
