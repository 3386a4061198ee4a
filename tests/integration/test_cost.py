"""The quantities that docs/cost.toml says were measured here, and the metrics that the functions emit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.metrics import DIMENSIONS, Metric

from local.cloudwatch.emf import metrics_in
from local.cost import read_figures
from tests.integration.capacity import measured, size_in_indexes, size_of
from tests.integration.in_process import reads_the_logs, strikes_a_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from local.stack import LocalStack
    from tests.integration.capacity import Units
    from tests.integration.harness import World

ADDED = 60
CHANGED = 10
FIGURES = read_figures()
UPDATE = {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE"}


def about(name: str, share: float = 0.15) -> Any:
    """Return a documented figure that depends on generated data, give or take a share of it."""
    return pytest.approx(FIGURES["measured"][name], rel=share)


def post_update(world: World, item_id: str) -> None:
    body = json.dumps(UPDATE | {"item_id": item_id}).encode()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200


def synced_units(world: World, item_id: str) -> Units:
    world.enqueue(item_id)
    with measured(world.stack) as units:
        world.drain()
    return units


def of_rows(world: World, units: Units, number: int) -> tuple[float, float]:
    """Return the write units for each of so many changes: of the table, and of its index."""
    table = world.stack.transactions_table
    return units.written[table] / number, units.written[f"{table}/by_account"] / number


def empty(stack: LocalStack, table: str) -> None:
    dynamodb = stack.client("dynamodb")
    for page in dynamodb.get_paginator("scan").paginate(TableName=table):
        for row in page["Items"]:
            dynamodb.delete_item(TableName=table, Key={"item_id": row["item_id"]})


@strikes_a_call
def test_each_change_and_each_sync_takes_the_documented_units(world: World) -> None:
    item_id, documented = world.synced(transactions=40), FIGURES["measured"]
    assert len(json.loads(world.request("GET", f"/items/{item_id}")["body"])["accounts"]) == 5
    world.enqueue(item_id, "webhook")
    with measured(world.stack) as look:
        world.drain()
    assert (look.writes, look.reads) == (documented["look_writes"], 0)
    assert look.written[world.stack.items_table] == 4  # without its indexes; two KB, for the claim and for the commit
    without_changes = synced_units(world, item_id)
    assert (without_changes.writes, without_changes.reads) == (documented["sync_writes"], 0)

    world.plaid.add(item_id, ADDED, notify=False)
    added = synced_units(world, item_id)
    assert of_rows(world, added, ADDED) == (about("added_writes"), about("added_index_writes"))
    assert sum(of_rows(world, added, ADDED)) <= 3.1  # one unit of each KB, two in the table because of the transaction
    assert added.writes - sum(units * ADDED for units in of_rows(world, added, ADDED)) == without_changes.writes

    posted, other, *_ = (sorted(world.plaid.truth(item_id))[at : at + CHANGED] for at in (0, CHANGED))
    for transaction_id in posted:
        world.plaid.modify(item_id, transaction_id, notify=False, name="Changed")
    modified = synced_units(world, item_id)
    assert of_rows(world, modified, CHANGED) == (about("modified_writes", 0.3), about("modified_index_writes", 0.3))
    assert (modified.reads - without_changes.reads) / CHANGED == documented["modified_reads"]

    for transaction_id in other:
        world.plaid.remove(item_id, transaction_id, notify=False)
    removed = synced_units(world, item_id)
    assert of_rows(world, removed, CHANGED) == (about("removed_writes", 0.3), about("removed_index_writes", 0.3))


@strikes_a_call
def test_the_feed_adds_the_documented_units_to_each_changed_row(world: World) -> None:
    item_id, documented = world.synced(transactions=40), FIGURES["measured"]

    def units(transaction_events: str) -> Units:
        world.enqueue(item_id)
        (record,) = world.receive()
        with measured(world.stack) as found:
            assert world.invoke("sync", {"Records": [record]}, TRANSACTION_EVENTS=transaction_events) == {
                "batchItemFailures": []
            }
        world.delete(record)
        return found

    def added(transaction_events: str) -> Units:
        world.plaid.add(item_id, ADDED, notify=False)
        return units(transaction_events)

    def modified(transaction_events: str) -> Units:
        for transaction_id in sorted(world.plaid.truth(item_id))[:CHANGED]:
            world.plaid.modify(item_id, transaction_id, notify=False, name=f"Changed {transaction_events}")
        return units(transaction_events)

    without, with_feed = added("false"), added("true")
    assert (with_feed.writes - without.writes) / ADDED == about("feed_added_writes", 0.3)
    assert (with_feed.reads - without.reads) / ADDED == documented["feed_reads"]
    without, with_feed = modified("false"), modified("true")
    assert (with_feed.writes - without.writes) / CHANGED == about("feed_modified_writes", 0.4)
    assert (with_feed.reads - without.reads) / CHANGED == documented["feed_reads"]
    look = units("true")
    assert (look.writes, look.reads) == (documented["sync_writes"], 0)


@strikes_a_call
def test_a_webhook_and_a_sweep_take_the_documented_units(world: World) -> None:
    item_id = world.synced(transactions=5)
    post_update(world, item_id)  # the process now knows Plaid's key
    with measured(world.stack) as webhook:
        post_update(world, item_id)
    assert webhook.writes == 0
    empty(world.stack, world.stack.items_table)
    with measured(world.stack) as sweep:
        world.sweep()
    assert (sweep.writes, sweep.reads) == (0, FIGURES["measured"]["sweep_reads"])


@strikes_a_call
def test_an_audit_reads_each_row_once(world: World) -> None:
    """Its table alone: beside it, an audit reads the Item."""
    item_id, number = world.synced(transactions=400), 400
    with measured(world.stack) as units:
        assert world.audit({"item_id": item_id})["outcome"] == "clean"
    assert units.writes == 0
    assert units.read[world.stack.transactions_table] / 2 / number == about("audited_row_reads")
    assert units.reads / number < 0.3


def test_rows_take_the_documented_bytes(world: World) -> None:
    item_id, dynamodb = world.synced(transactions=200), world.stack.client("dynamodb")

    def rows(table: str) -> list[dict[str, Any]]:
        request = {"KeyConditionExpression": "item_id = :id", "ExpressionAttributeValues": {":id": {"S": item_id}}}
        pages = dynamodb.get_paginator("query").paginate(TableName=table, **request)
        return [row for page in pages for row in page["Items"]]

    def mean(values: Iterable[int]) -> float:
        found = list(values)
        return sum(found) / len(found)

    assert mean(map(size_of, rows(world.stack.transactions_table))) == about("row_bytes")
    assert mean(map(size_of, rows(world.stack.history_table))) == about("history_bytes")
    (item,) = rows(world.stack.items_table)
    indexes = size_in_indexes(world.stack, world.stack.items_table, item)
    assert size_of(item) + sum(indexes.values()) == about("item_bytes")
    assert indexes["by_state"] == about("gauge_bytes")


@reads_the_logs
def test_logs_take_the_documented_bytes(world: World, output: Callable[[], str]) -> None:
    item_id = world.synced(transactions=5)
    post_update(world, item_id)
    world.drain()
    output()
    post_update(world, item_id)
    assert len(output()) == about("webhook_log_bytes")
    world.plaid.add(item_id, 1, notify=False)
    world.drain()
    assert len(output()) == about("sync_log_bytes")
    empty(world.stack, world.stack.items_table)
    world.sweep()
    assert len(output()) == about("sweep_log_bytes")


@reads_the_logs
def test_a_stack_without_items_emits_one_metric_and_any_other_those_of_the_catalogue(
    world: World, output: Callable[[], str]
) -> None:
    def identities() -> set[tuple[str, ...]]:
        found = list(metrics_in(output()))
        assert {datum.namespace for datum in found} <= {"PlaidSync"}
        return {(datum.name, *(datum.dimensions[name] for name in sorted(datum.dimensions))) for datum in found}

    empty(world.stack, world.stack.items_table)
    output()
    world.sweep()
    world.audit({})
    idle = identities()
    assert {name for name, *_ in idle} == {Metric.SWEEP_RUNS.value}
    assert len(idle) == FIGURES["stack"]["metrics_idle"]

    item_id = world.synced(transactions=5)
    post_update(world, item_id)
    world.plaid.inject_fault("/transactions/sync", "INTERNAL_SERVER_ERROR", times=20)
    world.drain()
    world.plaid.clear_faults()
    world.sync(item_id)
    world.sweep()
    world.audit({"item_id": item_id})
    emitted = identities()
    assert {len(series) for series in emitted if series[0] not in set(DIMENSIONS)} == {2}
    names = {name for name, *_ in emitted}
    assert names >= {"SyncCommitted", "SyncFailed", "PlaidErrors", "WebhookVerified", "Items", "ItemsAudited"}
    assert names <= set(Metric)
    assert len(emitted) <= FIGURES["stack"]["metrics_alive"]
