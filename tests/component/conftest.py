"""The stack that all component tests share, and a world for each."""

from __future__ import annotations

import zlib
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from local.plaid import Behavior, PlaidServer, PlaidSimulator, SimulatedClock, utc_now
from tests.component.functions import InProcess
from tests.component.inside import reach
from tests.component.world import World
from tests.deployment import deployed, idle_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from local.stack import LocalStack
    from tests.component.artifact import Artifact
    from tests.component.functions import Functions
    from tests.deployment import Deployment


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The deployed template, idle."""
    with idle_stack() as stack:
        yield stack


@pytest.fixture(scope="session")
def deployment(stack: LocalStack) -> Iterator[Deployment]:
    """What the functions get from it."""
    with deployed(stack) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def functions(artifact: Artifact | None) -> Functions:
    """How the functions are invoked: in this process, or with `--artifact` as they were built."""
    if artifact is None:
        return InProcess()
    return artifact


@pytest.fixture
def behavior() -> Behavior:
    """How this test's Plaid behaves; tests override it. History is ready as soon as an Item is linked."""
    return Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """The time of Plaid and of the handlers; tests that need to step it override it."""
    return utc_now


@pytest.fixture
def world(
    deployment: Deployment,
    behavior: Behavior,
    clock: Callable[[], datetime],
    functions: Functions,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    """A world of its own: Plaid is new, and the queues are empty."""
    seed = zlib.crc32(request.node.nodeid.encode())  # ids must differ between tests: they share the tables
    plaid = PlaidSimulator(seed=seed, clock=clock, behavior=behavior)
    stack = deployment.stack
    for url in (stack.sync_queue_url, stack.dead_letter_queue_url):
        stack.client("sqs").purge_queue(QueueUrl=url)
    with PlaidServer(plaid, functions.plaid_port) as server:
        world = World(deployment, plaid, server, clock, functions=functions)
        world.restart_webhook_function()
        with no_time_of_its_own(world) if functions.real_time else nullcontext():
            yield world


@contextmanager
def no_time_of_its_own(world: World) -> Iterator[None]:
    """Refuse a test that steps the world's clock, or waits in its own way: the artifact knows the real ones only."""
    clock, pause = world.clock, world.pause
    began = clock()
    yield
    if world.clock is not clock or (isinstance(clock, SimulatedClock) and clock() != began):
        reach("its clock")
    if world.pause is not pause:
        reach("its pause")
