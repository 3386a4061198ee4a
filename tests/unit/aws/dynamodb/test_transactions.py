"""The Transactions table: writes under the fence, and what is read of rows, also of rows that others changed."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.aws.dynamodb.transact import MAX_TRIES
from plaid_sync.aws.dynamodb.transaction_lists import TransactionLists
from plaid_sync.aws.dynamodb.transactions import row_attributes, stored_row_from
from plaid_sync.domain import exact_json
from plaid_sync.domain.compression import Compressor
from plaid_sync.domain.dictionaries import TRANSACTION
from plaid_sync.domain.errors import RowNewerThanItemError, SupersededError, TransientError
from plaid_sync.domain.history import EntryKind
from plaid_sync.domain.item import Checkpoint, Cursor
from plaid_sync.domain.transaction import RowRemoval, RowWrite, TransactionId, TransactionRow
from plaid_sync.items_api.ports import RowSelection
from plaid_sync.items_api.transaction_query import Order, TransactionFilter

from tests.fakes.clock import NOON, PLENTY, FakeClock
from tests.unit.aws.dynamodb.samples import (
    COMMIT,
    ITEM,
    NEEDS_USER,
    REMOVED,
    ROW,
    TRANSACTIONS,
    cancellation,
    claim,
    history_of_kind,
    loaded,
    set_attribute,
    transactions_table,
)

if TYPE_CHECKING:
    from plaid_sync.aws.dynamodb.items import ItemsTable
    from plaid_sync.aws.dynamodb.transactions import TransactionsTable

KEY = {"item_id": {"S": ITEM}, "transaction_id": {"S": ROW.transaction_id}}


def stored_row(dynamodb: Any) -> dict[str, Any]:
    """Return the row's attributes in DynamoDB's form."""
    row: dict[str, Any] = dynamodb.get_item(TableName=TRANSACTIONS, Key=KEY)["Item"]
    return row


# ---- writes


def test_rows_of_an_item_that_is_removed_during_a_sync_are_not_written(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    set_attribute(dynamodb, "state", REMOVED)
    with pytest.raises(SupersededError):
        transactions.write(ITEM, 1, [ROW], begin=False, end=COMMIT)
    assert list(transactions.scan_item(ITEM, PLENTY)) == []


def test_a_superseded_attempt_writes_nothing(items: ItemsTable, transactions: TransactionsTable, dynamodb: Any) -> None:
    older, newer = claim(items), claim(items, "newer")
    for begin, commit in ((True, None), (False, None), (False, COMMIT)):
        with pytest.raises(SupersededError):
            transactions.write(ITEM, 1, [ROW], begin=begin, end=commit)
    with pytest.raises(SupersededError):
        items.record(older, NEEDS_USER)
    assert items.load(ITEM) == newer
    assert list(transactions.scan_item(ITEM, PLENTY)) == []
    assert history_of_kind(dynamodb, EntryKind.SYNC) == []


def test_a_commit_requires_the_cursor_that_it_started_from(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    set_attribute(dynamodb, "cursor", {"S": "another"})
    with pytest.raises(TransientError, match="cursor_changed"):
        transactions.write(ITEM, 1, [ROW], begin=False, end=COMMIT)
    assert list(transactions.scan_item(ITEM, PLENTY)) == []
    assert history_of_kind(dynamodb, EntryKind.SYNC) == []


@pytest.mark.parametrize("transaction_id", [ROW.transaction_id, "item"])
def test_a_row_newer_than_its_item_is_not_overwritten(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any, transaction_id: str
) -> None:
    claim(items)
    set_attribute(dynamodb, "generation", {"N": "9"}, TRANSACTIONS, transaction_id=transaction_id)
    row = replace(ROW, transaction_id=TransactionId(transaction_id))
    with pytest.raises(RowNewerThanItemError):
        transactions.write(ITEM, 1, [row], begin=False, end=COMMIT)


def test_the_newest_attempt_raises_the_generation_above_newer_rows(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    older, newer = claim(items), claim(items, "another")
    with pytest.raises(SupersededError):
        items.raise_generation(older, 50)
    assert items.load(ITEM) == newer
    set_attribute(dynamodb, "generation", {"N": "9"}, TRANSACTIONS, transaction_id=ROW.transaction_id)
    with pytest.raises(RowNewerThanItemError) as refused:
        transactions.write(ITEM, 2, [ROW], begin=False, end=COMMIT)
    assert items.raise_generation(newer, refused.value.generation) == loaded(items)
    recovered = claim(items)
    assert (recovered.generation, recovered.reconcile) == (10, True)
    transactions.write(ITEM, 10, [ROW], begin=False, end=COMMIT)


@pytest.mark.parametrize("generation", [{"S": "one"}, {"NULL": True}, {"BOOL": True}])
def test_a_generation_that_is_not_a_number_does_not_block_the_row(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any, generation: dict[str, Any]
) -> None:
    claim(items)
    set_attribute(dynamodb, "generation", generation, TRANSACTIONS, transaction_id=ROW.transaction_id)
    transactions.write(ITEM, 1, [ROW], begin=False, end=COMMIT)
    (row,) = transactions.rows(ITEM, [ROW.transaction_id], PLENTY).values()
    assert (row.row, row.generation) == (ROW, 1)


def test_a_large_update_is_marked_from_its_first_transaction_to_its_last(
    items: ItemsTable, transactions: TransactionsTable
) -> None:
    claim(items)
    transactions.write(ITEM, 1, [ROW], begin=True)
    claim(items)
    transactions.write(ITEM, 2, [RowRemoval(ROW.transaction_id)], begin=True)
    marked = loaded(items)
    assert (marked.writing_since, marked.cursor) == (1, None)
    transactions.write(ITEM, 2, [], begin=False, end=COMMIT)
    done = loaded(items)
    assert (done.writing_since, done.cursor, done.pull_began_at) == (None, "one", NOON)
    (stored,) = transactions.scan_item(ITEM, PLENTY)
    assert (stored.live, stored.generation, stored.first_generation) == (False, 2, 1)
    assert list(transactions.scan_item(ITEM, PLENTY, since=3)) == []


def test_a_row_is_read_as_written_and_a_tombstone_can_become_live_again(
    items: ItemsTable, transactions: TransactionsTable
) -> None:
    life: list[RowWrite] = [ROW, RowRemoval(ROW.transaction_id, "account"), ROW]
    for generation, write in enumerate(life, start=1):
        claim(items)
        transactions.write(ITEM, generation, [write], begin=True)
        stored = transactions.rows(ITEM, [ROW.transaction_id, TransactionId("unknown")], PLENTY)
        assert stored.keys() == {ROW.transaction_id}
        assert stored[ROW.transaction_id].row == (ROW if write is ROW else None)


def test_a_tombstone_outlives_both_queues_and_a_row_that_returns_does_not_expire(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    transactions.write(ITEM, 1, [RowRemoval(ROW.transaction_id, "account")], begin=True)
    retention = timedelta(days=4 + 14)  # of a message in the one queue, and then in the other
    assert int(stored_row(dynamodb)["expires_at"]["N"]) > (NOON + retention).timestamp()
    claim(items)
    transactions.write(ITEM, 2, [ROW], begin=False, end=COMMIT)
    assert "expires_at" not in stored_row(dynamodb)


def test_a_tombstone_keeps_the_content_of_its_row(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    seen = []
    life: list[RowWrite] = [ROW, RowRemoval(ROW.transaction_id, "account")]
    for generation, write in enumerate(life, start=1):
        claim(items)
        transactions.write(ITEM, generation, [write], begin=True)
        seen.append(stored_row(dynamodb))
    live, tombstone = seen
    changed = {"date_id", "generation", "removed_at", "expires_at"}
    assert tombstone.keys() == live.keys() - {"date_id"} | {"removed_at", "expires_at"}
    assert all(tombstone[name] == value for name, value in live.items() if name not in changed)


def test_an_erased_row_keeps_no_content_except_an_applications_annotations(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    full = replace(ROW, name="Cafe", merchant_name="Cafe", category="FOOD", iso_currency_code="USD")
    claim(items)
    transactions.write(ITEM, 1, [full], begin=True)
    set_attribute(dynamodb, "note", {"S": "lunch"}, TRANSACTIONS, transaction_id=ROW.transaction_id)
    claim(items)
    erased = RowRemoval(ROW.transaction_id, "account", erase=True)
    transactions.write(ITEM, 2, [erased], begin=False)
    kept = {"account_id", "generation", "first_generation", "removed_at", "expires_at"}
    assert stored_row(dynamodb).keys() == {"item_id", "transaction_id", "note"} | kept


def test_a_row_that_an_application_annotated_before_it_arrives_is_written(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    set_attribute(dynamodb, "note", {"S": "lunch"}, TRANSACTIONS, transaction_id=ROW.transaction_id)
    assert transactions.rows(ITEM, [ROW.transaction_id], PLENTY) == {}
    transactions.write(ITEM, 1, [ROW], begin=False, end=COMMIT)
    assert transactions.rows(ITEM, [ROW.transaction_id], PLENTY)[ROW.transaction_id].row == ROW


# ---- reads


def test_what_a_decision_depends_on_is_read_consistently(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    """An emulator's reads always are, so that the requests are checked."""
    consistent: dict[str, Any] = {}

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        tables = params.get("RequestItems", {TRANSACTIONS: params})
        consistent[model.name] = tables[TRANSACTIONS].get("ConsistentRead")

    dynamodb.meta.events.register("provide-client-params.dynamodb", note)
    items.load(ITEM)
    transactions.rows(ITEM, [ROW.transaction_id], PLENTY)
    assert list(transactions.scan_item(ITEM, PLENTY)) == []
    assert consistent == {"GetItem": True, "BatchGetItem": True, "Query": True}


