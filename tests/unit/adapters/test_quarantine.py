"""What is kept of broken entries, under whose fence, and how it is read back."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.adapters.dynamodb import quarantine_table
from plaid_sync.adapters.dynamodb.quarantine_table import QuarantineTable
from plaid_sync.core import exact_json
from plaid_sync.core.failures import RetryableError, SupersededError
from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.items import ItemId, ItemStatus, Standing
from plaid_sync.core.sync.plan import Verdict, cut
from plaid_sync.core.sync.quarantine import BrokenEntry, into_parts

from .conftest import ITEM, ITEMS, NOON, QUARANTINE, register

if TYPE_CHECKING:
    from plaid_sync.adapters.dynamodb.items_table import ItemsTable

ENTRY = BrokenEntry.of("added", "amount", {"transaction_id": "t", "amount": "1.00"})
NAMELESS = BrokenEntry.of("removed", "removed", ["t"])
DICTIONARY = Path(__file__).parents[3] / "docs" / "data.md"


@pytest.fixture
def items(dynamodb: Any) -> ItemsTable:
    table = register(dynamodb)
    claim(table)
    return table


def claim(items: ItemsTable) -> None:
    item = items.load(ITEM)
    assert item is not None
    items.claim(item, os.urandom(8).hex())


def quarantine(dynamodb: Any, now: datetime = NOON) -> QuarantineTable:
    return QuarantineTable(dynamodb, ITEMS, QUARANTINE, lambda: now, pause=lambda _: None)


def keep(table: QuarantineTable, *entries: BrokenEntry, generation: int = 1) -> None:
    for batch in cut([part for entry in entries for part in into_parts(entry)], lambda part: part.stored_bytes):
        table.keep(ITEM, generation, batch)


def rows(dynamodb: Any) -> list[dict[str, Any]]:
    return [row for page in dynamodb.get_paginator("scan").paginate(TableName=QUARANTINE) for row in page["Items"]]


@pytest.mark.usefixtures("items")
def test_what_is_kept_is_read_back_exactly(dynamodb: Any) -> None:
    table = quarantine(dynamodb)
    keep(table, ENTRY, NAMELESS)
    found = {one.entry_id: one for one in table.entries(ITEM)}
    assert {entry_id: one.entry for entry_id, one in found.items()} == {
        ENTRY.entry_id: ENTRY,
        NAMELESS.entry_id: NAMELESS,
    }
    assert all((one.quarantined_at, one.generation, one.whole) == (NOON, 1, True) for one in found.values())
    assert [one.entry for one in table.entries(ITEM, NAMELESS.entry_id[:12])] == [NAMELESS]
    assert list(table.entries(ItemId("another"))) == []


@pytest.mark.usefixtures("items")
def test_a_name_of_2_mb_that_no_compression_makes_smaller_comes_back_from_its_parts(dynamodb: Any) -> None:
    table = quarantine(dynamodb)
    long = {"transaction_id": "t", "name": b64encode(os.urandom(1_500_000)).decode()}
    entry = BrokenEntry.of("modified", "transaction", long)
    keep(table, NAMELESS, entry, ENTRY)
    assert len(rows(dynamodb)) == 7 + 2
    (found,) = table.entries(ITEM, entry.entry_id)
    assert found.entry == entry
    assert exact_json.loads(found.entry.raw) == long


@pytest.mark.usefixtures("items")
def test_a_thousand_entries_are_all_kept(dynamodb: Any) -> None:
    table = quarantine(dynamodb)
    entries = [BrokenEntry.of("added", "amount", {"number": number}) for number in range(1000)]
    keep(table, *entries)
    assert {one.entry.raw for one in table.entries(ITEM)} == {entry.raw for entry in entries}


def test_an_entry_that_is_kept_again_stays_as_it_was_with_what_an_operator_wrote_on_it(
    items: ItemsTable, dynamodb: Any
) -> None:
    keep(quarantine(dynamodb), ENTRY)
    (row,) = rows(dynamodb)
    dynamodb.put_item(TableName=QUARANTINE, Item=row | {"note": {"S": "told Plaid"}})
    before = rows(dynamodb)
    claim(items)
    keep(quarantine(dynamodb, NOON + timedelta(days=1)), ENTRY, generation=2)
    assert rows(dynamodb) == before


def test_an_entry_that_is_not_all_there_says_so(items: ItemsTable, dynamodb: Any) -> None:
    entry = BrokenEntry.of("added", "name", {"name": "x" * 700_000})
    table = quarantine(dynamodb)
    table.keep(ITEM, 1, into_parts(entry)[:2])
    (found,) = table.entries(ITEM)
    assert not found.whole
    claim(items)
    keep(table, entry, generation=2)
    (found,) = table.entries(ITEM)
    assert (found.whole, found.entry) == (True, entry)


def test_a_superseded_attempt_keeps_nothing(items: ItemsTable, dynamodb: Any) -> None:
    claim(items)
    with pytest.raises(SupersededError):
        keep(quarantine(dynamodb), ENTRY)
    assert rows(dynamodb) == []


def test_nothing_is_kept_for_an_item_that_was_removed_meanwhile(items: ItemsTable, dynamodb: Any) -> None:
    item = items.load(ITEM)
    assert item is not None
    entry = HistoryEntry(ITEM, NOON, "end", EntryKind.REMOVAL, "removed")
    items.record(item, Verdict(Standing(ItemStatus.REMOVED), entry))
    with pytest.raises(SupersededError):
        keep(quarantine(dynamodb), ENTRY)
    with pytest.raises(SupersededError):
        quarantine(dynamodb).keep(ItemId("unknown"), 1, into_parts(ENTRY))
    assert rows(dynamodb) == []


@pytest.mark.usefixtures("aws")
def test_a_conflict_is_tried_again_and_then_left_to_the_queue() -> None:
    client = boto3.client("dynamodb")
    pauses: list[float] = []
    table = QuarantineTable(client, ITEMS, QUARANTINE, lambda: NOON, pauses.append)
    reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
    with Stubber(client) as stub:
        for _ in range(5):
            stub.add_client_error(
                "transact_write_items",
                service_error_code="TransactionCanceledException",
                modeled_fields={"CancellationReasons": reasons, "Message": "cancelled"},
            )
        with pytest.raises(RetryableError, match="transaction_cancelled"):
            keep(table, ENTRY)
    assert len(pauses) == 5


@pytest.mark.usefixtures("items")
def test_the_data_dictionary_has_exactly_the_attributes_that_are_stored(dynamodb: Any) -> None:
    keep(quarantine(dynamodb), ENTRY)
    (row,) = rows(dynamodb)
    section = DICTIONARY.read_text().split("\n## Quarantine\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == row.keys()
    assert set(re.findall(r"`(\w+)`", quarantine_table.__doc__ or "")) == row.keys()
