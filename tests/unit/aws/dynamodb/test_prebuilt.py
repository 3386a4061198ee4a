"""A prebuilt request is the one that botocore's serializer would make."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import boto3
import pytest
from plaid_sync.aws.dynamodb import prebuilt
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.aws.dynamodb.prebuilt import transact_write_items

VALUES: tuple[Any, ...] = ("text", 'quoted "', "é \U0001f600", b"\x00\xff", b"", True, 0, Decimal("0.1234567"), None)
ALL = serialize([*VALUES, {"m": b"1"}, {"s"}])
REQUESTS: list[Any] = [
    {
        "Put": {
            "TableName": "items",
            "Item": {"item_id": {"S": "item"}, "all": serialize([*VALUES, {"m": b"1"}, {"s"}])},
        }
    },
    {
        "Update": {
            "TableName": "items",
            "Key": {"item_id": {"S": "another"}},
            "UpdateExpression": "SET #a = :a",
            "ConditionExpression": "attribute_not_exists(#a)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            "ExpressionAttributeNames": {"#a": "TransactItems"},
            "ExpressionAttributeValues": {":a": {"S": "[{}]"}},
        }
    },
]


@pytest.fixture
def sent(aws: None) -> list[Any]:  # noqa: ARG001 - the mock has to be up first
    return []


@pytest.fixture
def client(sent: list[Any]) -> Any:
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="items",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "item_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "item_id", "KeyType": "HASH"}],
    )
    event = "before-send.dynamodb.TransactWriteItems"
    client.meta.events.register_first(event, lambda request, **_: sent.append(request))
    return client


def body_of(request: Any) -> Any:
    return json.loads(request.body) | {"ClientRequestToken": ""}


def test_both_ways_send_the_same_request(client: Any, sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    transact_write_items(client, REQUESTS)
    rows = client.scan(TableName="items")["Items"]
    monkeypatch.setattr(prebuilt, "ENABLED", False)
    for row in rows:
        client.delete_item(TableName="items", Key={"item_id": row["item_id"]})
    transact_write_items(client, REQUESTS)
    assert sorted(client.scan(TableName="items")["Items"], key=str) == sorted(rows, key=str)
    assert body_of(sent[0]) == body_of(sent[1])
    assert {name for name, _ in sent[0].headers.items()} == {name for name, _ in sent[1].headers.items()}
    assert int(sent[0].headers["Content-Length"]) == len(sent[0].body)


def test_another_call_of_the_client_is_untouched_also_after_a_failure(client: Any, sent: list[Any]) -> None:
    client.put_item(TableName="items", Item={"item_id": {"S": "another"}, "TransactItems": {"S": "taken"}})
    with pytest.raises(client.exceptions.TransactionCanceledException) as canceled:
        transact_write_items(client, REQUESTS)
    none, failed = canceled.value.response["CancellationReasons"]
    assert (none["Code"], failed["Code"]) == ("None", "ConditionalCheckFailed")
    assert failed["Item"]["TransactItems"] == {"S": "taken"}
    client.transact_write_items(TransactItems=REQUESTS[:1])
    assert [len(json.loads(request.body)["TransactItems"]) for request in sent] == [2, 1]
