"""The CPU time of a sync of a few changes, by the sync function's handler with an event of its queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.bench.contestants import Entry, medians
from tests.bench.figures import Figure, Table
from tests.bench.recording import CLAIM, PULL, WRITE, recorded
from tests.bench.world import new_world

if TYPE_CHECKING:
    from tests.integration.harness import World

CHANGES: Final = (50, 1, 0)
ROUNDS: Final = 9
MAX_FLOORS: Final = 2.0
_REPETITIONS: Final = {50: (6, 4, 20), 1: (20, 40, 100), 0: (20, 60, 100)}
"""Of ours, the baseline and the floor in a round."""


def measure() -> Table:
    world = new_world()
    item_id = world.synced(transactions=40)
    figures = tuple(_figure(world, item_id, changes) for changes in CHANGES)
    return Table("sync", figures, "raw JSON, then put_item, or batch_writer for more than one row")


def _figure(world: World, item_id: str, changes: int) -> Figure:
    found = medians(entries(world, item_id, changes), ROUNDS, {"ours": [CLAIM, PULL, WRITE], "floor": [PULL]})
    ours, baseline, floor = (found[name] * 1000 for name in ("ours", "baseline", "floor"))
    name = f"a sync of {changes} {'change' if changes == 1 else 'changes'}"
    return Figure(name, "ms of CPU time", ours, baseline, floor, MAX_FLOORS * floor)


def entries(world: World, item_id: str, changes: int) -> dict[str, Entry]:
    """Record a sync of so many new transactions; return the contestants that repeat it."""
    if changes:
        world.plaid.add(item_id, changes, notify=False)
    world.enqueue(item_id, "webhook")  # a request leaves an entry in the history, even if it finds no change
    with recorded() as exchanges:
        world.drain()
    environment = world.deployment.variables("sync")
    ours, baseline, floor = _REPETITIONS[changes]
    writes = "batch_writer" if changes > 1 else "put_item"
    of_plaid = [exchange for exchange in exchanges if exchange.call == PULL]
    return {
        "ours": Entry("ours", {"item_id": item_id}, exchanges, ours, 1, environment),
        "baseline": Entry("usual", {"pull": "raw", "write": writes}, of_plaid, baseline, 1, environment),
        "floor": Entry("floor", {}, exchanges, floor, 1, environment),
    }


def profiled() -> Entry:
    """Return the contestant to profile: ours, with one change."""
    world = new_world()
    return entries(world, world.synced(transactions=40), 1)["ours"]
