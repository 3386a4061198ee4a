"""The erasure of a removed Item's rows, and the release of its account claims."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.aws.dynamodb.claims import ItemClaims
from plaid_sync.aws.dynamodb.erasure import ErasableTables
from plaid_sync.aws.dynamodb.transact import MAX_TRIES
from plaid_sync.domain.clock import Deadline
from plaid_sync.domain.errors import TransientError

from tests.fakes.clock import PLENTY, FakeClock
from tests.unit.aws.dynamodb.samples import HISTORY, ITEM, LINKS, QUARANTINE, TRANSACTIONS

TABLES = (TRANSACTIONS, "transaction_id"), (QUARANTINE, "entry_part")


def put_rows(dynamodb: Any, item_id: str = ITEM, count: int = 60) -> None:
    for table, sort_key in TABLES:
        for number in range(count):
            key = {"item_id": {"S": item_id}, sort_key: {"S": f"{number:03}"}}
            dynamodb.put_item(TableName=table, Item=key | {"removed_at": {"S": "then"}} if number % 2 else key)


def test_every_row_of_the_item_is_counted_and_erased_and_no_other(dynamodb: Any) -> None:
    tables = ErasableTables(dynamodb, TABLES, HISTORY, FakeClock())
    put_rows(dynamodb)
    put_rows(dynamodb, "another", 1)
    assert tables.count(ITEM, PLENTY) == 120
    tables.erase(ITEM, PLENTY)
    assert tables.count(ITEM, PLENTY) == 0
    assert sum(dynamodb.scan(TableName=table)["Count"] for table, _ in TABLES) == 2


def test_an_erasure_that_runs_out_of_time_continues_the_next_time(dynamodb: Any) -> None:
    tables = ErasableTables(dynamodb, TABLES, HISTORY, FakeClock())
    put_rows(dynamodb)
    seconds = iter([900.0, 0.0])
    with pytest.raises(TransientError, match="out_of_time"):
        tables.erase(ITEM, Deadline(lambda: next(seconds)))
    assert 0 < tables.count(ITEM, PLENTY) < 120
    tables.erase(ITEM, PLENTY)
    assert tables.count(ITEM, PLENTY) == 0


@pytest.mark.usefixtures("aws")
def test_unprocessed_deletes_are_retried_with_backoff_and_then_fail() -> None:
    """DynamoDB's partial responses are written out here: no emulator leaves deletes unprocessed."""
    client, clock = boto3.client("dynamodb"), FakeClock()
    tables = ErasableTables(client, TABLES[:1], HISTORY, clock)
    key = {"item_id": {"S": ITEM}, "transaction_id": {"S": "t"}}
    left = {TRANSACTIONS: [{"DeleteRequest": {"Key": key}}]}
    with Stubber(client) as stub:
        for responses in ([left, {}], [left] * MAX_TRIES):
            stub.add_response("query", {"Items": [key]})
            for unprocessed in responses:
                stub.add_response("batch_write_item", {"UnprocessedItems": unprocessed})
            if responses[-1] == {}:
                stub.add_response("query", {"Items": []})  # the change log
        tables.erase(ITEM, PLENTY)
        assert len(clock.pauses) == 1
        with pytest.raises(TransientError, match="UnprocessedItems"):
            tables.erase(ITEM, PLENTY)
    assert len(clock.pauses) == 1 + MAX_TRIES


def test_an_item_releases_the_claims_that_it_still_holds(dynamodb: Any) -> None:
    for key, holder in (("login#mine", ITEM), ("login#taken", "another")):
        claim = {"link_key": {"S": key}, "item_id": {"S": holder}, "link_id": {"S": "link"}}
        dynamodb.put_item(TableName=LINKS, Item=claim)
    for _ in range(2):
        ItemClaims(dynamodb, LINKS, FakeClock()).release(ITEM, {"login#mine", "login#taken", "login#absent"})
    assert [row["link_key"]["S"] for row in dynamodb.scan(TableName=LINKS)["Items"]] == ["login#taken"]
