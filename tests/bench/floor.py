"""What no engine with the same protocol can be below in Python: the calls and the bytes that must move, and no SDK.

A conditional claim that returns the Item, Plaid's pages, and fenced transactions of up to 97 rows, the last with the
cursor, the accounts and an entry of the history; without changes a fenced update of the Item alone. JSON of the
standard library, floats for amounts (which the engine must not use), zlib's default level, a signature by hand, one
socket for each host.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROWS: Final = 97
_REGION: Final = "us-east-1"
_KEY: Final = "AKIDEXAMPLE"
_NATIVE: Final = (
    *("account_id", "date", "authorized_date", "iso_currency_code", "unofficial_currency_code", "name"),
    *("merchant_name", "pending_transaction_id", "payment_channel"),
)
_FENCE: Final = "#generation = :0 AND #state <> :1"
_FENCE_NAMES: Final = {"#generation": "generation", "#state": "state"}
_ROW_CONDITION: Final = "attribute_not_exists(generation) OR generation < :generation"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


@dataclass(slots=True)
class _Connection:
    """A socket that posts JSON and reads the response."""

    port: int
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, headers: str, body: bytes) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self._socket.sendall(head.encode() + body)
        received = self._socket.recv(65536)
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._socket.recv(65536)
        at = received.lower().index(b"content-length:") + 15
        length = int(received[at : received.index(b"\r\n", at)])
        parts, missing = [received[end + 4 :]], length - (len(received) - end - 4)
        while missing > 0:
            parts.append(self._socket.recv(missing))
            missing -= len(parts[-1])
        return b"".join(parts)


@dataclass(slots=True)
class _DynamoDB:
    """Signed calls."""

    connection: _Connection
    _day: str = ""
    _signing_key: bytes = b""

    def call(self, operation: str, body: str) -> bytes:
        target, content = f"DynamoDB_20120810.{operation}", body.encode()
        return self.connection.post("/", self._headers(target, hashlib.sha256(content).hexdigest()), content)

    def _headers(self, target: str, digest: str) -> str:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        if now[:8] != self._day:
            self._day, key = now[:8], b"AWS4secret"
            for part in (self._day, _REGION, "dynamodb", "aws4_request"):
                key = _hmac(key, part)
            self._signing_key = key
        signed = "host;x-amz-date;x-amz-target"
        request = f"POST\n/\n\nhost:localhost\nx-amz-date:{now}\nx-amz-target:{target}\n\n{signed}\n{digest}"
        scope = f"{self._day}/{_REGION}/dynamodb/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.new(self._signing_key, text.encode(), "sha256").hexdigest()
        return (
            f"Content-Type: application/x-amz-json-1.0\r\nX-Amz-Date: {now}\r\nX-Amz-Target: {target}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={_KEY}/{scope}, SignedHeaders={signed}, "
            f"Signature={signature}\r\n"
        )


def prepare(port: int) -> Callable[[], None]:
    dynamodb, plaid = _DynamoDB(_Connection(port)), _Connection(port)

    def sync() -> None:
        item = json.loads(dynamodb.call("UpdateItem", _claim()))["Attributes"]
        cursor = item.get("cursor", {}).get("S", "")
        pages = list(_pages(plaid, cursor))
        rows = [_row_action(row) for page in pages for row in page["added"]]
        if not rows:
            dynamodb.call("UpdateItem", json.dumps(_commit(pages[-1])["Update"]))
        for start in range(0, len(rows), _ROWS):
            last = start + _ROWS >= len(rows)
            item, entry = (_commit(pages[-1]), [_entry()]) if last else (_check(), [])
            actions = [item, *rows[start : start + _ROWS], *entry]
            body = json.dumps({"TransactItems": actions, "ClientRequestToken": os.urandom(16).hex()})
            dynamodb.call("TransactWriteItems", body)

    return sync


def _pages(plaid: _Connection, cursor: str) -> Iterator[Any]:
    more = True
    while more:
        request = {"client_id": "client", "secret": "secret", "access_token": "access", "cursor": cursor, "count": 500}
        body = json.dumps(request).encode()
        page = json.loads(plaid.post("/transactions/sync", "Content-Type: application/json\r\n", body))
        cursor, more = page["next_cursor"], page["has_more"]
        yield page


def _encoded(document: object) -> str:
    text = json.dumps(document, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(text)).decode()


def _claim() -> str:
    return json.dumps(
        {
            "TableName": "items",
            "Key": {"item_id": {"S": "item"}},
            "UpdateExpression": "SET #generation = :2, attempt_id = :3, next_attempt_at = :4, attempt_shard = :5",
            "ConditionExpression": _FENCE,
            "ExpressionAttributeNames": _FENCE_NAMES,
            "ExpressionAttributeValues": {
                ":0": {"N": "1"},
                ":1": {"S": "removed"},
                ":2": {"N": "2"},
                ":3": {"S": os.urandom(16).hex()},
                ":4": {"S": "2026-01-01T00:00:00.000Z"},
                ":5": {"S": "routine#3"},
            },
            "ReturnValues": "ALL_NEW",
        }
    )


def _check() -> dict[str, Any]:
    condition = {
        "TableName": "items",
        "Key": {"item_id": {"S": "item"}},
        "ConditionExpression": _FENCE,
        "ExpressionAttributeNames": _FENCE_NAMES,
        "ExpressionAttributeValues": {":0": {"N": "1"}, ":1": {"S": "removed"}},
    }
    return {"ConditionCheck": condition}


def _commit(page: Any) -> dict[str, Any]:
    now = {"S": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())}
    update = {
        "TableName": "items",
        "Key": {"item_id": {"S": "item"}},
        "UpdateExpression": "SET #cursor = :2, pull_began_at = :3, synced_at = :3, fresh_at = :3, "
        "next_attempt_at = :3, attempt_shard = :4, accounts = :5 REMOVE writing_since",
        "ConditionExpression": f"{_FENCE} AND #cursor = :6",
        "ExpressionAttributeNames": {**_FENCE_NAMES, "#cursor": "cursor"},
        "ExpressionAttributeValues": {
            ":0": {"N": "1"},
            ":1": {"S": "removed"},
            ":2": {"S": page["next_cursor"]},
            ":3": now,
            ":4": {"S": "routine#3"},
            ":5": {"B": _encoded(page["accounts"])},
            ":6": {"S": page["next_cursor"]},
        },
    }
    return {"Update": update}


def _entry() -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    texts = {"item_id": "item", "entry_id": f"{at}#{os.urandom(8).hex()}", "kind": "sync", "at": at}
    entry = {name: {"S": value} for name, value in texts.items()} | {"expires_at": {"N": str(int(time.time()))}}
    return {"Put": {"TableName": "history", "Item": entry}}


def _row_action(row: Any) -> dict[str, Any]:
    values = {f":{name}": {"S": value} for name in _NATIVE if (value := row[name])}
    names = {f"#{name[1:]}": name[1:] for name in values}
    sets = ", ".join(f"#{name[1:]} = {name}" for name in values)
    values |= {
        ":amount": {"N": str(row["amount"])},
        ":pending": {"BOOL": row["pending"]},
        ":plaid": {"B": _encoded(row)},
        ":category": {"S": row["personal_finance_category"]["primary"]},
        ":date_id": {"S": f"{row['date']}#{row['transaction_id']}"},
        ":generation": {"N": "1"},
    }
    update = {
        "TableName": "transactions",
        "Key": {"item_id": {"S": "item"}, "transaction_id": {"S": row["transaction_id"]}},
        "UpdateExpression": f"SET {sets}, amount = :amount, pending = :pending, plaid = :plaid, category = :category, "
        "date_id = :date_id, generation = :generation, "
        "first_generation = if_not_exists(first_generation, :generation)",
        "ConditionExpression": _ROW_CONDITION,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
    return {"Update": update}