@pytest.mark.usefixtures("aws")
def test_a_scan_reads_every_page() -> None:
    """DynamoDB ends a page at 1 MB, and one is empty when the filter dropped all of it."""
    client = boto3.client("dynamodb")
    keys = [{"item_id": {"S": ITEM}, "transaction_id": {"S": str(number)}} for number in range(3)]
    numbers = {"generation": {"N": "1"}, "first_generation": {"N": "1"}}
    starts: list[Any] = []
    with Stubber(client) as stub:
        client.meta.events.register(
            "provide-client-params.dynamodb.Query", lambda params, **_: starts.append(params.get("ExclusiveStartKey"))
        )
        stub.add_response("query", {"Items": [keys[0] | numbers], "LastEvaluatedKey": keys[0]})
        stub.add_response("query", {"Items": [], "LastEvaluatedKey": keys[1]})
        stub.add_response("query", {"Items": [keys[2] | numbers]})
        assert [row.transaction_id for row in transactions_table(client).scan_item(ITEM, PLENTY)] == ["0", "2"]
    assert starts == [None, keys[0], keys[1]]


def test_a_scan_begins_with_the_rows_of_the_requested_generation(
    items: ItemsTable, transactions: TransactionsTable
) -> None:
    for generation in (1, 2, 3):
        claim(items)
        row = replace(ROW, transaction_id=TransactionId(str(generation)))
        transactions.write(ITEM, generation, [row], begin=True)
    assert [row.transaction_id for row in transactions.scan_item(ITEM, PLENTY, since=2)] == ["2", "3"]


