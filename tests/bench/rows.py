"""The bytes of a row in the Transactions table, as DynamoDB counts them."""

from __future__ import annotations

from typing import Final

from tests.bench import counts
from tests.bench.figures import Figure, Table
from tests.bench.world import new_world

ROWS: Final = 2_000
WRITE_UNIT: Final = 1_024
"""Bytes. One more doubles the units of the write, in the table and in its index."""


def measure() -> Table:
    world = new_world()
    sizes = counts.row_sizes(world, ROWS)
    larger = sum(size > WRITE_UNIT for size in sizes) / ROWS * 100
    figures = (
        Figure("median", "bytes", sizes[ROWS // 2], target=700),
        Figure("99th percentile", "bytes", sizes[ROWS * 99 // 100], target=WRITE_UNIT),
        Figure("rows of more than 1,024 bytes", "%", larger, target=1),
        Figure("Plaid's documented transaction, filled", "bytes", counts.documented_row_size(world), target=WRITE_UNIT),
    )
    return Table("rows", figures)
