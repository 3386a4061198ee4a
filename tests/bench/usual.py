"""A sync as it is usually written: plaid-python or plain JSON, boto3's resource, no fence, no history."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import plaid
import urllib3
from plaid.api.plaid_api import PlaidApi
from plaid.model.transactions_sync_request import TransactionsSyncRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rows = list[dict[str, Any]]


def prepare(port: int, pull: str, write: str) -> Callable[[], None]:
    """Return a sync of an Item that pulls pages `typed` or `raw`, and writes with `put_item` or `batch_writer`."""
    dynamodb: Any = boto3.resource("dynamodb")
    items, rows = dynamodb.Table("items"), dynamodb.Table("transactions")
    pages = {"typed": _typed, "raw": _raw}[pull](f"http://127.0.0.1:{port}")
    writer = {"put_item": _put_item, "batch_writer": _batch_writer}[write]

    def sync() -> None:
        item = items.get_item(Key={"item_id": "item"})["Item"]
        cursor = item["cursor"]
        for added, following in pages(item["access_token"], cursor):
            writer(rows, added)
            cursor = following
        items.update_item(
            Key={"item_id": "item"},
            UpdateExpression="SET #cursor = :cursor",
            ExpressionAttributeNames={"#cursor": "cursor"},
            ExpressionAttributeValues={":cursor": cursor},
        )

    return sync


def _typed(url: str) -> Callable[[str, str], Iterator[tuple[Rows, str]]]:
    configuration = plaid.Configuration(host=url, api_key={"clientId": "client", "secret": "secret"})
    api = PlaidApi(plaid.ApiClient(configuration))

    def pages(access_token: str, cursor: str) -> Iterator[tuple[Rows, str]]:
        more = True
        while more:
            request = TransactionsSyncRequest(access_token=access_token, cursor=cursor, count=500)
            response = api.transactions_sync(request)
            # Its models have floats and dates, which boto3 refuses.
            added = [json.loads(json.dumps(row.to_dict(), default=str), parse_float=Decimal) for row in response.added]
            cursor, more = response.next_cursor, response.has_more
            yield added, cursor

    return pages


def _raw(url: str) -> Callable[[str, str], Iterator[tuple[Rows, str]]]:
    http = urllib3.PoolManager()

    def pages(access_token: str, cursor: str) -> Iterator[tuple[Rows, str]]:
        more = True
        while more:
            request = {"client_id": "client", "secret": "secret", "access_token": access_token}
            body = json.dumps(request | {"cursor": cursor, "count": 500})
            headers = {"Content-Type": "application/json"}
            response = http.request("POST", f"{url}/transactions/sync", body=body, headers=headers)
            page = json.loads(response.data, parse_float=Decimal)
            cursor, more = page["next_cursor"], page["has_more"]
            yield page["added"], cursor

    return pages


def _put_item(table: Any, added: Rows) -> None:
    for row in added:
        table.put_item(Item={"item_id": "item", **row})


def _batch_writer(table: Any, added: Rows) -> None:
    with table.batch_writer() as batch:
        for row in added:
            batch.put_item(Item={"item_id": "item", **row})
