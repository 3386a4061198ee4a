"""A world for all tests of a module, where none of them depends on what another one has left."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from tests.component.functions import InProcess
from tests.component.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.component.functions import Functions
    from tests.deployment import Deployment


@contextmanager
def lasting_world(deployment: Deployment, seed: int, functions: Functions | None = None) -> Iterator[World]:
    """Return a world with a Plaid of its own; its seed must be no other module's, for they share the tables."""
    behavior = Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None)
    plaid = PlaidSimulator(seed=seed, clock=utc_now, behavior=behavior)
    stack = deployment.stack
    stack.client("sqs").purge_queue(QueueUrl=stack.sync_queue_url)
    functions = functions or InProcess()
    with PlaidServer(plaid, functions.plaid_port) as server:
        yield World(deployment, plaid, server, utc_now, functions=functions)
