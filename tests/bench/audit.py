"""What the audit of a long history takes: `python -m tests.bench.audit --transactions 100000`.

The stack is deployed onto the emulator, an Item with so many transactions is linked and synced, and the audit function
runs in a process of its own, whose memory is measured from outside: resident set, peak, everything included. The same
for an Item of 500 says how much of it is the program.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from local.stack.paths import PROJECT
from tests.component.world import World
from tests.deployment import deployed, idle_stack

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALL = 500
PATIENCE = 1e6
CHILD = """
import json, sys
from botocore.config import Config
from plaid_sync.adapters import aws
aws.client.__defaults__ = (Config(read_timeout=300),)  # the emulator takes long to query a long history
from functions.audit.app import lambda_handler
from tests.component.functions import lambda_context
answer = lambda_handler({"item_id": sys.argv[1]}, lambda_context(1e6))
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps(answer | {"kilobytes": int(peak)}))
"""
"""Linux's own figure: getrusage counts the parent's memory, too, from before the program was replaced."""


def measured(world: World, item_id: str) -> dict[str, Any]:
    """Audit an Item in another process; return its answer, with the peak of its memory and the seconds it took."""
    credentials = world.deployment.sessions["audit"].get_credentials()
    assert credentials is not None
    environment = os.environ | world.environment("audit")
    environment |= {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.token or "",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "layers" / "plaid_sync")]),
    }
    began = time.monotonic()
    command = [sys.executable, "-c", CHILD, item_id]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer | {"seconds": time.monotonic() - began}


def synced(world: World, transactions: int) -> str:
    """Link an Item with so many transactions and sync it, however long that takes."""
    item_id = world.link(transactions=0)
    world.plaid.add(item_id, transactions)
    world.trigger(item_id)
    while records := world.receive():
        answer = world.invoke("sync", {"Records": records}, time_left=PATIENCE)
        assert answer == {"batchItemFailures": []}, answer
        for record in records:
            world.delete(record)
    return item_id


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=100_000)
    options = parser.parse_args(arguments)
    plaid = PlaidSimulator(seed=1, behavior=Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None))
    with idle_stack() as stack, deployed(stack) as deployment, PlaidServer(plaid) as server:
        world = World(deployment, plaid, server, utc_now)
        found = {size: measured(world, synced(world, size)) for size in (SMALL, options.transactions)}
    for size, answer in found.items():
        assert answer["outcome"] == "clean", answer
        assert answer["at_plaid"] == size, answer
        print(f"{size:,} transactions: {answer['kilobytes'] / 1024:,.0f} MiB, {answer['seconds']:,.0f} s")  # noqa: T201
    growth = (found[options.transactions]["kilobytes"] - found[SMALL]["kilobytes"]) * 1024
    print(f"{growth / options.transactions:,.0f} bytes a transaction")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
