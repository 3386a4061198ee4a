"""Read and write units, and calls, of a sync and of an audit.

The units are counted by AWS's rules, from the requests and the rows before and after them (integration/capacity.py).
Where DynamoDB Local is installed, it counts the same requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from local.dynamodb_local import why_unavailable
from tests.bench import counts
from tests.bench.dynamodb_local import consumed_writes
from tests.bench.figures import Figure, Table
from tests.bench.world import new_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.capacity import Units
    from tests.integration.harness import World

ROWS: Final = 97
"""New rows that fit into one transaction."""
AUDITED: Final = 500
_CHANGES: Final = (0, 1, ROWS)


def measure() -> Table:
    world = new_world()
    item_id = world.synced(transactions=40)
    return Table("units", (*_units(world, item_id), *_calls(world, item_id), _audit(world)))


def _units(world: World, item_id: str) -> Iterator[Figure]:
    (empty, others), (full, other_full) = (_both(world, item_id, new_rows) for new_rows in (0, ROWS))
    per_row = (full.writes - empty.writes) / ROWS
    yield Figure("a new row, its index included", "write units", per_row, floor=3, target=3.1)
    if others is not None and other_full is not None:
        yield Figure("the same, as DynamoDB Local counts", "write units", (other_full - others) / ROWS)
    indexes = sum(units for name, units in empty.written.items() if "/" in name)
    yield Figure("a sync without changes", "write units", empty.writes - indexes, floor=3, target=4)
    yield Figure("the same, the Items table's indexes included", "write units", empty.writes)
    if others is not None:
        yield Figure("the same, as DynamoDB Local counts", "write units", others)
    yield Figure("a sync without changes", "read units", empty.reads)


def _both(world: World, item_id: str, new_rows: int) -> tuple[Units, float | None]:
    """Return the units of a sync by AWS's rules, and of its writes as DynamoDB Local counts, where it is installed."""
    items, dynamodb = world.stack.items_table, world.stack.client("dynamodb")
    before = dynamodb.get_item(TableName=items, Key={"item_id": {"S": item_id}})["Item"]
    units, exchanges = counts.units_of_sync(world, item_id, new_rows)
    return units, None if why_unavailable() else consumed_writes(world, exchanges, {items: [before]})


def _calls(world: World, item_id: str) -> Iterator[Figure]:
    for new_rows in _CHANGES:
        calls = counts.calls_of_warm_sync(world, item_id, new_rows)
        name = f"a warm sync of {new_rows} new {'row' if new_rows == 1 else 'rows'}"
        yield Figure(name, "DynamoDB calls", calls["DynamoDB"], floor=2, target=2)
        yield Figure(name, "KMS calls", calls["KMS"], floor=0, target=0)


def _audit(world: World) -> Figure:
    reads = counts.units_of_audit(world, AUDITED).reads / AUDITED
    return Figure("an audited row", "read units", reads, floor=0.25, target=0.3)
