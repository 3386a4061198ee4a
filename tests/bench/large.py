"""A first sync of a long history in one invocation: the CPU time and the memory of the sync function's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.bench.contestants import Entry, once
from tests.bench.figures import Figure, Table
from tests.bench.recording import PULL, recorded
from tests.bench.replay import ROWS
from tests.bench.world import new_world

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MEBIBYTES: Final = {500: None, 100_000: 200, 200_000: 512}
"""By the number of transactions."""
MAX_SECONDS: Final = {500: None, 100_000: 50, 200_000: None}
_PAGE: Final = 500


def measure() -> Table:
    world = new_world()
    item_id = world.link(transactions=0)
    world.plaid.add(item_id, _PAGE)
    with recorded() as exchanges:
        world.sync(item_id)
    environment = world.deployment.variables("sync")

    def figures() -> Iterator[Figure]:
        for size, mebibytes in MAX_MEBIBYTES.items():
            pages = size // _PAGE
            entry = Entry("ours", {"item_id": item_id}, exchanges, 1, 1, environment, pages)
            seconds, peak = once(entry, {PULL: pages, ROWS: size} if pages > 1 else {PULL: 1})
            yield Figure(f"{size:,} transactions", "s of CPU time", seconds, target=MAX_SECONDS[size])
            yield Figure(f"{size:,} transactions", "MiB at the peak", peak / 2**20, target=mebibytes)

    return Table("large", tuple(figures()))
