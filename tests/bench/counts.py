"""What a sync, an audit and a batch of events take: calls, units and bytes. They are the same on every machine.

The benchmark prints them, and `tests/integration/test_ceilings.py` holds their ceilings.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import urllib3
from plaid_sync.domain.budget import SLICE

from local.plaid.clock import OffsetClock
from tests.bench.recording import PULL, recorded
from tests.integration.capacity import measured, size_of
from tests.integration.crashes import intercepted
from tests.integration.functions import lambda_context, wired

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.bench.recording import Exchange
    from tests.integration.capacity import Units
    from tests.integration.harness import World

RECORDS: Final = 200
"""Records of the history's stream in a batch of the changes function."""
DOCUMENTED: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("documented_transaction.json").read_text())
"""Plaid's example of a transaction (https://plaid.com/docs/api/products/transactions/#transactionssync), in which what
is null there has a value, but for the second of its currencies."""
_SERVICES: Final = {"DynamoDB_20120810": "DynamoDB", "TrentService": "KMS"}


def units_of_sync(world: World, item_id: str, new_rows: int) -> tuple[Units, list[Exchange]]:
    """Return the units of a sync of so many new transactions, and its calls, with the reads of the count itself."""
    _change(world, item_id, new_rows)
    world.enqueue(item_id, "webhook")
    with recorded() as exchanges, measured(world.stack) as units:
        world.drain()
    return units, exchanges


def calls_of_warm_sync(world: World, item_id: str, new_rows: int) -> Counter[str]:
    """Return the calls, by service, of a sync in a process that has synced the Item before.

    That was a slice of the call budget ago: a process that syncs more counts its calls, once for several of them.
    """
    world.clock = clock = OffsetClock(world.clock)
    module = wired(world, "sync")
    _sync_by(world, module, item_id)
    _change(world, item_id, new_rows)
    clock.advance(SLICE)
    with recorded() as exchanges:
        _sync_by(world, module, item_id)
    return Counter(_SERVICES.get(exchange.call.partition(".")[0], "other") for exchange in exchanges)


def _change(world: World, item_id: str, new_rows: int) -> None:
    if new_rows:
        world.plaid.add(item_id, new_rows, notify=False)


def _sync_by(world: World, module: Any, item_id: str) -> None:
    world.enqueue(item_id, "webhook")
    records = world.receive()
    assert module.lambda_handler({"Records": records}, lambda_context()) == {"batchItemFailures": []}
    for record in records:
        world.delete(record)


def units_of_audit(world: World, rows: int) -> Units:
    """Return the units of an audit of an Item with so many rows."""
    item_id = world.link(transactions=0)
    world.plaid.add(item_id, rows)
    world.sync(item_id)
    with measured(world.stack) as units:
        report = world.audit({"item_id": item_id})
    assert (report["outcome"], report["at_plaid"]) == ("clean", rows)
    return units


def event_bus_calls(world: World) -> int:
    """Return the calls of PutEvents for a batch of `RECORDS` records, each of another Item that was linked."""
    (entry,) = [row for row in _rows(world, world.stack.history_table, world.link()) if "published_events" in row]
    records = [
        {"dynamodb": {"NewImage": entry | {"item_id": {"S": f"item-{number}"}}, "SequenceNumber": str(number)}}
        for number in range(RECORDS)
    ]
    with recorded() as exchanges:
        assert world.invoke("changes", {"Records": records}) == {"batchItemFailures": []}
    published = [len(json.loads(exchange.request)["Entries"]) for exchange in exchanges]
    assert sum(published) == RECORDS
    return len(published)


def row_sizes(world: World, rows: int) -> list[int]:
    """Return the bytes of each of the simulator's transactions in the Transactions table, ascending."""
    item_id = world.link(transactions=0)
    world.plaid.add(item_id, rows)
    world.sync(item_id)
    found = sorted(map(size_of, _rows(world, world.stack.transactions_table, item_id)))
    assert len(found) == rows
    return found


def documented_row_size(world: World) -> int:
    """Return the bytes of Plaid's documented transaction in the Transactions table."""
    item_id = world.synced(transactions=1)
    world.plaid.add(item_id, 1, notify=False)
    with _serving([DOCUMENTED]):
        world.sync(item_id)
    rows = _rows(world, world.stack.transactions_table, item_id)
    (row,) = [row for row in rows if row["transaction_id"]["S"] == DOCUMENTED["transaction_id"]]
    return size_of(row)


def _serving(added: Collection[dict[str, Any]]) -> Any:
    """Let Plaid serve these transactions."""

    def serve(send: Callable[[], Any], call: str, _body: Any) -> Any:
        response = send()
        if not call.startswith(PULL):
            return response
        page = json.loads(response.data) | {"added": list(added)}
        body = io.BytesIO(json.dumps(page).encode())
        return urllib3.HTTPResponse(body, headers={}, status=response.status, preload_content=False)

    return intercepted(serve)


def _rows(world: World, table: str, item_id: str) -> list[dict[str, Any]]:
    request = {"KeyConditionExpression": "item_id = :id", "ExpressionAttributeValues": {":id": {"S": item_id}}}
    pages = world.stack.client("dynamodb").get_paginator("query").paginate(TableName=table, **request)
    return [row for page in pages for row in page["Items"]]
