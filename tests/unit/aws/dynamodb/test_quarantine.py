"""The Quarantine table: what is kept of invalid entries, under which fence, and how it is read back."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.aws.dynamodb import quarantine as quarantine_table
from plaid_sync.aws.dynamodb.quarantine import QuarantineTable
from plaid_sync.aws.dynamodb.transact import MAX_TRIES
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import SupersededError, TransientError
from plaid_sync.domain.item import ItemId
from plaid_sync.pull.pages import InvalidEntry
from plaid_sync.sync.planner import split
from plaid_sync.sync.quarantine import split_entry

from tests.fakes.clock import NOON, FakeClock
from tests.unit.aws.dynamodb.samples import ITEM, ITEMS, QUARANTINE, REMOVED, cancellation, claim, set_attribute

if TYPE_CHECKING:
    from plaid_sync.aws.dynamodb.items import ItemsTable

ENTRY = InvalidEntry.of("added", "amount", {"transaction_id": "t", "amount": "1.00"})
WITHOUT_ID = InvalidEntry.of("removed", "removed", ["t"])
DICTIONARY = Path(__file__).parents[4] / "docs" / "data.md"


@pytest.fixture(autouse=True)
def _claimed(items: ItemsTable) -> None:
    claim(items)


@pytest.fixture
def quarantine(dynamodb: Any) -> QuarantineTable:
    return table(dynamodb)


def table(dynamodb: Any, clock: FakeClock | None = None) -> QuarantineTable:
    return QuarantineTable(dynamodb, ITEMS, QUARANTINE, clock or FakeClock())


def keep(quarantine: QuarantineTable, *entries: InvalidEntry, generation: int = 1) -> None:
    for batch in split([part for entry in entries for part in split_entry(entry)], lambda part: part.stored_bytes):
        quarantine.keep(ITEM, generation, batch)


def rows(dynamodb: Any) -> list[dict[str, Any]]:
    return [row for page in dynamodb.get_paginator("scan").paginate(TableName=QUARANTINE) for row in page["Items"]]


def test_an_entry_is_read_back_exactly(quarantine: QuarantineTable) -> None:
    keep(quarantine, ENTRY, WITHOUT_ID)
    found = {kept.entry_id: kept for kept in quarantine.entries(ITEM)}
    assert {entry_id: kept.entry for entry_id, kept in found.items()} == {
        ENTRY.entry_id: ENTRY,
        WITHOUT_ID.entry_id: WITHOUT_ID,
    }
    assert all((kept.quarantined_at, kept.generation, kept.complete) == (NOON, 1, True) for kept in found.values())
    assert [kept.entry for kept in quarantine.entries(ITEM, WITHOUT_ID.entry_id[:12])] == [WITHOUT_ID]
    assert list(quarantine.entries(ItemId("another"))) == []


def test_an_entry_of_2_mb_that_does_not_compress_is_joined_from_its_parts(
    quarantine: QuarantineTable, dynamodb: Any
) -> None:
    long = {"transaction_id": "t", "name": b64encode(os.urandom(1_500_000)).decode()}
    entry = InvalidEntry.of("modified", "transaction", long)
    keep(quarantine, WITHOUT_ID, entry, ENTRY)
    assert len(rows(dynamodb)) == 7 + 2
    (found,) = quarantine.entries(ITEM, entry.entry_id)
    assert found.entry == entry
    assert exact_json.loads(found.entry.raw) == long


def test_more_entries_than_one_transaction_holds_are_all_kept(quarantine: QuarantineTable) -> None:
    entries = [InvalidEntry.of("added", "amount", {"number": number}) for number in range(100)]
    keep(quarantine, *entries)
    assert {kept.entry.raw for kept in quarantine.entries(ITEM)} == {entry.raw for entry in entries}


def test_keeping_an_entry_again_is_idempotent_and_preserves_an_operators_note(items: ItemsTable, dynamodb: Any) -> None:
    keep(table(dynamodb), ENTRY)
    (row,) = rows(dynamodb)
    dynamodb.put_item(TableName=QUARANTINE, Item=row | {"note": {"S": "reported to Plaid"}})
    before = rows(dynamodb)
    claim(items, "another")
    keep(table(dynamodb, FakeClock(NOON + timedelta(days=1))), ENTRY, generation=2)
    assert rows(dynamodb) == before


def test_an_entry_is_incomplete_until_all_of_its_parts_are_kept(items: ItemsTable, quarantine: QuarantineTable) -> None:
    entry = InvalidEntry.of("added", "name", {"name": "x" * 700_000})
    quarantine.keep(ITEM, 1, split_entry(entry)[:2])
    (found,) = quarantine.entries(ITEM)
    assert not found.complete
    claim(items, "another")
    keep(quarantine, entry, generation=2)
    (found,) = quarantine.entries(ITEM)
    assert (found.complete, found.entry) == (True, entry)


def test_a_superseded_attempt_keeps_nothing(items: ItemsTable, quarantine: QuarantineTable, dynamodb: Any) -> None:
    claim(items, "another")
    with pytest.raises(SupersededError):
        keep(quarantine, ENTRY)
    assert rows(dynamodb) == []


def test_nothing_is_kept_for_a_removed_or_unknown_item(quarantine: QuarantineTable, dynamodb: Any) -> None:
    set_attribute(dynamodb, "state", REMOVED)
    with pytest.raises(SupersededError):
        keep(quarantine, ENTRY)
    with pytest.raises(SupersededError):
        quarantine.keep(ItemId("unknown"), 1, split_entry(ENTRY))
    assert rows(dynamodb) == []


def test_a_conflict_is_retried_and_then_a_transient_failure() -> None:
    client, clock = boto3.client("dynamodb"), FakeClock()
    with Stubber(client) as stub:
        for _ in range(MAX_TRIES):
            stub.add_client_error(**cancellation("None", "TransactionConflict"))
        with pytest.raises(TransientError, match="transaction_canceled"):
            keep(table(client, clock), ENTRY)
    assert len(clock.pauses) == MAX_TRIES


def test_the_data_dictionary_lists_exactly_the_stored_attributes(quarantine: QuarantineTable, dynamodb: Any) -> None:
    keep(quarantine, ENTRY)
    (row,) = rows(dynamodb)
    section = DICTIONARY.read_text().split("\n## Quarantine\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == row.keys()
    assert set(re.findall(r"`(\w+)`", quarantine_table.__doc__ or "")) == row.keys()
