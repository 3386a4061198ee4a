"""A sync and a batch of events make no more calls than they must; `test_cost` holds units and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench import counts
from tests.integration.in_process import strikes_a_call

if TYPE_CHECKING:
    from tests.integration.harness import World

WARM_SYNC_CALLS = {"DynamoDB": 2, "KMS": 0}
EVENT_BUS_CALLS = 20
"""For 200 records of as many Items."""


@strikes_a_call
@pytest.mark.parametrize("new_rows", [0, 1, 97])
def test_a_warm_sync_makes_no_more_calls(world: World, new_rows: int) -> None:
    calls = counts.calls_of_warm_sync(world, world.synced(transactions=40), new_rows)
    assert {name: calls[name] for name in WARM_SYNC_CALLS} == WARM_SYNC_CALLS


@strikes_a_call
def test_200_records_take_20_calls_of_the_event_bus(world: World) -> None:
    assert counts.event_bus_calls(world) == EVENT_BUS_CALLS
