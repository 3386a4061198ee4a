"""What each condition of the tables lets through, and what its failure means."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.adapters.dynamodb.transactions_table import TransactionsTable
from plaid_sync.core.failures import RetryableError, RowNewerThanItemError, SupersededError
from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.items import Account, Cursor, Expiry, Item, ItemId, ItemStatus, Standing
from plaid_sync.core.lifecycle.states import Announcement
from plaid_sync.core.sync.plan import Commit, RowWrite, Verdict
from plaid_sync.core.sync.transactions import Removal, TransactionId, TransactionRow

from .conftest import HISTORY, ITEM, ITEMS, NEW, NOON, TRANSACTIONS, history_of_syncs, register, registry

if TYPE_CHECKING:
    from plaid_sync.adapters.dynamodb.items_table import ItemsTable

ENTRY = HistoryEntry(ITEM, NOON, "g1", EntryKind.SYNC, "committed", {"causes": ["request"], "added": 1})
COMMIT = Commit(
    expected_cursor=None,
    cursor=Cursor("one"),
    reconcile=False,
    update_status="HISTORICAL_UPDATE_COMPLETE",
    pull_began_at=NOON,
    committed_at=NOON,
    standing=Standing(ItemStatus.ACTIVE),
    entry=ENTRY,
)
TROUBLE = Verdict(
    Standing(ItemStatus.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON),
    HistoryEntry(ITEM, NOON, "g2", EntryKind.SYNC, "needs_user", {}, (Announcement.NEEDS_USER,)),
)
ROW = TransactionRow(TransactionId("t"), "account", "2026-02-28", Decimal("0.1234567"), False, zlib.compress(b"{}"))  # noqa: FBT003


@pytest.fixture
def items(dynamodb: Any) -> ItemsTable:
    return register(dynamodb)


@pytest.fixture
def transactions(dynamodb: Any) -> TransactionsTable:
    return TransactionsTable(dynamodb, ITEMS, TRANSACTIONS, HISTORY, lambda: NOON, pause=lambda _: None)


def claim(items: ItemsTable, attempt_id: str = "attempt") -> Item:
    item = items.load(ITEM)
    assert item is not None
    return items.claim(item, attempt_id)


def set_attribute(dynamodb: Any, name: str, value: dict[str, str], table: str = ITEMS, **key: str) -> None:
    dynamodb.update_item(
        TableName=table,
        Key={name: {"S": value} for name, value in ({"item_id": ITEM} | key).items()},
        UpdateExpression="SET #n = :v",
        ExpressionAttributeNames={"#n": name},
        ExpressionAttributeValues={":v": value},
    )


def test_each_claim_raises_the_generation_and_returns_the_item(items: ItemsTable) -> None:
    claims = [claim(items, attempt) for attempt in ("first", "second")]
    assert [claimed.generation for claimed in claims] == [1, 2]
    assert items.load(ITEM) == claims[1]


def test_a_claim_repeated_after_a_lost_answer_is_still_one_claim(items: ItemsTable) -> None:
    loaded = items.load(ITEM)
    assert loaded is not None
    assert items.claim(loaded, "attempt") == items.claim(loaded, "attempt") == items.load(ITEM)


def test_a_claim_that_arrives_after_another_one_changes_nothing(items: ItemsTable) -> None:
    loaded = items.load(ITEM)
    newer = claim(items, "newer")
    assert loaded is not None
    with pytest.raises(RetryableError, match="item_changed_while_claiming"):
        items.claim(loaded, "ghost")
    assert items.load(ITEM) == newer


def test_what_is_not_registered_or_was_removed_can_not_be_claimed(items: ItemsTable, dynamodb: Any) -> None:
    assert items.load(ItemId("another")) is None
    loaded = items.load(ITEM)
    set_attribute(dynamodb, "status", {"S": ItemStatus.REMOVED.value})
    assert loaded is not None
    with pytest.raises(RetryableError):
        items.claim(loaded, "attempt")


def test_an_item_that_is_removed_during_a_sync_is_not_written_any_more(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    set_attribute(dynamodb, "status", {"S": ItemStatus.REMOVED.value})
    with pytest.raises(SupersededError):
        transactions.write(ITEM, 1, [ROW], begin=False, commit=COMMIT)
    assert list(transactions.scan_item(ITEM)) == []


def test_registering_again_keeps_what_a_sync_has_written(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    transactions.write(ITEM, 1, [ROW], begin=False, commit=COMMIT)
    before = items.load(ITEM)
    register(dynamodb, replace(NEW, access_token=b"sealed again", days_requested=30))
    assert before is not None
    assert items.load(ITEM) == replace(before, access_token=b"sealed again")


def test_an_item_that_is_stored_is_not_renounced_and_one_that_is_never_will_be(
    items: ItemsTable, dynamodb: Any
) -> None:
    assert registry(dynamodb).renounce(ITEM)
    assert items.load(ITEM) is not None
    late = replace(NEW, item_id=ItemId("late"))
    assert not registry(dynamodb).renounce(late.item_id)
    with pytest.raises(RetryableError, match="item_not_as_before"):
        register(dynamodb, late)
    assert items.load(late.item_id) is None


def test_a_removed_item_is_not_registered_again(items: ItemsTable, dynamodb: Any) -> None:
    set_attribute(dynamodb, "status", {"S": ItemStatus.REMOVED.value})
    before = items.load(ITEM)
    with pytest.raises(RetryableError, match="item_not_as_before"):
        register(dynamodb, replace(NEW, access_token=b"another"))
    assert items.load(ITEM) == before


def test_a_superseded_attempt_writes_nothing_at_all(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    older = claim(items)
    newer = claim(items)
    for begin, commit in ((True, None), (False, None), (False, COMMIT)):
        with pytest.raises(SupersededError):
            transactions.write(ITEM, 1, [ROW], begin=begin, commit=commit)
    with pytest.raises(SupersededError):
        items.record(older, TROUBLE)
    assert items.load(ITEM) == newer
    assert list(transactions.scan_item(ITEM)) == []
    assert history_of_syncs(dynamodb) == []


def test_a_commit_needs_the_cursor_that_it_started_from(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    set_attribute(dynamodb, "cursor", {"S": "somebody else's"})
    with pytest.raises(RetryableError, match="cursor_changed"):
        transactions.write(ITEM, 1, [ROW], begin=False, commit=COMMIT)
    assert list(transactions.scan_item(ITEM)) == []


def test_a_row_newer_than_its_item_is_not_overwritten_and_not_called_superseded(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    set_attribute(dynamodb, "generation", {"N": "9"}, TRANSACTIONS, transaction_id=ROW.transaction_id)
    with pytest.raises(RetryableError, match="row_newer_than_item"):
        transactions.write(ITEM, 1, [ROW], begin=False, commit=COMMIT)


def test_the_fence_is_raised_above_newer_rows_unless_somebody_else_holds_the_item(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    older, newer = claim(items), claim(items, "another")
    items.raise_fence(older, 50)
    assert items.load(ITEM) == newer
    set_attribute(dynamodb, "generation", {"N": "9"}, TRANSACTIONS, transaction_id=ROW.transaction_id)
    with pytest.raises(RowNewerThanItemError) as refused:
        transactions.write(ITEM, 2, [ROW], begin=False, commit=COMMIT)
    items.raise_fence(newer, refused.value.generation)
    healed = claim(items)
    assert (healed.generation, healed.reconcile) == (10, True)
    transactions.write(ITEM, 10, [ROW], begin=False, commit=COMMIT)


@pytest.mark.parametrize("generation", [{"S": "one"}, {"NULL": True}, {"BOOL": True}])
def test_a_generation_that_is_no_number_is_not_in_the_way(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any, generation: dict[str, Any]
) -> None:
    claim(items)
    set_attribute(dynamodb, "generation", generation, TRANSACTIONS, transaction_id=ROW.transaction_id)
    transactions.write(ITEM, 1, [ROW], begin=False, commit=COMMIT)
    (row,) = transactions.rows(ITEM, [ROW.transaction_id]).values()
    assert (row.row, row.generation) == (ROW, 1)


def test_a_large_update_is_marked_from_its_first_transaction_to_its_last(
    items: ItemsTable, transactions: TransactionsTable
) -> None:
    claim(items)
    transactions.write(ITEM, 1, [ROW], begin=True, commit=None)
    claim(items)
    transactions.write(ITEM, 2, [Removal(ROW.transaction_id)], begin=True, commit=None)
    marked = items.load(ITEM)
    assert marked is not None
    assert (marked.writing_since, marked.cursor) == (1, None)
    transactions.write(ITEM, 2, [], begin=False, commit=COMMIT)
    done = items.load(ITEM)
    assert done is not None
    assert (done.writing_since, done.cursor, done.pull_began_at) == (None, "one", NOON)
    (stored,) = transactions.scan_item(ITEM)
    assert (stored.live, stored.generation, stored.first_generation) == (False, 2, 1)
    assert list(transactions.scan_item(ITEM, since=3)) == []


def test_a_row_is_read_as_it_was_written_and_comes_back_to_life(
    items: ItemsTable, transactions: TransactionsTable
) -> None:
    life: list[RowWrite] = [ROW, Removal(ROW.transaction_id, "account"), ROW]
    for generation, write in enumerate(life, start=1):
        claim(items)
        transactions.write(ITEM, generation, [write], begin=True, commit=None)
        stored = transactions.rows(ITEM, [ROW.transaction_id, TransactionId("unknown")])
        assert stored.keys() == {ROW.transaction_id}
        assert stored[ROW.transaction_id].row == (ROW if write is ROW else None)


def test_what_a_sync_has_found_is_recorded_with_its_entry_in_one_transaction(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    expiry = Expiry("PENDING_DISCONNECT", NOON + timedelta(days=7))
    standing = Standing(ItemStatus.EXPIRING, expiry.code, NOON, expiry, answered_until=NOON)
    accounts = (Account("account", "Checking", "0000", "depository", "checking"), Account("another"))
    claim(items)
    told = replace(COMMIT, standing=standing, accounts=accounts, revoked_accounts=frozenset({"gone"}))
    transactions.write(ITEM, 1, [ROW], begin=False, commit=told)
    stored = items.load(ITEM)
    assert stored is not None
    assert (stored.standing, stored.accounts) == (standing, accounts)
    assert stored.revoked_accounts == {"gone"}
    assert history_of_syncs(dynamodb) == [ENTRY]

    items.record(claim(items), replace(TROUBLE, update_status="NOT_READY"))
    troubled = items.load(ITEM)
    assert troubled is not None
    assert (troubled.standing, troubled.accounts) == (TROUBLE.standing, accounts)
    assert troubled.revoked_accounts == frozenset()
    assert history_of_syncs(dynamodb) == [TROUBLE.entry, ENTRY]

    commit = replace(COMMIT, expected_cursor=Cursor("one"), cursor=Cursor("two"), accounts=accounts)
    transactions.write(ITEM, claim(items).generation, [], begin=False, commit=commit)
    recovered = items.load(ITEM)
    assert recovered is not None
    assert (recovered.standing, recovered.accounts) == (Standing(ItemStatus.ACTIVE), accounts)


def test_a_commit_that_is_refused_leaves_no_entry(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    set_attribute(dynamodb, "cursor", {"S": "somebody else's"})
    with pytest.raises(RetryableError):
        transactions.write(ITEM, 1, [ROW], begin=False, commit=COMMIT)
    assert history_of_syncs(dynamodb) == []


def test_a_tombstone_keeps_what_the_row_was(items: ItemsTable, transactions: TransactionsTable, dynamodb: Any) -> None:
    key = {"item_id": {"S": ITEM}, "transaction_id": {"S": ROW.transaction_id}}
    seen = []
    life: list[RowWrite] = [ROW, Removal(ROW.transaction_id, "account")]
    for generation, write in enumerate(life, start=1):
        claim(items)
        transactions.write(ITEM, generation, [write], begin=True, commit=None)
        seen.append(dynamodb.get_item(TableName=TRANSACTIONS, Key=key)["Item"])
    live, gone = seen
    moved = {"date_id", "generation", "removed_at", "expires_at"}
    assert gone.keys() == live.keys() - {"date_id"} | {"removed_at", "expires_at"}
    assert all(gone[name] == value for name, value in live.items() if name not in moved)


def test_an_erased_row_keeps_nothing_but_that_it_was_there_and_what_an_application_wrote_on_it(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    full = replace(ROW, name="Cafe", merchant_name="Cafe", category="FOOD", iso_currency_code="USD")
    claim(items)
    transactions.write(ITEM, 1, [full], begin=True, commit=None)
    set_attribute(dynamodb, "note", {"S": "lunch"}, TRANSACTIONS, transaction_id=ROW.transaction_id)
    claim(items)
    erased = Removal(ROW.transaction_id, "account", erase=True)
    transactions.write(ITEM, 2, [erased], begin=False, commit=None)
    key = {"item_id": {"S": ITEM}, "transaction_id": {"S": ROW.transaction_id}}
    row = dynamodb.get_item(TableName=TRANSACTIONS, Key=key)["Item"]
    ours = {"account_id", "generation", "first_generation", "removed_at", "expires_at"}
    assert row.keys() == {"item_id", "transaction_id", "note"} | ours


def cancelled(*codes: str) -> dict[str, Any]:
    return {"CancellationReasons": [{"Code": code} for code in codes], "Message": "cancelled"}


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_conflict_or_throttle_is_tried_again_and_then_left_to_the_queue(aws: None, code: str) -> None:  # noqa: ARG001
    """No emulator makes conflicts, so DynamoDB's answers are written out here."""
    client = boto3.client("dynamodb")
    pauses: list[float] = []
    table = TransactionsTable(client, ITEMS, TRANSACTIONS, HISTORY, lambda: NOON, pauses.append)
    refusal: dict[str, Any] = {
        "service_error_code": "TransactionCanceledException",
        "modeled_fields": cancelled("None", code),
    }
    with Stubber(client) as stub:
        stub.add_client_error("transact_write_items", **refusal)
        stub.add_response("transact_write_items", {})
        table.write(ITEM, 1, [ROW], begin=True, commit=None)
        stub.assert_no_pending_responses()
        for _ in range(5):
            stub.add_client_error("transact_write_items", **refusal)
        with pytest.raises(RetryableError, match="transaction_cancelled"):
            table.write(ITEM, 1, [ROW], begin=True, commit=None)
    assert len(pauses) == 6


