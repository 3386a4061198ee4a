"""The server that repeats recorded responses keeps what is written of a long history."""

from __future__ import annotations

from typing import Any

from tests.bench.replay import WrittenRows


def update(transaction_id: str) -> dict[str, Any]:
    return {
        "Update": {
            "Key": {"item_id": {"S": "item"}, "transaction_id": {"S": transaction_id}},
            "UpdateExpression": "SET #date = :0, #first = if_not_exists(#first, :1) REMOVE #removed",
            "ExpressionAttributeNames": {"#date": "date", "#first": "first_generation", "#removed": "removed_at"},
            "ExpressionAttributeValues": {":0": {"S": "2026-01-01"}, ":1": {"N": "7"}},
        }
    }


def test_a_query_returns_every_written_row_once_in_pages() -> None:
    rows = WrittenRows()
    ids = [f"{number:05}" for number in range(2_500)]
    rows.write({"TransactItems": [update(transaction_id) for transaction_id in reversed(ids)]})
    request: dict[str, Any] = {
        "ProjectionExpression": "#id, #first, #removed",
        "ExpressionAttributeNames": {"#id": "transaction_id", "#first": "first_generation", "#removed": "removed_at"},
    }
    found: list[dict[str, Any]] = []
    while True:
        page = rows.query(request)
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            break
        request |= {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert found == [{"transaction_id": {"S": each}, "first_generation": {"N": "7"}} for each in ids]


def test_an_action_on_another_table_is_no_row() -> None:
    rows = WrittenRows()
    rows.write({"TransactItems": [{"ConditionCheck": {"Key": {"item_id": {"S": "item"}}}}]})
    assert rows.rows == {}