def test_any_number_of_rows_is_read_in_calls_that_dynamodb_accepts(
    items: ItemsTable, transactions: TransactionsTable
) -> None:
    ids = [TransactionId(str(number)) for number in range(101)]
    for generation, start in enumerate(range(0, len(ids), 80), start=1):
        claim(items)
        rows = [replace(ROW, transaction_id=transaction_id) for transaction_id in ids[start : start + 80]]
        transactions.write(ITEM, generation, rows, begin=True)
    assert transactions.rows(ITEM, ids, PLENTY).keys() == set(ids)


@pytest.mark.usefixtures("aws")
def test_a_read_continues_while_it_returns_rows_and_fails_when_it_returns_none() -> None:
    """DynamoDB's partial responses are written out here: no emulator cuts one at 1 MB of a partition."""
    client, clock = boto3.client("dynamodb"), FakeClock()
    table = transactions_table(client, clock)
    left = {TRANSACTIONS: {"Keys": [{"item_id": {"S": ITEM}, "transaction_id": {"S": "left"}}]}}

    def stored(number: int) -> dict[str, Any]:
        numbers = {"generation": {"N": "1"}, "first_generation": {"N": "1"}}
        return {"transaction_id": {"S": str(number)}, "removed_at": {"S": "then"}} | numbers

    with Stubber(client) as stub:
        for number in range(12):
            more = {"UnprocessedKeys": left} if number < 11 else {}
            stub.add_response("batch_get_item", {"Responses": {TRANSACTIONS: [stored(number)]}} | more)
        assert len(table.rows(ITEM, [TransactionId("left")], PLENTY)) == 12
        stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": {}})
        assert table.rows(ITEM, [TransactionId("new")], PLENTY) == {}
        assert clock.pauses == []
        for _ in range(MAX_TRIES):
            stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
        with pytest.raises(TransientError, match="UnprocessedKeys"):
            table.rows(ITEM, [TransactionId("left")], PLENTY)


