"""A world with a Plaid of its own: for one test, or for all of a module, where none depends on what another left."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from tests.integration.functions import InProcess
from tests.integration.harness import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from typing import Any

    from tests.deployment import Deployment
    from tests.integration.functions import Functions

READY_AT_ONCE = Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None)
"""History is ready as soon as an Item is linked."""


@contextmanager
def lasting_world(
    deployment: Deployment,
    seed: int,
    functions: Functions | None = None,
    behavior: Behavior = READY_AT_ONCE,
    clock: Callable[[], datetime] = utc_now,
) -> Iterator[World]:
    """Return a world with empty queues; its seed must be no other one's, for they share the tables.

    The look-ups of new keys are counted for the whole stack: each world begins with none.
    """
    plaid = PlaidSimulator(seed=seed, clock=clock, behavior=behavior)
    stack = deployment.stack
    for url in (stack.sync_queue_url, stack.dead_letter_queue_url):
        stack.client("sqs").purge_queue(QueueUrl=url)
    clear(stack.client("dynamodb"), stack.shared_table)
    functions = functions or InProcess()
    with PlaidServer(plaid, functions.plaid_port) as server:
        yield World(deployment, plaid, server, clock, functions=functions)


def clear(dynamodb: Any, table: str) -> None:
    """Delete the rows of the Shared table."""
    for page in dynamodb.get_paginator("scan").paginate(TableName=table):
        keys = [{name: row[name] for name in ("kind", "name")} for row in page["Items"]]
        deletes = [{"DeleteRequest": {"Key": key}} for key in keys]
        for start in range(0, len(deletes), 25):
            dynamodb.batch_write_item(RequestItems={table: deletes[start : start + 25]})
