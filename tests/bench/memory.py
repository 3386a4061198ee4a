"""Cost against duration by memory size: `PYTHONPATH=layers/plaid_sync python -m tests.bench.memory`.

Lambda gives CPU in proportion to memory, one vCPU at 1,769 MB
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html). So the CPU time that `tests.bench.start`
measures is scaled, for nothing here limits a process, and what a function waits for is added: no size changes that. A
start is scaled as well, although Lambda gives more CPU to it.
"""

from __future__ import annotations

import statistics
import sys
import tomllib
from typing import TYPE_CHECKING, Final

from local.stack.paths import PROJECT
from tests.bench.figures import Figure, Table
from tests.bench.start import BUILD, ROUNDS, sample

if TYPE_CHECKING:
    from pathlib import Path

SIZES: Final = (256, 512, 1024, 1769)
VCPU: Final = 1769
WAITS: Final = {"webhook": 0.02, "sync": 1.0}
"""Seconds that an invocation waits: two calls of AWS; Plaid, as docs/cost.toml assumes."""


def measure(rounds: int = ROUNDS, build: Path = BUILD) -> Table:
    """Return duration and price of each function by memory size."""
    prices = tomllib.loads((PROJECT / "docs" / "cost.toml").read_text())["prices"]
    samples, figures = sample(rounds, build), list[Figure]()
    for name, wait in WAITS.items():
        warm = statistics.median(spent.cpu for spent in samples[name].warm)
        start = statistics.median(spent.cpu for spent in samples[name].init)
        for size in SIZES:
            slower = max(1.0, VCPU / size)
            seconds = warm * slower + wait
            price = seconds * size / 1024 * prices["lambda_gb_second"] + prices["lambda_request"]
            figures += [
                Figure(f"{name} at {size} MB, start", "ms", round(start * slower * 1000)),
                Figure(f"{name} at {size} MB, warm", "ms", round(seconds * 1000, 1)),
                Figure(f"{name} at {size} MB", "USD per million", round(price * 1e6, 2)),
            ]
    return Table("memory", tuple(figures))


def main() -> int:
    for figure in measure().figures:
        print(f"{figure.name:28}{figure.unit:16}{figure.ours:10.2f}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
