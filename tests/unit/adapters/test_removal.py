"""What the tables record of an Item's end, and under which condition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.adapters.dynamodb.erasable_rows import ErasableTables
from plaid_sync.adapters.dynamodb.history_table import HistoryTable
from plaid_sync.adapters.dynamodb.links_table import LinksTable
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.items import Item, ItemRemoval, ItemStatus

from .conftest import HISTORY, ITEM, ITEMS, LINKS, NOON, QUARANTINE, TRANSACTIONS, register

if TYPE_CHECKING:
    from plaid_sync.adapters.dynamodb.items_table import ItemsTable

ENDED = HistoryEntry(ITEM, NOON, "end-erased", EntryKind.REMOVAL, "erased", {"erased": 3})
TABLES = (TRANSACTIONS, "transaction_id"), (QUARANTINE, "entry_part")


def wish(dynamodb: Any, *, erase: bool) -> None:
    """Remove the Item as the API does."""
    dynamodb.update_item(
        TableName=ITEMS,
        Key={"item_id": {"S": ITEM}},
        UpdateExpression="SET #s = :s, removal_requested_at = :t, removal_erases = :e",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": {"S": "removed"}, ":t": {"S": "2026"}, ":e": {"BOOL": erase}},
    )


@pytest.fixture
def items(dynamodb: Any) -> ItemsTable:
    return register(dynamodb)


def loaded(items: ItemsTable) -> Item:
    item = items.load(ITEM)
    assert item is not None
    return item


def removal(items: ItemsTable) -> ItemRemoval:
    found = loaded(items).removal
    assert found is not None
    return found


def ends(dynamodb: Any) -> list[HistoryEntry]:
    entries, _ = HistoryTable(dynamodb, HISTORY).page(ITEM, 100)
    return [entry for entry in entries if entry.kind is EntryKind.REMOVAL]


def test_of_an_item_that_lives_no_end_is_recorded(items: ItemsTable, dynamodb: Any) -> None:
    before = loaded(items)
    with pytest.raises(RetryableError):
        items.record_plaid_removed(ITEM)
    with pytest.raises(RetryableError):
        items.record_rows_to_erase(ITEM, 3)
    with pytest.raises(RetryableError):
        items.record_removal_completed(before, ENDED)
    assert loaded(items) == before
    assert ends(dynamodb) == []


def test_the_token_goes_once_plaid_has_let_go_of_the_item(items: ItemsTable, dynamodb: Any) -> None:
    wish(dynamodb, erase=True)
    assert loaded(items).access_token == b"sealed"
    for _ in range(2):
        items.record_plaid_removed(ITEM)
    assert loaded(items).access_token == b""
    assert removal(items) == ItemRemoval(erase=True, plaid_removed=True)


def test_how_many_rows_there_were_is_recorded_once(items: ItemsTable, dynamodb: Any) -> None:
    wish(dynamodb, erase=True)
    assert [items.record_rows_to_erase(ITEM, rows) for rows in (3, 1, 0)] == [3, 3, 3]
    assert removal(items).rows_to_erase == 3


def test_an_end_is_recorded_once_and_with_its_entry(items: ItemsTable, dynamodb: Any) -> None:
    wish(dynamodb, erase=True)
    item = loaded(items)
    items.record_removal_completed(item, ENDED)
    again = replace(ENDED, outcome="another")
    items.record_removal_completed(item, again)
    assert removal(items).completed
    assert loaded(items).status is ItemStatus.REMOVED
    assert ends(dynamodb) == [ENDED]


def test_an_end_is_not_recorded_as_one_that_keeps_what_was_to_be_erased_meanwhile(
    items: ItemsTable, dynamodb: Any
) -> None:
    wish(dynamodb, erase=False)
    item = loaded(items)
    wish(dynamodb, erase=True)
    with pytest.raises(RetryableError, match="removal_changed"):
        items.record_removal_completed(item, ENDED)
    assert not removal(items).completed
    assert ends(dynamodb) == []


def rows(dynamodb: Any, item_id: str = ITEM, count: int = 60) -> None:
    for table, sort_key in TABLES:
        for number in range(count):
            key = {"item_id": {"S": item_id}, sort_key: {"S": f"{number:03}"}}
            dynamodb.put_item(TableName=table, Item=key | {"removed_at": {"S": "then"}} if number % 2 else key)


def test_every_row_of_the_item_is_counted_and_erased_and_no_other(dynamodb: Any) -> None:
    tables = ErasableTables(dynamodb, TABLES, pause=lambda _: None)
    rows(dynamodb)
    rows(dynamodb, "another", 1)
    assert tables.count(ITEM) == 120
    tables.erase(ITEM, lambda: 900.0)
    assert tables.count(ITEM) == 0
    assert sum(dynamodb.scan(TableName=table)["Count"] for table, _ in TABLES) == 2


def test_what_there_is_no_time_to_erase_is_erased_the_next_time(dynamodb: Any) -> None:
    tables = ErasableTables(dynamodb, TABLES, pause=lambda _: None)
    rows(dynamodb)
    seconds = iter([900.0, 0.0])
    with pytest.raises(RetryableError, match="out_of_time"):
        tables.erase(ITEM, lambda: next(seconds))
    assert 0 < tables.count(ITEM) < 120
    tables.erase(ITEM, lambda: 900.0)
    assert tables.count(ITEM) == 0


@pytest.mark.usefixtures("aws")
def test_what_dynamodb_leaves_over_is_deleted_on_and_given_up_when_it_is_never_taken() -> None:
    """DynamoDB's partial answers are written out here: no emulator leaves anything over."""
    client = boto3.client("dynamodb")
    pauses: list[float] = []
    tables = ErasableTables(client, TABLES[:1], pauses.append)
    key = {"item_id": {"S": ITEM}, "transaction_id": {"S": "t"}}
    left = {TRANSACTIONS: [{"DeleteRequest": {"Key": key}}]}
    with Stubber(client) as stub:
        for answers in ([left, {}], [left] * 5):
            stub.add_response("query", {"Items": [key]})
            for unprocessed in answers:
                stub.add_response("batch_write_item", {"UnprocessedItems": unprocessed})
        tables.erase(ITEM, lambda: 900.0)
        stub_pauses = len(pauses)
        with pytest.raises(RetryableError, match="UnprocessedItems"):
            tables.erase(ITEM, lambda: 900.0)
    assert (stub_pauses, len(pauses)) == (1, 6)


def test_an_item_lets_go_of_the_claims_that_it_still_holds(dynamodb: Any) -> None:
    for key, holder in (("login#mine", ITEM), ("login#taken", "another")):
        claim = {"link_key": {"S": key}, "item_id": {"S": holder}, "link_id": {"S": "link"}}
        dynamodb.put_item(TableName=LINKS, Item=claim)
    links = LinksTable(dynamodb, LINKS, pause=lambda _: None)
    for _ in range(2):
        links.release(ITEM, {"login#mine", "login#taken", "login#absent"})
    assert [item["link_key"]["S"] for item in dynamodb.scan(TableName=LINKS)["Items"]] == ["login#taken"]
