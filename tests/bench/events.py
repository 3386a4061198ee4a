"""The calls to EventBridge of a batch of the history's stream."""

from __future__ import annotations

from tests.bench import counts
from tests.bench.figures import Figure, Table
from tests.bench.world import new_world


def measure() -> Table:
    # PutEvents takes ten events.
    least = counts.RECORDS // 10
    calls = counts.event_bus_calls(new_world())
    return Table("events", (Figure(f"{counts.RECORDS} records", "calls", calls, floor=least, target=least),))
