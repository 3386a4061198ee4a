"""The memory of an audit of a long history: `PYTHONPATH=layers/plaid_sync python -m tests.bench.audit`.

The stack is deployed onto the emulator, an Item with so many transactions is linked and synced, and the audit function
runs in its own process, whose peak of resident memory Linux reports. The difference to an Item of 500 transactions is
the memory of a transaction.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from local.stack.paths import PROJECT
from tests.deployment import deployed, idle_stack
from tests.integration.functions import lambda_context
from tests.integration.harness import World

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALL: Final = 500
NO_TIMEOUT: Final = 1e6


def audit(item_id: str) -> dict[str, Any]:
    """Audit an Item in this process; return the function's answer with the process's peak of memory."""
    from plaid_sync.aws import clients as aws  # noqa: PLC0415 - only the measured process needs it

    aws.client.__defaults__ = (Config(read_timeout=300),)  # the emulator needs long to query a long history
    from functions.audit.app import lambda_handler  # noqa: PLC0415 - makes its clients when it is imported

    answer: dict[str, Any] = lambda_handler({"item_id": item_id}, lambda_context(NO_TIMEOUT))
    # Not getrusage, which counts the parent's memory from before the program was replaced.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return answer | {"kilobytes": int(status.partition("VmHWM:")[2].split()[0])}


def measure(world: World, item_id: str) -> dict[str, Any]:
    """Audit an Item in another process; return its answer with its peak of memory and the seconds that it took."""
    environment = os.environ | world.deployment.variables("audit") | world.environment("audit")
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT), str(PROJECT / "layers" / "plaid_sync")])
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.bench.audit", "--item", item_id]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer | {"seconds": time.monotonic() - began}


def synced(world: World, transactions: int) -> str:
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=100_000)
    parser.add_argument("--item", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.item:
        print(json.dumps(audit(options.item)))  # noqa: T201
        return 0
    plaid = PlaidSimulator(seed=1, behavior=Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None))
    with idle_stack() as stack, deployed(stack) as deployment, PlaidServer(plaid) as server:
        world = World(deployment, plaid, server, utc_now)
        found = {size: measure(world, synced(world, size)) for size in (SMALL, options.transactions)}
    for size, answer in found.items():
        assert answer["outcome"] == "clean", answer
        assert answer["at_plaid"] == size, answer
        print(f"{size:,} transactions: {answer['kilobytes'] / 1024:,.0f} MiB, {answer['seconds']:,.0f} s")  # noqa: T201
    growth = (found[options.transactions]["kilobytes"] - found[SMALL]["kilobytes"]) * 1024
    print(f"{growth / (options.transactions - SMALL):,.0f} bytes a transaction")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
