"""The CPU time of each transaction of a first sync, whose pages have 500 transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.bench.contestants import Entry, medians
from tests.bench.figures import Figure, Table
from tests.bench.recording import CLAIM, PULL, WRITE, recorded
from tests.bench.world import new_world

if TYPE_CHECKING:
    from tests.integration.harness import World

ROUNDS: Final = 5
MAX_FLOORS: Final = 1.8
MIN_TIMES_LESS: Final = {"typed, put_item": 35.0, "raw, batch_writer": 3.0}
"""How many times less than these baselines it should be."""
_PAGE: Final = 500
_PAGES: Final = 4
_USUAL: Final = {
    "typed, put_item": {"pull": "typed", "write": "put_item"},
    "typed, batch_writer": {"pull": "typed", "write": "batch_writer"},
    "raw, batch_writer": {"pull": "raw", "write": "batch_writer"},
}


def measure() -> Table:
    found = medians(entries(new_world()), ROUNDS, {"ours": [CLAIM, PULL, WRITE], "floor": [PULL, WRITE]})
    ours, floor, *_ = (found[name] * 1e6 for name in ("ours", "floor"))
    unit = "µs of CPU time for each transaction"
    figures = [
        Figure(
            f"a first sync; baseline: {name}",
            unit,
            ours,
            found[name] * 1e6,
            floor,
            found[name] * 1e6 / MIN_TIMES_LESS[name] if name in MIN_TIMES_LESS else None,
        )
        for name in _USUAL
    ]
    return Table(
        "first-sync",
        (*figures, Figure("a first sync", unit, ours, None, floor, MAX_FLOORS * floor)),
        "plaid-python's models (typed) or plain JSON (raw), then boto3's put_item or batch_writer",
    )


def entries(world: World) -> dict[str, Entry]:
    """Record a first sync; return the contestants that repeat it, the typed ones for one page."""
    item_id = world.link(transactions=0)
    world.plaid.add(item_id, _PAGES * _PAGE)
    with recorded() as exchanges:
        world.sync(item_id)
    environment = world.deployment.variables("sync")
    pages = [exchange for exchange in exchanges if exchange.call == PULL]
    usual = {
        name: Entry("usual", options, pages[-1:], 1, _PAGE, environment)
        if options["pull"] == "typed"
        else Entry("usual", options, pages, 1, _PAGES * _PAGE, environment)
        for name, options in _USUAL.items()
    }
    return {
        **usual,
        "ours": Entry("ours", {"item_id": item_id}, exchanges, 1, _PAGES * _PAGE, environment),
        "floor": Entry("floor", {}, exchanges, 3, _PAGES * _PAGE, environment),
    }


def profiled() -> Entry:
    """Return the contestant to profile: ours."""
    return entries(new_world())["ours"]
