"""What the tables' adapters take care of beside their conditions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from plaid_sync.adapters.dynamodb.transactions_table import TransactionsTable
from plaid_sync.core.failures import RetryableError, SupersededError
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.sync.transactions import Removal, TransactionId

from tests.unit.adapters.conftest import (
    HISTORY,
    ITEM,
    ITEMS,
    NOON,
    TRANSACTIONS,
    history_of_syncs,
    items_table,
    register,
)
from tests.unit.adapters.test_tables import COMMIT, ROW, TROUBLE, cancelled, claim, set_attribute

NOWHERE = "http://127.0.0.1:9"


def transactions_of(client: Any) -> TransactionsTable:
    return TransactionsTable(client, ITEMS, TRANSACTIONS, HISTORY, lambda: NOON, pause=lambda _: None)


def test_an_item_that_is_removed_during_a_sync_stays_removed(dynamodb: Any) -> None:
    items = register(dynamodb)
    claimed = claim(items)
    set_attribute(dynamodb, "status", {"S": ItemStatus.REMOVED.value})
    before = items.load(ITEM)
    with pytest.raises(SupersededError):
        items.record(claimed, TROUBLE)
    assert items.load(ITEM) == before
    assert history_of_syncs(dynamodb) == []


def test_a_tombstone_outlives_the_queues_and_a_row_that_returns_does_not_expire(dynamodb: Any) -> None:
    items, transactions = register(dynamodb), transactions_of(dynamodb)

    def expires_at() -> int | None:
        key = {"item_id": {"S": ITEM}, "transaction_id": {"S": ROW.transaction_id}}
        row = dynamodb.get_item(TableName=TRANSACTIONS, Key=key)["Item"]
        return int(row["expires_at"]["N"]) if "expires_at" in row else None

    claim(items)
    transactions.write(ITEM, 1, [Removal(ROW.transaction_id, "account")], begin=True, commit=None)
    two_queues = timedelta(days=4 + 14)  # a message's life in the one, and then in the other
    assert (expires_at() or 0) > (NOON + two_queues).timestamp()
    claim(items)
    transactions.write(ITEM, 2, [ROW], begin=False, commit=COMMIT)
    assert expires_at() is None


def test_what_a_decision_rests_on_is_read_consistently(dynamodb: Any) -> None:
    """An emulator's reads always are, so that what is sent is looked at."""
    items, transactions = register(dynamodb), transactions_of(dynamodb)
    asked: dict[str, Any] = {}

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        tables = params.get("RequestItems", {TRANSACTIONS: params})
        asked[model.name] = tables[TRANSACTIONS].get("ConsistentRead")

    dynamodb.meta.events.register("provide-client-params.dynamodb", note)
    items.load(ITEM)
    transactions.rows(ITEM, [ROW.transaction_id])
    assert list(transactions.scan_item(ITEM)) == []
    assert asked == {"GetItem": True, "BatchGetItem": True, "Query": True}


def test_a_scan_goes_on_to_the_last_page(aws: None) -> None:  # noqa: ARG001
    """DynamoDB ends a page at 1 MB, and one can be empty when the filter took all of it."""
    client = boto3.client("dynamodb")
    keys = [{"item_id": {"S": ITEM}, "transaction_id": {"S": str(number)}} for number in range(3)]
    numbers = {"generation": {"N": "1"}, "first_generation": {"N": "1"}}
    asked: list[Any] = []
    with Stubber(client) as stub:
        client.meta.events.register(
            "provide-client-params.dynamodb.Query", lambda params, **_: asked.append(params.get("ExclusiveStartKey"))
        )
        stub.add_response("query", {"Items": [keys[0] | numbers], "LastEvaluatedKey": keys[0]})
        stub.add_response("query", {"Items": [], "LastEvaluatedKey": keys[1]})
        stub.add_response("query", {"Items": [keys[2] | numbers]})
        assert [row.transaction_id for row in transactions_of(client).scan_item(ITEM)] == ["0", "2"]
    assert asked == [None, keys[0], keys[1]]


def test_a_scan_begins_with_the_rows_of_the_generation_that_is_asked_for(dynamodb: Any) -> None:
    items, transactions = register(dynamodb), transactions_of(dynamodb)
    for generation in (1, 2, 3):
        claim(items)
        row = replace(ROW, transaction_id=TransactionId(str(generation)))
        transactions.write(ITEM, generation, [row], begin=True, commit=None)
    assert [row.transaction_id for row in transactions.scan_item(ITEM, since=2)] == ["2", "3"]


def test_any_number_of_rows_is_read_in_calls_that_dynamodb_takes(dynamodb: Any) -> None:
    items, transactions = register(dynamodb), transactions_of(dynamodb)
    ids = [TransactionId(str(number)) for number in range(230)]
    for generation, start in enumerate(range(0, len(ids), 80), start=1):
        claim(items)
        rows = [replace(ROW, transaction_id=one) for one in ids[start : start + 80]]
        transactions.write(ITEM, generation, rows, begin=True, commit=None)
    assert transactions.rows(ITEM, ids).keys() == set(ids)


@pytest.mark.parametrize("code", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_a_transaction_that_dynamodb_never_takes_is_not_repeated(aws: None, code: str) -> None:  # noqa: ARG001
    client = boto3.client("dynamodb")
    with Stubber(client) as stub:
        stub.add_client_error(
            "transact_write_items",
            service_error_code="TransactionCanceledException",
            modeled_fields=cancelled("None", code),
        )
        with pytest.raises(RetryableError, match=code):
            transactions_of(client).write(ITEM, 1, [ROW], begin=True, commit=None)
        stub.assert_no_pending_responses()


def test_a_network_that_fails_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    config = Config(retries={"total_max_attempts": 1})
    client = boto3.Session(region_name="us-east-1").client("dynamodb", endpoint_url=NOWHERE, config=config)
    with pytest.raises(RetryableError, match="EndpointConnectionError"):
        items_table(client).load(ITEM)