@pytest.mark.usefixtures("aws")
def test_a_conflict_is_retried_and_then_a_transient_failure() -> None:
    client, clock = boto3.client("dynamodb"), FakeClock()
    with Stubber(client) as stub:
        for _ in range(MAX_TRIES):
            stub.add_client_error(**cancellation("None", "TransactionConflict"))
        with pytest.raises(TransientError, match="transaction_canceled"):
            transactions_table(client, clock).write(ITEM, 1, [ROW], begin=True)
    assert len(clock.pauses) == MAX_TRIES


# ---- rows that others changed

FULL = TransactionRow(TransactionId("t"), "account", "2026-02-28", Decimal(1), True, b"{}", name="Name")  # noqa: FBT003
ABSENT = "absent"


def attributes(**changes: Any) -> dict[str, Any]:
    """Return the row as it is stored, with changes."""
    values: dict[str, Any] = {"item_id": ITEM, "transaction_id": "t", "generation": 3, "first_generation": 2}
    values |= {name: value for name, value in row_attributes(FULL, NOON).items() if value is not None}
    values |= changes
    return {name: serialize(value) for name, value in values.items() if value is not ABSENT}


def test_an_annotated_row_parses_as_it_was_written() -> None:
    stored = stored_row_from(attributes(note="an application's"))
    assert (stored.row, stored.live, stored.generation, stored.first_generation) == (FULL, True, 3, 2)


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
        {"plaid": b"no zlib"},
        {"plaid": zlib.compress(b"no JSON")},
        {"date": ABSENT},
        {"account_id": ABSENT},
        {"date_id": ABSENT},
        {"date_id": "2026-02-28#other"},
        {"expires_at": Decimal(1)},
        {"removed_at": "2026-02-28T00:00:00.000Z"},
        {"generation": "three"},
        {"first_generation": ABSENT},
    ],
    ids=str,
)
def test_content_that_the_engine_would_write_differently_counts_as_missing(changes: dict[str, Any]) -> None:
    assert stored_row_from(attributes(**changes)).row is None


def test_a_row_of_an_older_version_is_as_it_would_be_written_now() -> None:
    """It has the whole object without a dictionary, and is not rewritten."""
    older = zlib.compress(exact_json.dumps(FULL.plaid_object).encode(), 9)
    assert stored_row_from(attributes(plaid=older)).row == FULL
    for other in (Compressor(TRANSACTION).compress(b'{"new":1}'), zlib.compress(b'{"name":"Other"}')):
        assert stored_row_from(attributes(plaid=other)).row != FULL


def test_only_live_rows_are_read_with_their_content(transactions: TransactionsTable, dynamodb: Any) -> None:
    tombstone = {"removed_at": "2026-02-28T00:00:00.000Z", "expires_at": Decimal(1)}
    rows: dict[str, dict[str, Any]] = {
        "t": {},
        "lost": {"generation": ABSENT},
        "removed": tombstone | {"date_id": ABSENT},
        "indexed": tombstone,
    }
    for name, changes in rows.items():
        key = {"item_id": {"S": ITEM}, "transaction_id": {"S": name}}
        dynamodb.put_item(TableName=TRANSACTIONS, Item=attributes(**changes) | key)
    note = {"item_id": {"S": ITEM}, "transaction_id": {"S": "note"}, "note": {"S": "mine"}}
    dynamodb.put_item(TableName=TRANSACTIONS, Item=note)
    found = {row.transaction_id: row.row for row in transactions.live_rows(ITEM, PLENTY)}
    assert found == {"t": FULL, "lost": None, "indexed": None}


def test_a_tombstone_that_is_in_the_index_counts_as_live() -> None:
    removed = {"removed_at": "2026-02-28T00:00:00.000Z", "expires_at": Decimal(1)}
    assert not stored_row_from(attributes(**removed, date_id=ABSENT)).live
    assert stored_row_from(attributes(**removed)).live


def test_a_scan_returns_rows_that_lost_their_generation_and_no_annotations(
    transactions: TransactionsTable, dynamodb: Any
) -> None:
    marked, lost, note = attributes(), attributes(generation=ABSENT, first_generation=ABSENT), {"note": {"S": "mine"}}
    for transaction_id, row in (("marked", marked), ("lost", lost), ("note", note)):
        key = {"item_id": {"S": ITEM}, "transaction_id": {"S": transaction_id}}
        dynamodb.put_item(TableName=TRANSACTIONS, Item=row | key)
    assert {row.transaction_id: row.generation for row in transactions.scan_item(ITEM, PLENTY)} == {
        "marked": 3,
        "lost": 0,
    }
    assert [row.transaction_id for row in transactions.scan_item(ITEM, PLENTY, since=1)] == ["marked"]
    ids = [TransactionId(transaction_id) for transaction_id in ("marked", "lost", "note", "unknown")]
    assert transactions.attributes(ITEM, ids, PLENTY).keys() == {"marked", "lost"}
    assert transactions.rows(ITEM, ids, PLENTY).keys() == {"marked"}