def test_a_row_that_an_application_has_annotated_before_it_arrives_is_written(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    set_attribute(dynamodb, "note", {"S": "lunch"}, TRANSACTIONS, transaction_id=ROW.transaction_id)
    assert transactions.rows(ITEM, [ROW.transaction_id]) == {}
    transactions.write(ITEM, 1, [ROW], begin=False, commit=COMMIT)
    assert transactions.rows(ITEM, [ROW.transaction_id])[ROW.transaction_id].row == ROW


def test_a_read_goes_on_while_it_brings_rows_and_gives_up_when_it_does_not(aws: None) -> None:  # noqa: ARG001
    """DynamoDB's partial answers are written out here: no emulator cuts one at 1 MB of a partition."""
    client = boto3.client("dynamodb")
    pauses: list[float] = []
    table = TransactionsTable(client, ITEMS, TRANSACTIONS, HISTORY, lambda: NOON, pauses.append)
    left = {TRANSACTIONS: {"Keys": [{"item_id": {"S": ITEM}, "transaction_id": {"S": "left"}}]}}

    def stored(number: int) -> dict[str, Any]:
        numbers = {"generation": {"N": "1"}, "first_generation": {"N": "1"}}
        return {"transaction_id": {"S": str(number)}, "removed_at": {"S": "then"}} | numbers

    with Stubber(client) as stub:
        for number in range(12):
            more = {"UnprocessedKeys": left} if number < 11 else {}
            stub.add_response("batch_get_item", {"Responses": {TRANSACTIONS: [stored(number)]}} | more)
        assert len(table.rows(ITEM, [TransactionId("left")])) == 12
        assert pauses == []
        for _ in range(5):
            stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
        with pytest.raises(RetryableError, match="UnprocessedKeys"):
            table.rows(ITEM, [TransactionId("left")])


def test_only_the_newest_attempt_marks_an_account_as_withdrawn(items: ItemsTable) -> None:
    older, newer = claim(items, "older"), claim(items, "newer")
    with pytest.raises(SupersededError):
        items.withdraw_accounts(older, {"account"})
    items.withdraw_accounts(newer, {"account"})
    kept = items.load(ITEM)
    assert kept is not None
    assert kept.revoked_accounts == {"account"}
