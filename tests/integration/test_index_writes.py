"""The write units of a sync in the indexes whose partitions many Items share: docs/capacity.toml counts with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.capacity.figures import read
from tests.integration.capacity import measured
from tests.integration.in_process import strikes_a_call

if TYPE_CHECKING:
    from tests.integration.harness import World


@strikes_a_call
def test_a_sync_writes_the_documented_units_in_the_indexes_of_items(world: World) -> None:
    item_id, figures, items = world.synced(transactions=5), read()["engine"], world.stack.items_table
    world.enqueue(item_id)
    with measured(world.stack) as units:
        world.drain()
    assert units.written[f"{items}/by_state"] == figures["state_writes"]
    # The claim moves the Item from the partitions of one class to those of another, and the commit moves it back.
    assert units.written[f"{items}/by_next_attempt"] == 2 * figures["attempt_writes"]