def later_stream(text: bytes) -> bytes:
    """Compress with a dictionary that this version does not have."""
    stream = zlib.compressobj(zdict=TRANSACTION + b"more")
    return stream.compress(text) + stream.flush()


DAMAGES: dict[str, dict[str, Any]] = {
    "text": {"plaid": "text"},
    "no zlib": {"plaid": b"no zlib"},
    "no JSON": {"plaid": zlib.compress(b"no JSON")},
    "a list": {"plaid": zlib.compress(b"[]")},
    "of a later version": {"plaid": later_stream(b"{}")},
    "without a dictionary": {"plaid": zlib.compress(b"{}"), "amount": ABSENT},
    "lost": {"plaid": ABSENT},
    "lost with its generation": {"plaid": ABSENT, "generation": ABSENT},
}


def test_a_page_has_every_live_row_also_damaged_ones(dynamodb: Any) -> None:
    lists, everything = TransactionLists(dynamodb, TRANSACTIONS), RowSelection(Order.ID, TransactionFilter())
    rows = {"good": {}, "removed": {"removed_at": "2026-02-28T00:00:00.000Z"}, **DAMAGES}
    for name, changes in rows.items():
        key = {"item_id": {"S": ITEM}, "transaction_id": {"S": name}}
        dynamodb.put_item(TableName=TRANSACTIONS, Item=attributes(**changes) | key)
    note = {"item_id": {"S": ITEM}, "transaction_id": {"S": "note"}, "note": {"S": "mine"}}
    dynamodb.put_item(TableName=TRANSACTIONS, Item=note)
    found: dict[str, Any] = {}
    after: str | None = ""
    while after is not None:
        page = lists.page(ITEM, everything, 3, after)
        found, after = found | page.documents, page.end
    assert found.keys() == {"good", *DAMAGES}
    assert [name for name, document in found.items() if document is not None] == ["good"]
    shown = {name: lists.row(ITEM, name) for name in rows}
    assert {name for name, row in shown.items() if row is not None and row.document is not None} == {"good", "removed"}
    assert (lists.row(ITEM, "note"), lists.row(ITEM, "unknown")) == (None, None)
    assert lists.count(ITEM) == (len(found), True)


def test_a_page_ends_before_it_is_larger_than_a_response(dynamodb: Any) -> None:
    large = zlib.compress(b'{"name":"' + b"n" * 1_900_000 + b'"}')
    for name in "abcde":
        key = {"item_id": {"S": ITEM}, "transaction_id": {"S": name}}
        dynamodb.put_item(TableName=TRANSACTIONS, Item=attributes(plaid=large) | key)
    lists, everything = TransactionLists(dynamodb, TRANSACTIONS), RowSelection(Order.ID, TransactionFilter())
    pages: list[str] = []
    after: str | None = ""
    while after is not None:
        page = lists.page(ITEM, everything, 100, after)
        pages.append("".join(page.documents))
        after = page.end
    assert pages == ["ab", "cd", "e"]


# ---- a lost response: the SDK sends the same call again


def test_a_write_of_the_item_alone_whose_response_is_lost_is_no_failure(
    items: ItemsTable, transactions: TransactionsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated transaction has the same ClientRequestToken; a repeated update has to hold by itself."""
    update: Any = transactions.client.update_item

    def twice(**request: Any) -> Any:
        update(**request)
        return update(**request)

    generation = claim(items).generation
    transactions.write(ITEM, generation, [], begin=False, end=replace(COMMIT, entry=None))
    monkeypatch.setattr(transactions.client, "update_item", twice)
    quiet = replace(COMMIT, entry=None, expected_cursor=COMMIT.cursor)
    transactions.write(ITEM, generation, [], begin=False, end=quiet)
    moved = replace(quiet, cursor=Cursor("two"))
    transactions.write(ITEM, generation, [], begin=False, end=moved)
    checkpoint = Checkpoint(Cursor("page"), moved.cursor, False, NOON, ((1, 1),))  # noqa: FBT003 - a field
    transactions.write(ITEM, generation, [], begin=True, end=checkpoint)
    assert (loaded(items).cursor, loaded(items).generation) == (moved.cursor, generation + 1)
