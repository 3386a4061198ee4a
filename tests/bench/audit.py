"""The memory of an audit of a long history, which takes a quarter of an hour on the emulator.

An Item with so many transactions is linked and synced, and the audit function runs in its own process, whose peak of
resident memory Linux reports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from local.stack.paths import PROJECT
from tests.bench.figures import Figure, Table
from tests.bench.world import new_world
from tests.integration.functions import lambda_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.harness import World

SIZES: Final = (500, 100_000)
NO_TIMEOUT: Final = 1e6


def measure(sizes: tuple[int, int] = SIZES) -> Table:
    world = new_world()
    small, large = (_peak_bytes(world, size) for size in sizes)

    def figures() -> Iterator[Figure]:
        for size, peak in zip(sizes, (small, large), strict=True):
            yield Figure(f"an audit of {size:,} transactions", "MiB at the peak", peak / 2**20)
        yield Figure("each transaction", "bytes", (large - small) / (sizes[1] - sizes[0]))

    return Table("audit", tuple(figures()))


def _peak_bytes(world: World, transactions: int) -> int:
    """Audit an Item of so many transactions in another process."""
    item_id = _synced(world, transactions)
    environment = os.environ | world.deployment.variables("audit") | world.environment("audit")
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT), str(PROJECT / "layers" / "plaid_sync")])
    command = [sys.executable, "-m", "tests.bench.audit", item_id]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (answer["outcome"], answer["at_plaid"]) == ("clean", transactions), answer
    return int(answer["kilobytes"]) * 1024


def _synced(world: World, transactions: int) -> str:
    """Link an Item with so many transactions and sync it."""
    item_id = world.link(transactions=0)
    world.plaid.add(item_id, transactions)
    world.enqueue(item_id)
    while records := world.receive():
        answer = world.invoke("sync", {"Records": records}, time_left=NO_TIMEOUT)
        assert answer == {"batchItemFailures": []}, answer
        for record in records:
            world.delete(record)
    return item_id


def _audit(item_id: str) -> dict[str, Any]:
    """Audit an Item in this process; return the function's answer with the process's peak of memory."""
    from plaid_sync.aws import clients as aws  # noqa: PLC0415 - only the measured process needs it

    aws.client.__defaults__ = (Config(read_timeout=300),)  # the emulator needs long to query a long history
    from functions.audit.app import lambda_handler  # noqa: PLC0415 - makes its clients when it is imported

    answer: dict[str, Any] = lambda_handler({"item_id": item_id}, lambda_context(NO_TIMEOUT))
    # Not getrusage, which counts the parent's memory from before the program was replaced.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return answer | {"kilobytes": int(status.partition("VmHWM:")[2].split()[0])}


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(_audit(sys.argv[1]))}\n")
