"""A server that answers at once with recorded responses: `python -m tests.bench.replay FILE PAGES` prints its port.

The responses of an operation are served in their order, again and again. Operations that only the usual ways of
writing need have an answer of their own. It ends with its standard input. `GET /calls` returns how often each was
called.

With more than one PAGES it is a long history: the last recorded page of transactions is served so often, each time with
other ids, and what is written is kept, because the end of such a sync reads all of it. A call without an answer fails
with 404. An engine records that as a failure and writes no rows, fast: so `GET /calls` counts those calls and the rows.
"""

from __future__ import annotations

import json
import re
import socketserver
import sys
import threading
import zlib
from bisect import bisect_right
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import simplejson

from tests.bench.recording import PULL, WRITE, load

if TYPE_CHECKING:
    from collections.abc import Iterator

_USUAL: Final = {
    "DynamoDB_20120810.BatchWriteItem": b'{"UnprocessedItems":{}}',
    "DynamoDB_20120810.PutItem": b"{}",
    "DynamoDB_20120810.UpdateItem": b"{}",
    WRITE: b"{}",
    "DynamoDB_20120810.GetItem": b'{"Item":{"item_id":{"S":"item"},"access_token":{"S":"access"},"cursor":{"S":"0"}}}',
}
CALLS: Final = "/calls"
UNANSWERED: Final = "unanswered"
"""Among the calls: those that had no answer."""
ROWS: Final = "rows"
"""Among the calls: the number of transactions that were written, where the history is long."""
_QUERY: Final = "DynamoDB_20120810.Query"
_ASSIGNMENT: Final = re.compile(r"(#?\w+) = (?:if_not_exists\(#?\w+, )?(:\w+)")
_QUERIED: Final = 1_000
"""Rows of a response: 1 MB of them."""


class WrittenRows:
    """The rows of one Item that one attempt writes: all of them pass the filter of what the attempt queries."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self._sorted: list[str] = []

    def write(self, request: Any) -> None:
        for part in request["TransactItems"]:
            (action,) = part.values()
            row = action.get("Key") or action["Item"]
            if "transaction_id" in row:
                names, values = action["ExpressionAttributeNames"], action["ExpressionAttributeValues"]
                assigned = _ASSIGNMENT.findall(action["UpdateExpression"])
                sets = {names.get(name, name): values[value] for name, value in assigned}
                self.rows[row["transaction_id"]["S"]] = row | sets

    def query(self, request: Any) -> dict[str, Any]:
        if len(self._sorted) != len(self.rows):
            self._sorted = sorted(self.rows)
        after = request.get("ExclusiveStartKey", {"transaction_id": {"S": ""}})["transaction_id"]["S"]
        start = bisect_right(self._sorted, after)
        ids = self._sorted[start : start + _QUERIED]
        names = request["ExpressionAttributeNames"]
        shown = [names.get(name, name) for name in request["ProjectionExpression"].split(", ")]
        items = [{name: self.rows[key][name] for name in shown if name in self.rows[key]} for key in ids]
        response = {"Items": items, "Count": len(items), "ScannedCount": len(items)}
        more = start + _QUERIED < len(self._sorted)
        last = {"transaction_id": {"S": ids[-1]}, "item_id": self.rows[ids[-1]]["item_id"]} if more else None
        return response | ({"LastEvaluatedKey": last} if last else {})


class _Replay(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, path: Path, pages: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.counts: Counter[str] = Counter()
        found = defaultdict[str, list[bytes]](list)
        for exchange in load(path):
            found[exchange.call].append(_response(exchange.status, exchange.response.encode()))
        usual = {call: [_response(200, body)] for call, body in _USUAL.items()}
        self._responses: dict[str, Iterator[bytes]] = {
            call: cycle(responses) for call, responses in {**usual, **found}.items()
        }
        self.rows = WrittenRows()
        self._keeps_rows = pages > 1
        if pages > 1:
            page = [exchange.response for exchange in load(path) if exchange.call == PULL][-1]
            self._responses[PULL] = cycle(_response(200, _numbered(page, pages, number)) for number in range(pages))
        self._lock = threading.Lock()

    def respond(self, call: str, body: bytes) -> bytes:
        with self._lock:
            if call == CALLS:
                return _response(200, json.dumps({**self.counts, ROWS: len(self.rows.rows)}).encode())
            self.counts[call] += 1
            if self._keeps_rows and call == WRITE:
                self.rows.write(json.loads(body))
            if self._keeps_rows and call == _QUERY:
                return _response(200, json.dumps(self.rows.query(json.loads(body))).encode())
            if call not in self._responses:
                self.counts[UNANSWERED] += 1
                return _response(404, b"{}")
            return next(self._responses[call])


def _response(status: int, body: bytes) -> bytes:
    # DynamoDB sends a checksum, which the SDK verifies.
    head = (
        f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"x-amz-crc32: {zlib.crc32(body)}\r\nx-amzn-RequestId: 0\r\n\r\n"
    )
    return head.encode() + body


def _numbered(page: str, pages: int, number: int) -> bytes:
    """Return a page of a long history, whose transactions no other page has."""
    document = json.loads(page, parse_float=Decimal)
    for transaction in document["added"]:
        transaction["transaction_id"] = f"{number:04}{transaction['transaction_id'][4:]}"
    document |= {"next_cursor": f"page-{number}", "has_more": number + 1 < pages}
    return simplejson.dumps(document, use_decimal=True).encode()


class _Connection(socketserver.StreamRequestHandler):
    server: _Replay
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline():
            call, length = line.split()[1].decode(), 0
            while (header := self.rfile.readline().strip()) != b"":
                name, _, value = header.partition(b":")
                match name.lower():
                    case b"content-length":
                        length = int(value)
                    case b"x-amz-target":
                        call = value.strip().decode()
            self.wfile.write(self.server.respond(call, self.rfile.read(length)))


def main() -> None:
    with _Replay(Path(sys.argv[1]), int(sys.argv[2])) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
