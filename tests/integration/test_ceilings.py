"""Calls, units and bytes stay at or below what `make bench` found: lower a ceiling with the change that allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench import counts
from tests.integration.in_process import strikes_a_call

if TYPE_CHECKING:
    from tests.integration.harness import World

EMPTY_SYNC_WRITE_UNITS = 10
EMPTY_SYNC_READ_UNITS = 0
NEW_ROW_WRITE_UNITS = 4.5
"""Its index included; it depends on how many of the generated rows are over 1,024 bytes."""
WARM_SYNC_CALLS = {"DynamoDB": 2, "KMS": 0}
EVENT_BUS_CALLS = 200
AUDITED_ROW_READ_UNITS = 1.26
MEDIAN_ROW_BYTES = 1_030
P99_ROW_BYTES = 1_150
DOCUMENTED_ROW_BYTES = 1_259
ROWS = 98


@strikes_a_call
def test_a_sync_and_a_new_row_take_no_more_units(world: World) -> None:
    item_id = world.synced(transactions=40)
    empty, _ = counts.units_of_sync(world, item_id, 0)
    assert empty.writes <= EMPTY_SYNC_WRITE_UNITS
    assert empty.reads <= EMPTY_SYNC_READ_UNITS
    full, _ = counts.units_of_sync(world, item_id, ROWS)
    assert (full.writes - empty.writes) / ROWS <= NEW_ROW_WRITE_UNITS


@strikes_a_call
@pytest.mark.parametrize("new_rows", [0, 1, ROWS])
def test_a_warm_sync_makes_no_more_calls(world: World, new_rows: int) -> None:
    calls = counts.calls_of_warm_sync(world, world.synced(transactions=40), new_rows)
    assert calls["DynamoDB"] > 0
    assert {name: calls[name] for name in WARM_SYNC_CALLS if calls[name] > WARM_SYNC_CALLS[name]} == {}


@strikes_a_call
def test_events_and_audits_take_no_more(world: World) -> None:
    assert counts.event_bus_calls(world) <= EVENT_BUS_CALLS
    assert counts.units_of_audit(world, 500).reads / 500 <= AUDITED_ROW_READ_UNITS


@strikes_a_call
def test_rows_are_no_larger(world: World) -> None:
    sizes = counts.row_sizes(world, 1_000)
    assert sizes[500] <= MEDIAN_ROW_BYTES
    assert sizes[990] <= P99_ROW_BYTES
    assert counts.documented_row_size(world) <= DOCUMENTED_ROW_BYTES
